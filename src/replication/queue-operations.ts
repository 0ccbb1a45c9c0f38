/**
 * The operations on replication for operators and users: queues, content that only a node has, retired stores,
 * prefetching.
 */
import { z } from 'zod';
import type { Config } from '../config.ts';
import type { StoreName } from '../namespaces/namespace.ts';
import type { Digest } from '../oci/digest.ts';
import { OciError } from '../oci/errors.ts';
import { organizationOf, type Reference, type RepositoryName } from '../oci/reference.ts';
import { composeStore } from '../registry/compose.ts';
import type { CopiedImage } from './copy-down.ts';
import { changeLogProgress } from '../stores/change-log-rows.ts';
import { answerOf, forPage } from '../stores/deadline.ts';
import { type OutboxEntry, outboxEntriesAfter, type OutboxEntryPosition } from '../stores/outbox-rows.ts';
import { glanceOnlyAt, listOnlyAt, onlyAt, type OnlyAtGlance, type OnlyAtPosition } from './only-at-rows.ts';
import { forgetStoreSlice, isKnownStore, knownStores } from './retired-rows.ts';
import type { Store } from '../stores/store.ts';
import { type QueueStatus, queueOf, type ReplicationQueue } from './durable-object.ts';
import { PREFETCHES_OF_ORGANIZATION } from './prefetches.ts';
import type { Turns } from './bytes-lane.ts';
import type { HourFigures, NamedJob } from './queue-state.ts';
import { type Series, seriesOfAll } from './series.ts';

interface ChangeLogPosition {
  readonly store: StoreName;
  readonly position: number;
  /** Positions in the change log after the store's, those of replaced entries included. */
  readonly behind: number;
  /** When the store last read the change log, in milliseconds since the epoch; undefined if it never has. */
  readonly appliedAt: number | undefined;
}

export interface QueueReport {
  readonly store: StoreName;
  /** Undefined if the Durable Object does not answer. */
  readonly status: QueueStatus | undefined;
  /** The blobs that this node has and central lacks; undefined if central does not answer. */
  readonly copiesUp: OnlyAtGlance | undefined;
  readonly changeLog: readonly ChangeLogPosition[];
}

/** Something that a node has and central lacks. */
export type OnlyHere =
  | {
      readonly kind: 'tag' | 'manifest';
      readonly repository: string;
      readonly key: string;
      /** The tag that the manifest's outbox entry stands for as well. */
      readonly tag?: string;
    }
  | {
      readonly kind: 'blob';
      readonly organization: string;
      readonly key: string;
      /** Bytes. */
      readonly size: number;
      /** Whether another node has it. */
      readonly elsewhere: boolean;
    };

/** The longest that one request may spend on forgetting a store. */
const FORGET_MILLISECONDS = 10_000;
/** The most slices in one request: each takes five statements, and D1 may end a request after 1,000. */
const FORGET_SLICES = 100;
/** The prefix of `last` once a request goes through the slices a second time. */
const AGAIN = 'again ';

function unannounced(entry: OutboxEntry): OnlyHere {
  const { kind, repository, key } = entry;
  return kind === 'manifest' && entry.tag ? { kind, repository, key, tag: entry.tag } : { kind, repository, key };
}

export class Replication {
  readonly #config: Config;
  readonly #env: object;

  constructor(config: Config, env: object) {
    this.#config = config;
    this.#env = env;
  }

