/**
 * The images of a repository: their list, an image's replication state and shared layers, the history of its tag and
 * restoring from it, and prefetching to a node.
 */
import { type OpenAPIHono, z } from '@hono/zod-openapi';
import { allows, mayPrefetch, maySeeAuthors, pullableRanges } from '../../auth/credential.ts';
import { DAY } from '../../durations.ts';
import { OciError } from '../../oci/errors.ts';
import { readStoredManifest } from '../../oci/manifest.ts';
import { namespaceId } from '../../namespaces/namespace.ts';
import {
  parseAnyReference,
  parseReference,
  parseRepositoryName,
  parseTag,
  type RepositoryName,
} from '../../oci/reference.ts';
import { composeControlData } from '../../registry/compose.ts';
import { imageState, type ImageState, isFinal } from '../../replication/image-state.ts';
import { type HistoryEntry, TagHistory } from '../../replication/tag-history.ts';
import { UNTAGGED } from '../../registry/images/pages.ts';
import type { ListedImage } from '../../registry/registry.ts';
import { type SharedBlob, sharedBlobsOf } from '../../registry/shared-blobs.ts';
import type { AppContext, AppEnv } from '../context.ts';
import { roomFor } from '../large-answer.ts';
import { formatTime } from './administration.ts';
import { callerAsActor, requireValidAt } from './caller.ts';
import { body, describe, json } from './describe.ts';
import { replicationOf } from './replication.ts';
import {
  historyEntry,
  historyQuery,
  image,
  imageParam,
  imagesQuery,
  listedImage,
  prefetched,
  prefetchRequest,
  restoreRequest,
  sharedBlob,
  stateQuery,
  waitQuery,
} from './image-schemas.ts';
import { lastOfPage } from './paging.ts';
import { repositoryParam } from './schemas.ts';
import { SharedLooks } from './shared-looks.ts';
import { recordPrefetch, recordRestore } from './audit.ts';

const IMAGES = '/api/organizations/{organization}/repositories/{repository}/images';
const IMAGE = `${IMAGES}/{reference}` as const;

const states = new SharedLooks<ImageState>();
const copiesDown = new SharedLooks<number>();

