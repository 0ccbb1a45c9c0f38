/** What operators and users ask of replication: queues, what lies only at a node, prefetching. */
import { z } from 'zod';
import type { Config } from '../config.ts';
import type { StoreName } from '../namespaces/namespace.ts';
import type { Digest } from '../oci/digest.ts';
import { OciError } from '../oci/errors.ts';
import type { Reference, RepositoryName } from '../oci/reference.ts';
import { composeStores } from '../registry/compose.ts';
import { listOnlyAt, onlyAt } from './copy-rows.ts';
import { endOfChangeLog, storePositions } from '../stores/change-log-rows.ts';
import { type OutboxEntry, outboxEntriesAfter, type OutboxEntryPosition } from '../stores/outbox-rows.ts';
import { forgetStoreSlice, isKnownStore, knownStores } from './retired-rows.ts';
import type { Store } from '../stores/store.ts';
import { type QueueStatus, queueOf, type ReplicationQueue } from './durable-object.ts';
import type { NamedJob } from './queue-state.ts';

export interface ChangeLogPosition {
  readonly store: StoreName;
  readonly position: number;
  /** Entries that it has yet to apply. */
  readonly behind: number;
  /** When it last asked, in milliseconds since the epoch; undefined for never. */
  readonly appliedAt: number | undefined;
}

export interface QueueReport {
  readonly store: StoreName;
  /** Undefined where the Durable Object does not answer. */
  readonly status: QueueStatus | undefined;
  /** Blobs whose bytes lie at this node, and that central lacks. */
  readonly copiesUp: { readonly blobs: number; readonly bytes: number };
  readonly changeLog: readonly ChangeLogPosition[];
}

/** What a node has that central has not. */
export type OnlyHere =
  | { readonly kind: 'tag' | 'manifest'; readonly repository: string; readonly key: string }
  | {
      readonly kind: 'blob';
      readonly organization: string;
      readonly key: string;
      readonly size: number;
      /** Whether another node has it. */
      readonly elsewhere: boolean;
    };

/** How long one request goes on forgetting a store. */
const FORGET_MILLISECONDS = 10_000;

export class Replication {
  readonly #config: Config;
  readonly #env: object;

  constructor(config: Config, env: object) {
    this.#config = config;
    this.#env = env;
  }

