/** Lists a tag's history in pages: the writes that any store still keeps, and which of them can be restored. */
import type { Config } from '../config.ts';
import type { StoreName } from '../namespaces/namespace.ts';
import type { Digest } from '../oci/digest.ts';
import { OciError } from '../oci/errors.ts';
import type { RepositoryName, Tag } from '../oci/reference.ts';
import { composeStores } from '../registry/compose.ts';
import { orUnavailable } from '../registry/federated/central.ts';
import { lifecycleOf, lookUpVersions } from '../stores/list-rows.ts';
import { removedUntil, type RemovedUntil } from '../stores/deletion/removals.ts';
import type { Store } from '../stores/store.ts';
import {
  BEFORE_ALL,
  historyOfTag,
  type TagWrite,
  writeOfTag,
  type WritePosition,
} from '../stores/manifests/tag-history.ts';
import { compareTags, isAlive, mergeManifests, NO_MANIFEST } from '../stores/versions.ts';

export interface HistoryEntry extends TagWrite {
  readonly stores: readonly StoreName[];
  /** Whether this write wins when the rows of all stores that answered are merged. */
  readonly current: boolean;
  /** Whether the write can be restored: it is not a deletion, and its manifest is alive. */
  readonly restorable: boolean;
}

interface HistoryPage {
  /** The latest write first. */
  readonly entries: readonly HistoryEntry[];
  /** The start of the next page; undefined if there is none. */
  readonly last: WritePosition | undefined;
  /** False if a store did not answer: it may know of other writes. */
  readonly complete: boolean;
}

export class TagHistory {
  readonly #config: Config;
  readonly #stores: readonly Store[];
  readonly #now: () => number;

  constructor(config: Config, env: object, now: () => number) {
    this.#config = config;
    this.#stores = composeStores(config, env);
    this.#now = now;
  }

  /**
   * Returns a page of the history.
   * @param before the `last` of the previous page
   * @throws OciError UNAVAILABLE if central does not answer
   */
  async page(
    repository: RepositoryName,
    tag: Tag,
    before: WritePosition = BEFORE_ALL,
    limit: number,
  ): Promise<HistoryPage> {
    const { limits, historyMilliseconds } = this.#config;
    const kept = { entries: limits.historyEntries, since: this.#now() - historyMilliseconds };
    const { answers, complete } = await this.#ask(({ database }) =>
      // One write more than asked for tells whether another page follows.
      Promise.all([
        historyOfTag(database, repository, tag, before, kept, limit + 1),
        removedUntil(database, repository),
      ]).then(([history, removed]) => Object.assign(history, { removed })),
    );
    const organizationRemoved = Math.max(...answers.map(({ answer }) => answer.removed.organization));
    const removal = this.#removalOf(answers);
    const rows = answers.flatMap(({ answer: { current } }) => (current === undefined ? [] : [current]));
    const current = [...rows, removal].toSorted((a, b) => compareTags(b, a))[0];
    const merged = new Map<string, TagWrite & { readonly stores: readonly StoreName[] }>();
    // The history shows the removal only if it has hidden a write.
    const hides = answers.some(({ answer }) =>
      answer.writes.some(({ version }) => version > organizationRemoved && version <= removal.version),
    );
    if (hides && removal.version < before.version) merged.set(keyOf(removal), removal);
    for (const { store, answer } of answers) {
      for (const write of answer.writes) {
        const known = merged.get(keyOf(write));
        const recordedAt = write.recorded_at ?? known?.recorded_at ?? null;
        const stores = [...(known?.stores ?? []), store];
        const winner = known !== undefined && compareTags(known, write) > 0 ? known : write;
        merged.set(keyOf(write), { ...winner, recorded_at: recordedAt, stores });
      }
    }
    const sorted = [...merged.values()].filter(({ version }) => version > organizationRemoved).toSorted(latestFirst);
    const writes = sorted.slice(0, limit);
    const alive = await this.#aliveAmong(repository, writes);
    const entries = writes.map(({ version, origin, digest, author, recorded_at, stores }) => ({
      version,
      origin,
      digest,
      author,
      recorded_at,
      stores,
      current: current !== undefined && keyOf(current) === keyOf({ version, origin }),
      restorable: digest !== null && alive.has(digest),
    }));
    return { entries, last: sorted.length > limit ? writes.at(-1) : undefined, complete };
  }

