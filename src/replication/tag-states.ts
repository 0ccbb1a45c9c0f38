/**
 * Returns the state of a repository's tags at each store. A page costs each store two round trips, and others after the
 * answer, to note the sizes and platforms of images that no page has shown before. If a node's store does not answer
 * within a second, its tags have the state `unknown`. Without central there is no page, because only central is sure to
 * know of a removal. A node that has yet to hear of one would show the tags of a deleted repository, or of a previous
 * owner of the organization's name.
 */
import type { Config } from '../config.ts';
import type { StoreName } from '../namespaces/namespace.ts';
import type { Digest } from '../oci/digest.ts';
import type { RepositoryName, Tag } from '../oci/reference.ts';
import { composeStores } from '../registry/compose.ts';
import { VERSIONS_PER_MILLISECOND } from '../stores/clock.ts';
import { forPage, PAGE_MILLISECONDS, within } from '../stores/deadline.ts';
import { lifecycleOf, listTags } from '../stores/list-rows.ts';
import { type ImageKind, measureFound } from '../stores/manifests/image-measure.ts';
import type { Store } from '../stores/store.ts';
import { isVisible, mergeManifests, mergeTags, NO_MANIFEST, type TagVersion } from '../stores/versions.ts';
import { queueOf } from './durable-object.ts';
import { copyDownJob, copyUpJob, outboxEntryJob } from './machine.ts';
import { notePlatforms, type Platforms, readPlatforms, type UnreadConfig } from './tag-platforms.ts';
import { type ImageAtStore, readTagsAtStore, type TagsAtStore } from './tag-state-rows.ts';

/**
 * - `absent`: the store does not have the tag.
 * - `superseded`: it has an earlier write of the tag.
 * - `pending`: it has yet to announce the tag, or a manifest of the image, to central.
 * - `announced`: it knows the image, and lacks some of it.
 * - `settled`: it has all of the image.
 * - `parked`: as `pending` or `announced`, but a queue has given up a step, which waits for an operator.
 * - `unknown`: it does not answer, or the image has too many parts to look at in a list.
 */
export const TAG_STATES = ['absent', 'superseded', 'pending', 'announced', 'settled', 'parked', 'unknown'] as const;
export type TagState = (typeof TAG_STATES)[number];

export interface TagAtStores {
  readonly name: Tag;
  readonly digest: Digest;
  /** Milliseconds since the epoch. */
  readonly pushedAt: number;
  /** The store that made the write. */
  readonly origin: string;
  /** Bytes of the image's distinct blobs; undefined if no store has added them up. */
  readonly size: number | undefined;
  readonly kind: ImageKind | undefined;
  /** Up to 20; none until a page has read the config of an image that no index lists. */
  readonly platforms: readonly string[];
  /** The hour of the image's last pull from any store that answers, in milliseconds since the epoch. */
  readonly pulledAt: number | undefined;
  readonly states: readonly { readonly store: StoreName; readonly state: TagState }[];
}

interface TagStatesPage {
  readonly tags: readonly TagAtStores[];
  /** Central first. */
  readonly stores: readonly { readonly store: StoreName; readonly answers: boolean }[];
  /** The last tag of the page, unless there are no more after it. */
  readonly last: Tag | undefined;
}

interface Answer {
  readonly store: Store;
  /** Undefined if the store does not answer. Only a node's store may be silent. */
  readonly known: TagsAtStore | undefined;
}

/** A job that a queue may have given up. */
interface NamedJob {
  readonly queue: StoreName;
  readonly id: string;
}

/** The state of one tag at one store, by the store's rows alone. */
interface Cell {
  readonly store: StoreName;
  readonly state: TagState;
  /** The jobs that would move the tag on. If one of them is parked, the state is `parked`. */
  readonly jobs: readonly NamedJob[];
}

/**
 * Lists the tags after `after` that any store has, by the merged rows of all stores.
 * @throws OciError UNAVAILABLE if central does not answer
 */