  /** The stores that have a queue, which are those of the nodes. */
  get stores(): readonly StoreName[] {
    return [...new Set(this.#config.nodes.map(({ store }) => store))];
  }

  /** @throws OciError NOT_FOUND */
  async report(store: StoreName): Promise<QueueReport & { readonly copiesUp: OnlyAtGlance }> {
    const central = this.#store(this.#config.central.store);
    const queue = this.#queue(store);
    const [status, copiesUp, progress] = await Promise.all([
      Promise.resolve(queue.status(store)).catch(() => undefined),
      onlyAt(central, store),
      changeLogProgress(central.database),
    ]);
    return { store, status, copiesUp: { ...copiesUp, isWhole: true }, changeLog: positionsIn(progress) };
  }

  /**
   * Reports on all queues for a page of the console. Leaves out figures that take longer than a second, and some counts
   * may be partial.
   */
  async glance(): Promise<QueueReport[]> {
    const { stores } = this;
    if (stores.length === 0) return [];
    const central = this.#store(this.#config.central.store);
    const [statuses, atCentral] = await Promise.all([
      Promise.all(
        stores.map((store) => forPage(Promise.resolve(this.#queue(store).status(store))).catch(() => undefined)),
      ),
      forPage(Promise.all([glanceOnlyAt(central, stores), changeLogProgress(central.database)])),
    ]);
    const [copiesUp, progress] = atCentral ?? [];
    const changeLog = progress === undefined ? [] : positionsIn(progress);
    return stores.map((store, i) => ({ store, status: statuses[i], copiesUp: copiesUp?.get(store), changeLog }));
  }

  /** Returns what a store's queue did in the last hours. @throws OciError NOT_FOUND, UNAVAILABLE */
  async series(store: StoreName, hours: number): Promise<readonly HourFigures[]> {
    return this.#ask(store, (queue) => queue.hours(hours));
  }

  /** Returns what all queues together did in the last hours. */
  seriesOfAll(hours: number): Promise<Series> {
    return seriesOfAll(this.stores, (store) => this.series(store, hours));
  }

  /** @throws OciError NOT_FOUND, UNAVAILABLE */
  async parked(store: StoreName, after: string, limit: number): Promise<readonly NamedJob[]> {
    return this.#ask(store, (queue) => queue.parkedJobs(after, limit));
  }

  /** @throws OciError NOT_FOUND, UNAVAILABLE */
  async turns(store: StoreName): Promise<Turns> {
    return this.#ask(store, (queue) => queue.turns(store));
  }

  async retry(store: StoreName, job: string | undefined): Promise<number> {
    return this.#queue(store).retry(store, job);
  }

  async setPaused(store: StoreName, paused: boolean): Promise<void> {
    await this.#queue(store).setPaused(store, paused);
  }

  async announceAll(store: StoreName): Promise<void> {
    await this.#queue(store).announceAll(store);
  }

  /**
   * Lists what a store has and central lacks: first what is not announced, then the blobs that are not copied. For a
   * retired store, it lists the blobs that central knows of.
   * @param last the `last` of the previous page; undefined for the first page
   * @throws OciError NOT_FOUND for a store that is neither a node's nor known to central as a retired one
   */
  async onlyHere(
    store: StoreName,
    last: string | undefined,
    limit: number,
  ): Promise<{ items: readonly OnlyHere[]; last: string | undefined; complete: boolean }> {
    const central = this.#store(this.#config.central.store);
    if (store === central.name) throw noSuch('queue', store);
    const inUse = this.stores.includes(store);
    if (!inUse) await this.#requireRetired(central, store);
    const from = positionIn(last);
    let complete = inUse;
    if (inUse && from.kind === 'outboxEntry') {
      // If the node is gone, central still knows which blobs were lost with it.
      const outboxEntries = await outboxEntriesAfter(this.#store(store).database, from.after, limit).catch(
        (): OutboxEntry[] => {
          complete = false;
          return [];
        },
      );
      const end = outboxEntries.at(-1);
      if (end !== undefined) {
        const { written_at, kind, repository, key } = end;
        return {
          items: outboxEntries.map(unannounced),
          last: JSON.stringify({ written_at, kind, repository, key }),
          complete,
        };
      }
    }
    const after = from.kind === 'blob' ? from.after : undefined;
    const others = this.stores.filter((other) => other !== store);
    const blobs = await listOnlyAt(central, store, others, after, limit);
    const items = blobs.map(({ digest, organization, size, elsewhere }) => ({
      kind: 'blob' as const,
      organization,
      key: digest,
      size,
      elsewhere: elsewhere === 1,
    }));
    return { items, last: blobs.length < limit ? undefined : JSON.stringify(blobs.at(-1)?.position), complete };
  }

  /**
   * Makes central forget a store that no node uses any more, as far as the time allows. If that takes several requests,
   * the first slices may have new locations by the end, so it then goes through all slices once more.
   * @param after the `last` of the previous answer; '' to start
   * @param lost whether to forget also the locations of bytes that central lacks
   * @throws OciError NOT_FOUND for a store that central knows nothing of; CONFLICT while a node uses the store, or if
   *   central lacks bytes of it that a live manifest needs or a client was promised
   */
  async forget(
    store: StoreName,
    after: string,
    lost: boolean,
  ): Promise<{ readonly locations: number; readonly last: string | undefined }> {
    const central = this.#store(this.#config.central.store);
    if (store === central.name || this.stores.includes(store)) {
      throw new OciError('CONFLICT', {
        message: `store ${store} is in use: retire its nodes, then try again`,
      });
    }
    await this.#requireRetired(central, store);
    if (!lost) requireNothingLacking(store, await onlyAt(central, store));
    const end = Date.now() + FORGET_MILLISECONDS;
    let locations = 0;
    let isAgain = after.startsWith(AGAIN);
    let last: string | undefined = isAgain ? after.slice(AGAIN.length) : after;
    const startsAtFirst = last === '';
    let slices = 0;
    do {
      slices++;
      const slice = await forgetStoreSlice(central, store, last, {
        now: Date.now(),
        lost,
        forgetsStore: startsAtFirst || isAgain,
      });
      requireNothingLacking(store, slice.kept);
      locations += slice.locations;
      last = slice.end;
      if (last === undefined && !startsAtFirst && !isAgain) {
        isAgain = true;
        last = '';
      }
    } while (last !== undefined && slices < FORGET_SLICES && Date.now() < end);
    return { locations, last: last !== undefined && isAgain ? AGAIN + last : last };
  }

  /** @throws OciError NOT_FOUND, so that a misspelt name does not look like a store that has been forgotten */
  async #requireRetired({ database }: Store, store: StoreName): Promise<void> {
    if (await isKnownStore(database, store)) return;
    const used = new Set<string>([this.#config.central.store, ...this.stores]);
    const retired = (await knownStores(database)).filter((name) => !used.has(name));
    throw new OciError('NOT_FOUND', {
      message:
        `central knows no store ${store}: it has been forgotten already, or its name is different. ` +
        `Retired stores that central knows: ${retired.join(', ') || 'none'}`,
    });
  }

  /**
   * Copies an image's rows down to a node, and asks for its blobs to be copied.
   * @throws OciError NOT_FOUND for an unknown node, MANIFEST_UNKNOWN, TOO_MANY_REQUESTS
   */
  async prefetch(node: string, repository: RepositoryName, reference: Reference): Promise<CopiedImage> {
    const store = this.#config.nodes.find(({ name }) => name === node)?.store;
    if (store === undefined) throw noSuch('node', node);
    const answer = await this.#queue(store).prefetch(store, repository, reference);
    if (answer === 'unknown') throw new OciError('MANIFEST_UNKNOWN', { detail: { name: repository } });
    if (answer === 'too many') {
      throw new OciError('TOO_MANY_REQUESTS', {
        message:
          `${PREFETCHES_OF_ORGANIZATION} prefetches of ${organizationOf(repository)} to ${node} have not ended: ` +
          'wait for one to end, then try again',
        headers: { 'Retry-After': '2' },
      });
    }
    return answer;
  }

  /** Counts those of the blobs that still have to be copied down. */
  async copiesDownLeft(node: string, repository: RepositoryName, blobs: readonly Digest[]): Promise<number> {
    const store = this.#config.nodes.find(({ name }) => name === node)?.store;
    return store === undefined ? 0 : this.#queue(store).copiesDownLeft(repository, blobs);
  }

  /** @throws OciError NOT_FOUND; UNAVAILABLE if the Durable Object does not answer */
  #ask<Answer>(
    store: StoreName,
    question: (queue: DurableObjectStub<ReplicationQueue>) => PromiseLike<Answer>,
  ): Promise<Answer> {
    return answerOf(question(this.#queue(store)));
  }

  /** @throws OciError NOT_FOUND */
  #queue(store: StoreName): DurableObjectStub<ReplicationQueue> {
    if (!this.stores.includes(store)) throw noSuch('queue', store);
    return queueOf(this.#env, this.#config, store);
  }

  #store(name: StoreName): Store {
    const store = composeStore(this.#config, this.#env, name);
    if (store === undefined) throw noSuch('store', name);
    return store;
  }
}

function positionsIn({ end, stores }: Awaited<ReturnType<typeof changeLogProgress>>): ChangeLogPosition[] {
  return stores.map(({ store, position, applied_at: appliedAt }) => ({
    store,
    position,
    behind: Math.max(0, end - position),
    appliedAt,
  }));
}

/** @throws OciError CONFLICT */
function requireNothingLacking(
  store: StoreName,
  { blobs, bytes }: { readonly blobs: number; readonly bytes: number },
): void {
  if (blobs === 0) return;
  throw new OciError('CONFLICT', {
    message:
      `central lacks ${blobs} blobs (${bytes} bytes) that ${store} has: a manifest needs them or a client was ` +
      'promised them. Copy them up first, or repeat the request with lost=true to give them up',
    detail: { blobs, bytes },
  });
}

function positionIn(
  last: string | undefined,
): { kind: 'outboxEntry'; after: OutboxEntryPosition | undefined } | { kind: 'blob'; after: OnlyAtPosition } {
  if (last === undefined) return { kind: 'outboxEntry', after: undefined };
  const parsed = position.safeParse(last);
  if (!parsed.success) {
    throw new OciError('FIELD_INVALID', {
      message: 'last: must be the value that the previous page returned',
      detail: { field: 'last' },
    });
  }
  const after = parsed.data;
  return 'written_at' in after ? { kind: 'outboxEntry', after: after as OutboxEntryPosition } : { kind: 'blob', after };
}

/** Parses the `last` of a page, which is JSON: the position of an outbox entry or of a blob. */
const position = z
  .string()
  .transform((text, context): unknown => {
    try {
      return JSON.parse(text);
    } catch {
      context.addIssue({ code: 'custom', message: 'is not JSON' });
      return z.NEVER;
    }
  })
  .pipe(
    z.union([
      z.strictObject({ organization: z.string(), size: z.int(), digest: z.string() }),
      z.strictObject({ damaged: z.string(), at: z.string() }),
      z.strictObject({
        written_at: z.int(),
        kind: z.enum(['tag', 'manifest']),
        repository: z.string(),
        key: z.string(),
      }),
    ]),
  );

function noSuch(what: string, name: string): OciError {
  return new OciError('NOT_FOUND', { message: `there is no ${what} ${name}` });
}