  /**
   * Returns the digest that a write gave to a tag, if the write can be restored.
   * @throws OciError NOT_FOUND for a write that no store knows, CONFLICT for one that cannot be restored, UNAVAILABLE
   *   if central, or a store that may know it, does not answer
   */
  async restorable(repository: RepositoryName, tag: Tag, write: WritePosition): Promise<Digest> {
    const { answers, complete } = await this.#ask(({ database }) =>
      Promise.all([writeOfTag(database, repository, tag, write), removedUntil(database, repository)]),
    );
    const organizationRemoved = Math.max(...answers.map(({ answer: [, removed] }) => removed.organization));
    const found =
      write.version > organizationRemoved
        ? answers.find(({ answer: [known] }) => known !== undefined)?.answer[0]
        : undefined;
    if (found === undefined && !complete) throw new OciError('UNAVAILABLE', { headers: { 'Retry-After': '5' } });
    if (found === undefined)
      throw new OciError('NOT_FOUND', { message: 'the history of the tag has no such entry: list it again' });
    if (found.digest === null)
      throw new OciError('CONFLICT', { message: 'that entry is a deletion: delete the tag instead' });
    if ((await this.#aliveAmong(repository, [found])).size > 0) return found.digest;
    throw new OciError('CONFLICT', { message: 'the manifest of that entry was deleted: push it again' });
  }

  async #aliveAmong(repository: RepositoryName, writes: readonly TagWrite[]): Promise<Set<Digest>> {
    const digests = [...new Set(writes.flatMap(({ digest }) => (digest === null ? [] : [digest])))];
    if (digests.length === 0) return new Set();
    const { answers } = await this.#ask(({ database }) => lookUpVersions(database, repository, [], digests));
    const merged = (digest: Digest) =>
      answers.reduce((lifecycle, { answer }) => mergeManifests(lifecycle, lifecycleOf(answer, digest)), NO_MANIFEST);
    return new Set(digests.filter((digest) => isAlive(merged(digest))));
  }

  /**
   * Returns the latest removal of the repository as a write of the tag, because it hides all earlier writes. The
   * version is 0 if there was no removal.
   */
  #removalOf(
    answers: readonly { readonly store: StoreName; readonly answer: { readonly removed: RemovedUntil } }[],
  ): TagWrite & { readonly stores: readonly StoreName[] } {
    const version = Math.max(...answers.map(({ answer }) => answer.removed.repository));
    const stores = answers.filter(({ answer }) => answer.removed.repository === version).map(({ store }) => store);
    return { version, origin: this.#config.central.store, digest: null, author: '', recorded_at: null, stores };
  }

  /**
   * Asks every store. Only central is sure to know of a removal. Without its answer, the nodes could show the tags of a
   * deleted repository, or of a previous owner of the organization's name.
   * @throws OciError UNAVAILABLE if central does not answer
   */
  async #ask<Answer>(question: (store: Store) => Promise<Answer>): Promise<{
    readonly answers: readonly { readonly store: StoreName; readonly answer: Answer }[];
    readonly complete: boolean;
  }> {
    const asked = await Promise.all(
      this.#stores.map(async (store) => ({ store: store.name, answer: await question(store).catch(orUnavailable) })),
    );
    const answers = asked.flatMap(({ store, answer }) => (answer instanceof OciError ? [] : [{ store, answer }]));
    if (answers[0]?.store !== this.#config.central.store)
      throw new OciError('UNAVAILABLE', { headers: { 'Retry-After': '5' } });
    return { answers, complete: answers.length === asked.length };
  }
}

function keyOf({ version, origin }: WritePosition): string {
  return `${version} ${origin}`;
}

/** The order of pages. It differs from the order of merging if two stores gave the same version. */
function latestFirst(a: WritePosition, b: WritePosition): number {
  return b.version - a.version || (a.origin < b.origin ? 1 : -1);
}