export function imageRoutes(api: OpenAPIHono<AppEnv>): void {
  const list = describe(
    'get',
    IMAGES,
    'List the images of a repository in the store of this host',
    { params: repositoryParam, query: imagesQuery },
    {
      200: {
        description: 'A page of images, in order of their tags. An image with tags on two pages is on both',
        ...json(
          z.object({
            images: z.array(listedImage),
            last: lastOfPage,
          }),
        ),
      },
    },
  );
  api.openapi(list, async (c) => {
    const { n, last: after, untagged } = c.req.valid('query');
    const { repository } = await requireImage(c, { ...c.req.valid('param'), reference: '' }, 'pull');
    const only = { from: repository, to: `${repository}\u0000` };
    const scope = { ranges: [only], publicWithin: undefined };
    const start = untagged === 'only' && after === '' ? UNTAGGED : after;
    const page = await c.get('registry').listImages(scope, untagged !== 'false', { limit: n, after: start });
    return c.json({ images: page.items.map(viewOfListed), last: page.last ?? null }, 200);
  });

  const get = describe(
    'get',
    IMAGE,
    "Show an image's replication state, or wait for it",
    {
      params: imageParam,
      query: stateQuery,
    },
    { 200: { description: 'The state, as this host sees it', ...json(image) } },
  );
  api.openapi(get, async (c) => {
    const asked = c.req.valid('param');
    const { wait, for: wanted, version } = c.req.valid('query');
    const { config } = c.get('runtime');
    const look = (): Promise<ImageState> =>
      readImage(c, asked, ({ repository, reference }) =>
        imageState(config, c.env, c.get('namespace'), repository, parseAnyReference(reference), version),
      );
    const { organization, repository: path, reference } = asked;
    const key = `${namespaceId(c.get('namespace'))} ${organization}/${path} ${reference} ${version ?? ''}`;
    const isDone = ({ state }: ImageState): boolean => isFinal(state) || state === wanted;
    return c.json(view(await states.until(key, look, isDone, wait)), 200);
  });

  const history = describe(
    'get',
    `${IMAGE}/history`,
    "List a tag's writes from all stores, including those that lost",
    { params: imageParam, query: historyQuery },
    {
      200: {
        description:
          'A page of writes, latest first. Only callers who may push see writes of manifests that were deleted',
        ...json(
          z.object({
            history: z.array(historyEntry),
            last: lastOfPage,
            complete: z
              .boolean()
              .openapi({ description: "false if a node's store does not answer, since it may know of other writes" }),
            kept_days: z.number().openapi({ description: 'How long a write can be restored once it was replaced' }),
          }),
        ),
      },
    },
  );
  api.openapi(history, async (c) => {
    const { n, last: before } = c.req.valid('query');
    const { repository, entries, last, complete } = await readImage(c, c.req.valid('param'), async (asked) => ({
      ...asked,
      ...(await historyOf(c).page(asked.repository, parseTag(asked.reference), before, n)),
    }));
    // A reader must not learn the digests of deleted manifests. An entry for the tag's deletion has no digest.
    const mayPush = allows(c.get('caller'), 'push', repository);
    const shown = entries.filter(({ digest, restorable }) => mayPush || digest === null || restorable);
    const next = last === undefined ? null : `${last.version}.${last.origin}`;
    const withAuthors = maySeeAuthors(c.get('caller'), repository);
    const days = c.get('runtime').config.historyMilliseconds / DAY;
    return c.json(
      { history: shown.map((entry) => viewOfEntry(entry, withAuthors)), last: next, complete, kept_days: days },
      200,
    );
  });

  const shared = describe(
    'get',
    `${IMAGE}/shared`,
    'List the layers that an image shares with other images that the caller may pull',
    { params: imageParam },
    {
      200: {
        description:
          'The shared blobs, each with up to ten of the images that have it, as far as central knows; none for an index',
        ...json(z.object({ digest: z.string(), shared: z.array(sharedBlob) })),
      },
    },
  );
  api.openapi(shared, async (c) => {
    // To resolve a reference may write, or ask an upstream, so the permission comes first.
    const { repository, reference } = await requireImage(c, c.req.valid('param'), 'pull');
    const parsed = parseAnyReference(reference);
    const resolved = c.get('registry').resolveManifest({ repository, condition: 'granted' }, parsed, false);
    const manifest = parsed.kind === 'digest' ? parsed.digest : (await resolved).digest;
    const ranges = pullableRanges(c.get('caller'));
    const [rows] = await Promise.all([
      sharedBlobsOf(c.get('runtime').config, c.env, { repository, manifest }, ranges),
      resolved,
    ]);
    return c.json({ digest: manifest, shared: byBlob(rows) }, 200);
  });

  const restore = describe(
    'post',
    `${IMAGE}/restore`,
    'Restore a tag to an entry of its history',
    { params: imageParam, ...body(restoreRequest) },
    {
      200: {
        description: 'The tag names that manifest again',
        ...json(z.object({ digest: z.string(), version: z.int() })),
      },
    },
  );
  api.openapi(restore, async (c) => {
    const { repository, reference } = await requireImage(c, c.req.valid('param'), 'push');
    const tag = parseTag(reference);
    const digest = await historyOf(c).restorable(repository, tag, c.req.valid('json'));
    const registry = c.get('registry');
    const access = { repository, condition: 'granted' } as const;
    const stored = await registry
      .getManifest(access, { kind: 'digest', digest }, roomFor(c))
      .catch((error: unknown) => {
        if (!(error instanceof OciError) || error.status !== 404) throw error;
        throw new OciError('UNAVAILABLE', {
          message:
            'the manifest of that entry has not reached this host yet: ' +
            'try again, or use the host that it was pushed to',
          headers: { 'Retry-After': '5' },
        });
      });
    const manifest = readStoredManifest(stored.text, stored.mediaType);
    const written = await registry.putManifest(repository, digest, manifest, stored.size, [tag], callerAsActor(c));
    await recordRestore(c, repository, tag);
    return c.json({ digest, version: written }, 200);
  });

  const prefetch = describe(
    'post',
    `${IMAGE}/prefetch`,
    'Copy an image to a node before it is pulled there',
    {
      params: imageParam,
      query: waitQuery,
      ...body(prefetchRequest),
    },
    { 200: { description: 'The progress of the copy', ...json(prefetched) } },
  );
  api.openapi(prefetch, async (c) => {
    const { repository, reference } = await requireImage(c, c.req.valid('param'), 'prefetch');
    const { node } = c.req.valid('json');
    requireValidAt(c, [node]);
    const replication = replicationOf(c);
    const { digest, blobs, isComplete } = await replication.prefetch(node, repository, parseReference(reference));
    const store = c.get('runtime').config.nodes.find(({ name }) => name === node)?.store ?? '';
    await recordPrefetch(c, store, repository, reference);
    const look = (): Promise<number> => replication.copiesDownLeft(node, repository, blobs);
    const left = await copiesDown.until(
      `${node} ${repository} ${digest}`,
      look,
      (count) => count === 0,
      c.req.valid('query').wait,
    );
    const progress = { copied: blobs.length - left, total: blobs.length };
    return c.json({ node, digest, blobs: progress, done: left === 0, complete: isComplete }, 200);
  });
}

