/**
 * `GET /v1/images` and `GET /v1/image-store`. Central lists the images of an organization by repository. A node lists
 * the images in its own store one by one, including those without tags.
 */
import type { Hono } from 'hono';
import type { ListedImage, Page, PageRequest } from '../../registry/registry.ts';
import { formatTime } from '../api/administration.ts';
import type { AppContext, AppEnv } from '../context.ts';
import { linkToNext, pageRequest } from '../v2/pagination.ts';
import { find, listAll, parseDigestAsked, parseTagAsked } from './asked-images.ts';
import { hostOfImages } from './hosts.ts';

export function imageRoutes(platform: Hono<AppEnv>): void {
  platform.get('/v1/images', async (c) => {
    const isCentral = c.get('namespace').kind === 'central';
    const request = pageRequest(c);
    const page = await pageOf(c, !isCentral, request);
    const images = isCentral ? byRepository(page.items) : page.items.map((image) => imageAtNode(c, image));
    return success(c, images, linkToNext(c, '/v1/images', page, request, FILTERS));
  });

  platform.get('/v1/image-store', async (c) => {
    const request = pageRequest(c);
    const page = await pageOf(c, true, request);
    const images = page.items.map((image) => imageAtNode(c, image));
    return success(c, images, linkToNext(c, '/v1/image-store', page, request, FILTERS));
  });
}

/** Parameters that a link to the next page repeats. */
const FILTERS = ['details', 'namespace', 'digest', 'tag'] as const;

/** Answers with a list in the platform's form. Caches must not keep it, because it is only true now. */
export function success(
  c: AppContext,
  images: readonly object[],
  headers: Readonly<Record<string, string>> = {},
): Response {
  return c.json({ status: 'success', data: { images } }, 200, { 'Cache-Control': 'no-store', ...headers });
}

async function pageOf(c: AppContext, withUntagged: boolean, request: PageRequest): Promise<Page<ListedImage>> {
  const [digest, tag] = [c.req.query('digest'), c.req.query('tag')];
  const byDigest = digest ? parseDigestAsked(c, digest) : undefined;
  const byTag = tag ? parseTagAsked(c, tag) : undefined;
  if (byDigest === undefined || byTag?.reference.kind !== 'tag') {
    const asked = byDigest ?? byTag;
    return asked === undefined ? listAll(c, withUntagged, false, request) : find(c, [asked], false, request);
  }
  // Searching by tag makes the image show that tag, however many tags it has.
  const page = await find(c, [{ ...byTag, repository: byTag.repository ?? byDigest.repository }], false, request);
  const isAsked = (image: ListedImage): boolean =>
    image.digest === byDigest.reference.digest && [undefined, image.repository].includes(byDigest.repository);
  return { ...page, items: page.items.filter(isAsked) };
}

/** Groups images by repository. It leaves out images without tags, because this form has no place for them. */
function byRepository(images: readonly ListedImage[]): object[] {
  const repositories = Map.groupBy(images, ({ repository }) => repository);
  return [...repositories].flatMap(([name, each]) => {
    const tags = each.flatMap(({ digest, size, tags: all }) =>
      all.map((tag) => ({ name: tag.name, digest, size, push_time: formatTime(tag.pushedAt) })),
    );
    return tags.length === 0 ? [] : [{ name, tags: tags.toSorted((a, b) => (a.name < b.name ? -1 : 1)) }];
  });
}

/** The last three fields stay empty: they come from the image's config, a blob, which a list does not read. */
function imageAtNode(c: AppContext, { repository, digest, tags, size, createdAt, kind }: ListedImage): object {
  return {
    url: `${hostOfImages(c)}/${repository}@${digest}`,
    tags: tags.map(({ name }) => name),
    size_in_bytes: size,
    created_at: formatTime(createdAt),
    initrd_or_rom: kind !== '',
    args: [],
    env: {},
    users: [],
  };
}
