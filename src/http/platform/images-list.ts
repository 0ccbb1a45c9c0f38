/**
 * `GET /v1/images/list`, for older clients: what is asked for comes in the body, although it is a GET. They ask in a loop,
 * until the image that they have just pushed is listed: to central, and they ask a node. So a node lists what it would
 * serve: what is asked for by name is looked for in its own store first, the whole list is of its own store and
 * central's.
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

/** Images that one request may ask for. */
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

/** Undefined where nothing in particular is asked for. @throws OciError FIELD_INVALID, BODY_TOO_LARGE */
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
    message: `the body must be absent, or JSON: a list of at most ${MAX_ASKED} of {"tag":"<repository>:<tag>"} and {"digest":"<repository>@<digest>"}`,
    cause,
  });
}

/** The last three are of the image's config, a blob, which a list does not read. */
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