  /** Stores that have a queue: those of the nodes. */
  get stores(): readonly StoreName[] {
    return [...new Set(this.#config.nodes.map(({ store }) => store))];
  }

  /** @throws OciError NOT_FOUND */
  async report(store: StoreName): Promise<QueueReport> {
    const central = this.#store(this.#config.central.store);
    const queue = this.#queue(store);
    const [status, copiesUp, end, all] = await Promise.all([
      Promise.resolve(queue.status(store)).catch(() => undefined),
      onlyAt(central, store),
      endOfChangeLog(central.database),
      storePositions(central.database),
    ]);
    const changeLog = all.map(({ store: name, position, applied_at: appliedAt }) => ({
      store: name,
      position,
      behind: Math.max(0, end - position),
      appliedAt,
    }));
    return { store, status, copiesUp, changeLog };
  }

  async parked(store: StoreName, after: string, limit: number): Promise<readonly NamedJob[]> {
    return this.#queue(store).parkedJobs(after, limit);
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
   * First what is not announced, then blobs that are not copied. Of a store that is retired, central knows the blobs.
   * @param last as the page before said
   * @throws OciError NOT_FOUND for a store that is neither a node's nor known to central as one that was
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
      // Of a node that is gone, central still knows which blobs went with it.
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
          items: outboxEntries.map((outboxEntry) => ({
            kind: outboxEntry.kind,
            repository: outboxEntry.repository,
            key: outboxEntry.key,
          })),
          last: JSON.stringify({ written_at, kind, repository, key }),
          complete,
        };
      }
    }
    const after = from.kind === 'blob' ? from.after : '';
    const others = this.stores.filter((other) => other !== store);
    const blobs = await listOnlyAt(central, store, others, after, limit);
    const items = blobs.map(({ digest, organization, size, elsewhere }) => ({
      kind: 'blob' as const,
      organization,
      key: digest,
      size,
      elsewhere: elsewhere === 1,
    }));
    return { items, last: blobs.length < limit ? undefined : JSON.stringify(blobs.at(-1)?.digest), complete };
  }

  /**
   * Central forgets what it knows of a store that is no node's any more: as much as there is time for.
   * @param after what the answer before said; '' to start
   * @param lost whether bytes that central lacks may be forgotten as well
   * @throws OciError NOT_FOUND for a store that central knows nothing of; CONFLICT while a node is on the store, or for
   *   bytes
   *   that central lacks, and that a live manifest needs or a client was promised
   */
  async forget(
    store: StoreName,
    after: string,
    lost: boolean,
  ): Promise<{ readonly locations: number; readonly last: string | undefined }> {
    const central = this.#store(this.#config.central.store);
    if (store === central.name || this.stores.includes(store)) {
      throw new OciError('CONFLICT', {
        message: `store ${store} is in use: a store is forgotten once no node is on it`,
      });
    }
    await this.#requireRetired(central, store);
    if (!lost) requireNothingLacking(store, await onlyAt(central, store));
    const end = Date.now() + FORGET_MILLISECONDS;
    let locations = 0;
    let last: string | undefined = after;
    do {
      const slice = await forgetStoreSlice(central, store, last, { now: Date.now(), lost });
      requireNothingLacking(store, slice.kept);
      locations += slice.locations;
      last = slice.end;
    } while (last !== undefined && Date.now() < end);
    return { locations, last };
  }

  /** @throws OciError NOT_FOUND: a misspelt name must not pass for a store that has been forgotten */
  async #requireRetired({ database }: Store, store: StoreName): Promise<void> {
    if (await isKnownStore(database, store)) return;
    const used = new Set<string>([this.#config.central.store, ...this.stores]);
    const retired = (await knownStores(database)).filter((name) => !used.has(name));
    throw new OciError('NOT_FOUND', {
      message:
        `central knows nothing of a store ${store}: it has been forgotten already, or is called otherwise. ` +
        `Retired stores that central knows: ${retired.join(', ') || 'none'}`,
    });
  }

  /** @throws OciError NOT_FOUND, MANIFEST_UNKNOWN */
  async prefetch(
    node: string,
    repository: RepositoryName,
    reference: Reference,
  ): Promise<{ readonly digest: Digest; readonly blobs: readonly Digest[] }> {
    const store = this.#config.nodes.find(({ name }) => name === node)?.store;
    if (store === undefined) throw noSuch('node', node);
    const answer = await this.#queue(store).prefetch(store, repository, reference);
    if (answer === undefined) throw new OciError('MANIFEST_UNKNOWN', { detail: { name: repository } });
    return answer;
  }

  /** How many of the blobs are still to come. */
  async copiesDownLeft(node: string, repository: RepositoryName, blobs: readonly Digest[]): Promise<number> {
    const store = this.#config.nodes.find(({ name }) => name === node)?.store;
    return store === undefined ? 0 : this.#queue(store).copiesDownLeft(repository, blobs);
  }

  /** @throws OciError NOT_FOUND */
  #queue(store: StoreName): DurableObjectStub<ReplicationQueue> {
    if (!this.stores.includes(store)) throw noSuch('queue', store);
    return queueOf(this.#env, this.#config, store);
  }

  #store(name: StoreName): Store {
    const store = composeStores(this.#config, this.#env).find((each) => each.name === name);
    if (store === undefined) throw noSuch('store', name);
    return store;
  }
}

/** @throws OciError CONFLICT */
function requireNothingLacking(
  store: StoreName,
  { blobs, bytes }: { readonly blobs: number; readonly bytes: number },
): void {
  if (blobs === 0) return;
  throw new OciError('CONFLICT', {
    message: `central lacks ${blobs} blobs (${bytes} bytes) that lie at ${store}, and that a manifest needs or a client was promised`,
    detail: { blobs, bytes },
  });
}

function positionIn(
  last: string | undefined,
): { kind: 'outboxEntry'; after: OutboxEntryPosition | undefined } | { kind: 'blob'; after: string } {
  if (last === undefined) return { kind: 'outboxEntry', after: undefined };
  const parsed = position.safeParse(last);
  if (!parsed.success) {
    throw new OciError('FIELD_INVALID', {
      message: 'last: must be what the page before gave',
      detail: { field: 'last' },
    });
  }
  const after = parsed.data;
  return typeof after === 'string'
    ? { kind: 'blob', after }
    : { kind: 'outboxEntry', after: after as OutboxEntryPosition };
}

/** The last of a page, as JSON: an outbox entry's position, or a blob's digest. */
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
      z.string(),
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