export async function tagStates(
  config: Config,
  env: object,
  repository: RepositoryName,
  { limit, after }: { readonly limit: number; readonly after: string },
  defer: (work: Promise<unknown>) => void,
): Promise<TagStatesPage> {
  const stores = composeStores(config, env);
  const [central] = stores;
  const part = <Asked>(store: Store, asked: Promise<Asked>): Promise<Asked | undefined> =>
    store === central ? within(PAGE_MILLISECONDS, asked) : forPage(asked);
  // One tag more than asked for tells whether another page follows.
  const lists = await Promise.all(
    stores.map((store) => part(store, listTags(store.database, repository, after, limit + 1))),
  );
  const listed = lists.flatMap((list) => list?.tags ?? []);
  const all = [...new Set(listed.map(({ name }) => name))].toSorted((a, b) => (a < b ? -1 : 1));
  const names = all.slice(0, limit);
  const digests = [...new Set(listed.flatMap(({ name, digest }) => (digest && names.includes(name) ? [digest] : [])))];
  const answers = await Promise.all(
    stores.map(async (store, i): Promise<Answer> => {
      const asked = lists[i] && part(store, readTagsAtStore(store, repository, names, digests));
      return { store, known: await asked };
    }),
  );
  const tags = names.flatMap((name) => {
    const winner = winnerOf(name, answers);
    return winner === undefined ? [] : [{ name, ...winner, cells: cellsOf(repository, name, winner.digest, answers) }];
  });
  defer(measureUnmeasured(repository, answers));
  const [parked, read] = await Promise.all([
    parkedAmong(
      config,
      env,
      tags.flatMap(({ cells }) => cells.flatMap(({ jobs }) => jobs)),
    ),
    platformsOf(repository, new Set(tags.map(({ digest }) => digest)), answers, defer),
  ]);
  return {
    tags: tags.map(({ name, digest, version, origin, cells }) => {
      const { size, kind, platforms, pulledAt } = knownOf(digest, answers, read.get(digest));
      const pushedAt = Math.floor(version / VERSIONS_PER_MILLISECOND);
      const states = cells.map(({ store, state, jobs }) => ({
        store,
        state: jobs.some((job) => parked.has(keyOf(job))) ? 'parked' : state,
      }));
      return { name, digest, pushedAt, origin, size, kind, platforms, pulledAt, states };
    }),
    stores: answers.map(({ store, known }) => ({ store: store.name, answers: known !== undefined })),
    last: all.length > limit ? names.at(-1) : undefined,
  };
}

/** Returns the write of a tag that wins when the rows of all stores are merged; undefined if the tag is deleted. */
function winnerOf(name: Tag, answers: readonly Answer[]): (TagVersion & { readonly digest: Digest }) | undefined {
  const known = answers.flatMap((answer) => answer.known?.versions ?? []);
  const tag = known.map(({ tags }) => tags.get(name)).reduce(mergeTags, undefined);
  if (tag === undefined || tag.digest === null) return undefined;
  const { digest, version, origin } = tag;
  const lifecycle = known.map((versions) => lifecycleOf(versions, digest)).reduce(mergeManifests, NO_MANIFEST);
  return isVisible(tag, lifecycle) ? { digest, version, origin } : undefined;
}

function cellsOf(repository: RepositoryName, name: Tag, digest: Digest, answers: readonly Answer[]): Cell[] {
  const images = answers.flatMap(({ known }) => known?.images.get(digest) ?? []);
  const manifests = Math.max(...images.map((image) => image.manifests));
  const [central, ...nodes] = answers.map(({ store }) => store.name);
  return answers.map(({ store: { name: store }, known }): Cell => {
    const tag = known?.versions.tags.get(name);
    if (known === undefined) return { store, state: 'unknown', jobs: [] };
    if (tag?.digest == null || !isVisible(tag, lifecycleOf(known.versions, tag.digest)))
      return { store, state: 'absent', jobs: [] };
    if (tag.digest !== digest) return { store, state: 'superseded', jobs: [] };
    const image = known.images.get(digest);
    const announcements = announcementsOf(repository, name, known.entries.get(name), image);
    if (announcements.length > 0)
      return { store, state: 'pending', jobs: announcements.map((id) => ({ queue: store, id })) };
    if (image === undefined) return { store, state: 'unknown', jobs: [] };
    if (image.lacking.length === 0 && image.manifests === manifests)
      return { store, state: image.isWhole ? 'settled' : 'unknown', jobs: [] };
    const jobs = image.lacking.flatMap((blob) =>
      store === central
        ? nodes.map((queue) => ({ queue, id: copyUpJob(blob) }))
        : [{ queue: store, id: copyDownJob(repository, blob) }],
    );
    return { store, state: 'announced', jobs };
  });
}