interface AskedImage {
  readonly repository: RepositoryName;
  readonly reference: string;
}

function imageIn({ organization, repository, reference }: z.infer<typeof imageParam>): AskedImage {
  return { repository: parseRepositoryName(`${organization}/${repository}`), reference };
}

/**
 * Reads something of an image that the caller may pull. It begins before it knows whether the repository is public, so
 * that this look-up costs no round trip of its own.
 * @param read must write nothing
 * @throws OciError DENIED, and what `read` throws
 */
export async function readImage<Answer>(
  c: AppContext,
  param: z.infer<typeof imageParam>,
  read: (image: AskedImage) => Promise<Answer>,
): Promise<Answer> {
  const asked = imageIn(param);
  // A read that throws at once must wait for the permission as well.
  const answer = Promise.resolve().then(() => read(asked));
  // A caller who may not pull learns nothing else, not even a failure.
  answer.catch(() => undefined);
  await requireImage(c, param, 'pull');
  return answer;
}

/** Checks that the caller may do the action with the image. @throws OciError DENIED */
export async function requireImage(
  c: AppContext,
  param: z.infer<typeof imageParam>,
  action: 'pull' | 'push' | 'prefetch',
): Promise<AskedImage> {
  const { repository, reference } = imageIn(param);
  const caller = c.get('caller');
  const may = action === 'prefetch' ? mayPrefetch(caller, repository) : allows(caller, action, repository);
  if (may) return { repository, reference };
  const control = composeControlData(c.env, c.get('namespace'));
  if (action === 'pull' && (await control.publicAmong([repository])).has(repository)) return { repository, reference };
  const what = { pull: 'pull from', push: 'push to', prefetch: 'prefetch, since it may not push to' }[action];
  throw new OciError('DENIED', { message: `this credential may not ${what} ${repository}` });
}

function view(state: ImageState): z.infer<typeof image> {
  return {
    digest: state.digest ?? null,
    state: state.state,
    version: state.version,
    origin: state.origin ?? null,
    blobs: { ...state.blobs },
    bytes: { ...state.bytes },
    attempts: state.attempts,
    last_error: state.lastError ?? null,
    locations: [...state.locations],
  };
}

function byBlob(rows: readonly SharedBlob[]): z.infer<typeof sharedBlob>[] {
  return [...Map.groupBy(rows, ({ blob }) => blob)].map(([blob, images]) => ({
    blob,
    images: images.map(({ repository, manifest, tag }) => ({ repository, digest: manifest, tag })),
  }));
}

function viewOfListed({ digest, tags, createdAt, size, kind }: ListedImage): z.infer<typeof listedImage> {
  const shown = tags.map(({ name, pushedAt }) => ({ name, pushed_at: formatTime(pushedAt) }));
  return { digest, tags: shown, created_at: formatTime(createdAt), size, kind };
}

function viewOfEntry(entry: HistoryEntry, withAuthors: boolean): z.infer<typeof historyEntry> {
  const { version, origin, digest, recorded_at: at, stores, current, restorable } = entry;
  const author = withAuthors && entry.author !== '' ? entry.author : null;
  const replaced = at === null ? null : formatTime(at);
  return { version, origin, digest, author, replaced_at: replaced, stores: [...stores], current, restorable };
}

function historyOf(c: AppContext): TagHistory {
  return new TagHistory(c.get('runtime').config, c.env, () => Date.now());
}
