/** One image: how far it has come, its tag's history, and fetching it ahead. */
import { type OpenAPIHono, z } from '@hono/zod-openapi';
import { allows, type Credential } from '../../auth/credential.ts';
import { OciError } from '../../oci/errors.ts';
import { parseManifest } from '../../oci/manifest.ts';
import { parseReference, parseRepositoryName, parseTag, type RepositoryName } from '../../oci/reference.ts';
import { composeControlData } from '../../registry/compose.ts';
import { imageState, type ImageState, isFinal } from '../../replication/image-state.ts';
import type { HistoryEntry, Replication } from '../../replication/operations.ts';
import type { AppContext, AppEnv } from '../context.ts';
import { formatTime } from './administration.ts';
import { requireGoodAt } from './caller.ts';
import { body, describe, json } from './describe.ts';
import { replicationOf } from './replication.ts';
import { noteOfImage } from './upkeep.ts';
import { historyEntry, image, imageParam, prefetched, prefetchRequest, restoreRequest, waitQuery } from './schemas.ts';

const IMAGE = '/api/organizations/{organization}/repositories/{repository}/images/{reference}';

/** How often a waiting request looks, in milliseconds. */
const LOOK_MILLISECONDS = 200;

export function imageRoutes(api: OpenAPIHono<AppEnv>): void {
  const get = describe(
    'get',
    IMAGE,
    'Look how far an image has come, or wait until it has',
    {
      params: imageParam,
      query: waitQuery.extend({
        version: z.coerce
          .number()
          .int()
          .positive()
          .optional()
          .openapi({
            description:
              'Of the write that is asked about, as its answer said in Berth-Version; the default is what the host has. Of writes ' +
              "of two stores with the same version it is the host's own, or else the one that won",
          }),
      }),
    },
    { 200: { description: 'Its state, as this host sees it', ...json(image) } },
  );
  api.openapi(get, async (c) => {
    const { repository, reference } = await requireImage(c, c.req.valid('param'), 'pull');
    const { wait, version } = c.req.valid('query');
    const { config } = c.get('runtime');
    const look = (): Promise<ImageState> =>
      imageState(config, c.env, c.get('namespace'), repository, parseReference(reference), version);
    return c.json(view(await until(look, ({ state }) => isFinal(state), wait)), 200);
  });

  const history = describe(
    'get',
    `${IMAGE}/history`,
    "List a tag's writes from all stores, those that lost included",
    { params: imageParam },
    {
      200: {
        description: 'The latest first, of each store at most 500',
        ...json(
          z.object({
            history: z.array(historyEntry),
            complete: z.boolean().openapi({ description: 'false where a store does not answer: it may know of other writes' }),
          }),
        ),
      },
    },
  );
  api.openapi(history, async (c) => {
    const { repository, reference } = await requireImage(c, c.req.valid('param'), 'pull');
    const replication = replicationOf(c);
    const { entries, complete } = await replication.history(repository, parseTag(reference));
    const shown = allows(c.get('caller'), 'pull', repository) ? entries : await stillThere(replication, repository, entries);
    return c.json({ history: shown.map(viewOfEntry), complete }, 200);
  });

  const restore = describe(
    'post',
    `${IMAGE}/restore`,
    'Put a tag back to an entry of its history',
    { params: imageParam, ...body(restoreRequest) },
    {
      200: { description: 'The tag is on that manifest again', ...json(z.object({ digest: z.string(), version: z.int() })) },
    },
  );
  api.openapi(restore, async (c) => {
    const { repository, reference } = await requireImage(c, c.req.valid('param'), 'push');
    const tag = parseTag(reference);
    const { version, origin } = c.req.valid('json');
    const { entries, complete } = await replicationOf(c).history(repository, tag);
    const entry = entries.find((each) => each.version === version && each.origin === origin);
    if (entry === undefined && !complete) throw new OciError('UNAVAILABLE', { headers: { 'Retry-After': '5' } });
    if (entry === undefined) throw new OciError('NOT_FOUND', { message: 'the history of the tag has no such entry' });
    if (entry.digest === null) throw new OciError('CONFLICT', { message: 'that entry is a deletion: delete the tag instead' });
    const registry = c.get('registry');
    const access = { repository, condition: 'granted' } as const;
    const stored = await registry.getManifest(access, { kind: 'digest', digest: entry.digest }).catch((error: unknown) => {
      if (!(error instanceof OciError) || error.status !== 404) throw error;
      throw new OciError('CONFLICT', { message: 'the manifest of that entry was deleted: push it again' });
    });
    const manifest = parseManifest(new TextEncoder().encode(stored.text), stored.mediaType);
    const written = await registry.putManifest(repository, entry.digest, manifest, stored.size, [tag]);
    await noteOfImage(c, c.get('namespace').store, 'restore tag', repository, tag);
    return c.json({ digest: entry.digest, version: written }, 200);
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
    { 200: { description: 'How far the copy is', ...json(prefetched) } },
  );
  api.openapi(prefetch, async (c) => {
    const { repository, reference } = await requireImage(c, c.req.valid('param'), 'prefetch');
    const { node } = c.req.valid('json');
    requireGoodAt(c, [node]);
    const replication = replicationOf(c);
    const { digest, blobs } = await replication.prefetch(node, repository, parseReference(reference));
    const store = c.get('runtime').config.nodes.find(({ name }) => name === node)?.store ?? '';
    await noteOfImage(c, store, 'prefetch image', repository, reference);
    const look = (): Promise<number> => replication.fetchesLeft(node, repository, blobs);
    const left = await until(look, (count) => count === 0, c.req.valid('query').wait);
    return c.json({ node, digest, blobs: { copied: blobs.length - left, total: blobs.length }, done: left === 0 }, 200);
  });
}

/** What is public now shows no more than who pulls it could: not what was deleted, perhaps before it was public. */
async function stillThere(
  replication: Replication,
  repository: RepositoryName,
  entries: readonly HistoryEntry[],
): Promise<HistoryEntry[]> {
  const digests = entries.flatMap(({ digest }) => digest ?? []);
  const alive = await replication.alive(repository, [...new Set(digests)]);
  return entries.filter(({ digest }) => digest !== null && alive.has(digest));
}

/**
 * Copying to a node takes its room, so a public image is not enough: it takes the right to push, or a credential of who runs
 * the nodes.
 */
function mayPrefetch(caller: Credential, repository: RepositoryName): boolean {
  return caller.kind !== 'organization' || allows(caller, 'push', repository);
}

/** @throws OciError DENIED */
async function requireImage(
  c: AppContext,
  { organization, repository: path, reference }: z.infer<typeof imageParam>,
  action: 'pull' | 'push' | 'prefetch',
): Promise<{ repository: RepositoryName; reference: string }> {
  const repository = parseRepositoryName(`${organization}/${path}`);
  const caller = c.get('caller');
  const may = action === 'prefetch' ? mayPrefetch(caller, repository) : allows(caller, action, repository);
  if (may) return { repository, reference };
  const control = composeControlData(c.env, c.get('namespace'));
  if (action === 'pull' && (await control.publicAmong([repository])).has(repository)) return { repository, reference };
  const what = { pull: 'pull from', push: 'push to', prefetch: 'prefetch: it may not push to' }[action];
  throw new OciError('DENIED', { message: `this credential may not ${what} ${repository}` });
}

/** Looks until `done`, or for `seconds`. */
async function until<Answer>(look: () => Promise<Answer>, done: (answer: Answer) => boolean, seconds: number): Promise<Answer> {
  const end = Date.now() + seconds * 1000;
  for (;;) {
    const answer = await look();
    if (done(answer) || Date.now() + LOOK_MILLISECONDS > end) return answer;
    await new Promise((wake) => setTimeout(wake, LOOK_MILLISECONDS));
  }
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

function viewOfEntry({ version, origin, digest, recorded_at: at, stores, current }: HistoryEntry): z.infer<typeof historyEntry> {
  return { version, origin, digest, replaced_at: at === null ? null : formatTime(at), stores: [...stores], current };
}