/** Returns the jobs that announce a tag and the manifests of its image. */
function announcementsOf(
  repository: RepositoryName,
  name: Tag,
  version: number | undefined,
  image: ImageAtStore | undefined,
): string[] {
  const ofTag = version === undefined ? [] : [outboxEntryJob({ kind: 'tag', repository, key: name, version })];
  const ofManifests = (image?.entries ?? []).map((entry) =>
    outboxEntryJob({ kind: 'manifest', repository, key: entry.key, version: entry.version }),
  );
  return [...ofTag, ...ofManifests];
}

/** Returns the keys of the jobs that are parked. Leaves out the jobs of a queue that does not answer. */
async function parkedAmong(config: Config, env: object, jobs: readonly NamedJob[]): Promise<ReadonlySet<string>> {
  const byQueue = Map.groupBy(new Map(jobs.map((job) => [keyOf(job), job])).values(), ({ queue }) => queue);
  const parked = await Promise.all(
    [...byQueue].map(async ([queue, asked]) => {
      const ids = asked.map(({ id }) => id);
      const found = await forPage(Promise.resolve(queueOf(env, config, queue).jobs(ids))).catch(() => undefined);
      return asked.filter((_, i) => found?.[i]?.parked === true);
    }),
  );
  return new Set(parked.flat().map(keyOf));
}

function keyOf({ queue, id }: NamedJob): string {
  return `${queue} ${id}`;
}

/** @param read the platform in the image's config, if this page has read it */
function knownOf(
  digest: Digest,
  answers: readonly Answer[],
  read: string | undefined,
): Pick<TagAtStores, 'size' | 'kind' | 'platforms' | 'pulledAt'> {
  const images = answers.flatMap(({ known }) => known?.images.get(digest) ?? []);
  const measured = images.find(({ size }) => size !== null);
  const pulled = Math.max(0, ...images.map((image) => image.pulled));
  return {
    size: measured?.size ?? undefined,
    kind: measured?.kind ?? undefined,
    platforms: read ? [read] : (images.find(({ platforms }) => platforms.length > 0)?.platforms ?? []),
    pulledAt: pulled === 0 ? undefined : pulled,
  };
}

/** Reads the platforms of images that no store knows the platforms of, and notes them for the next page. */
async function platformsOf(
  repository: RepositoryName,
  digests: ReadonlySet<Digest>,
  answers: readonly Answer[],
  defer: (work: Promise<unknown>) => void,
): Promise<Platforms> {
  const unread = [...digests].flatMap((digest): UnreadConfig[] => {
    const images = answers.flatMap(({ store, known }) => {
      const image = known?.images.get(digest);
      return image === undefined ? [] : [{ store, ...image }];
    });
    if (images.some(({ isConfigRead, platforms }) => isConfigRead || platforms.length > 0)) return [];
    const [first] = images.flatMap(({ store, unreadConfig: key }) =>
      key === undefined ? [] : [{ store, key, digest }],
    );
    return first === undefined ? [] : [first];
  });
  const read = await readPlatforms(unread);
  const byStore = Map.groupBy(
    unread.filter(({ digest }) => read.has(digest)),
    ({ store }) => store,
  );
  for (const [store, found] of byStore)
    defer(
      forPage(notePlatforms(store, repository, new Map(found.map(({ digest }) => [digest, read.get(digest) ?? ''])))),
    );
  return read;
}

/** Measures the images that nobody has measured, for the next page that shows them. */
async function measureUnmeasured(repository: RepositoryName, answers: readonly Answer[]): Promise<void> {
  await Promise.all(
    answers.map(async ({ store, known }) => {
      const unmeasured = [...(known?.images.values() ?? [])].filter(({ size }) => size === null);
      const found = unmeasured.map(({ digest, bytes }) => ({ repository, digest, bytes }));
      if (found.length > 0) await forPage(measureFound(store.database, found));
    }),
  );
}
