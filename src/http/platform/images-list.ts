/**
 * `GET /v1/images/list`, for older clients, which put their query into the body of the GET. They push an image to
 * central, and then ask a node in a loop until it lists the image. So a node lists everything that it would serve: it
 * looks for named images in its own store first, then at central, and an unfiltered list covers both stores.
 */
import type { Hono } from 'hono';
import { z } from 'zod';
import { OciError } from '../../oci/errors.ts';
import type { ListedImage } from '../../registry/registry.ts';
import { readSmallBody } from '../body.ts';
import type { AppContext, AppEnv } from '../context.ts';
import { linkToNext, pageRequest } from '../v2/pagination.ts';
import { type RequestedImage, find, listAll, parseDigestAsked, parseTagAsked } from './asked-images.ts';
import { success } from './images.ts';

/** The most images that one request may ask for. */
const MAX_ASKED = 100;

const item = z.object({ digest: z.string().optional(), tag: z.string().optional() });
const shape = z.union([z.null(), item, z.array(item).max(MAX_ASKED)]);

export function imagesListRoutes(platform: Hono<AppEnv>): void {
  platform.get('/v1/images/list', async (c) => {
    const asked = await askedIn(c);
    const request = pageRequest(c);
    const page = asked === undefined ? await listAll(c, true, true, request) : await find(c, asked, true, request);
    return success(c, page.items.map(view), linkToNext(c, '/v1/images/list', page, request, ['namespace']));
  });
}

/** Parses the body; returns undefined if it names no images. @throws OciError FIELD_INVALID, BODY_TOO_LARGE */
async function askedIn(c: AppContext): Promise<RequestedImage[] | undefined> {
  const bytes = await readSmallBody(c);
  if (bytes.byteLength === 0) return undefined;
  const parsed = shape.safeParse(jsonOf(bytes));
  if (!parsed.success) throw notAList();
  const items = parsed.data === null ? [] : [parsed.data].flat();
  const asked = items.flatMap(({ digest, tag }): RequestedImage[] => {
    if (digest !== undefined) return [parseDigestAsked(c, digest)];
    return tag === undefined ? [] : [parseTagAsked(c, tag)];
  });
  return asked.length === 0 ? undefined : asked;
}

function jsonOf(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: false }).decode(bytes));
  } catch (cause) {
    throw notAList(cause);
  }
}

function notAList(cause?: unknown): OciError {
  return new OciError('FIELD_INVALID', {
    message:
      `send no body, or a JSON list of at most ${MAX_ASKED} items: ` +
      '{"tag":"<repository>:<tag>"} or {"digest":"<repository>@<digest>"}',
    cause,
  });
}

/** The last three fields stay empty: they come from the image's config, a blob, which a list does not read. */
function view({ repository, digest, tags, size, kind }: ListedImage): object {
  return {
    status: 'success',
    digest: `${repository}@${digest}`,
    tags: tags.map(({ name }) => `${repository}:${name}`),
    initrd: kind !== '',
    size_in_bytes: size,
    args: '',
    kernel_args: '',
    labels: {},
  };
}
