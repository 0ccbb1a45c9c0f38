/**
 * The Durable Object of a store, near it: a thin shell around {@link Replicator}. A node's moves its pushes up and
 * central's deletions down; central's only passes wake-ups on to the nodes.
 *
 * Requests wake it, and an alarm brings it back for what is left. What it remembers is small (queue-state.ts); were all
 * of it lost, the outbox entries and central's rows would still say what has to be done.
 */
import { DurableObject } from 'cloudflare:workers';
import { MINUTE } from '../durations.ts';
import type { Config } from '../config.ts';
import { parseConfig } from '../config.ts';
import type { StoreName } from '../namespaces/namespace.ts';
import type { Digest } from '../oci/digest.ts';
import type { Reference, RepositoryName } from '../oci/reference.ts';
import { composeStores } from '../registry/compose.ts';
import { announceAll, outboxDepth } from '../stores/outbox-rows.ts';
import type { Store } from '../stores/store.ts';
import { copyImageDown } from './copy-down.ts';
import type { Job } from './machine.ts';
import { type Counter, type Histogram, type Measure, type NamedJob } from './queue-state.ts';
import type { Pair } from './pair.ts';
import { Replicator } from './replicator.ts';
import { SqlQueueState } from './sql-queue-state.ts';

/** How long one run of an alarm goes on; Cloudflare allows 15 minutes. */
const ALARM_MILLISECONDS = 5 * MINUTE;
/** How long a request that wakes the queue is kept. */
const WAKE_MILLISECONDS = 20_000;
/** When the alarm takes over, should a run that was woken by a request break off. */
const SAFETY_MILLISECONDS = 2000;

/** How often metadata that has failed is looked at again while bytes are moved. */
const BESIDE_MILLISECONDS = 1000;

const COUNTERS: readonly Counter[] = [
  'announced',
  'settled',
  'copied_up_bytes',
  'copied_down_bytes',
  'retries',
  'applied',
];
const MEASURES: readonly Measure[] = ['announce_seconds', 'settle_seconds'];

export interface QueueStatus {
  readonly store: StoreName;
  /** Outbox entries that central has not heard of. */
  readonly depth: number;
  /** When the oldest was written, in milliseconds since the epoch. */
  readonly oldest: number | null;
  /** Blobs that are being copied now. */
  readonly inFlight: number;
  /** Blobs that are to be fetched. */
  readonly copiesDown: number;
  readonly parked: number;
  readonly paused: boolean;
  readonly counters: Readonly<Record<Counter, number>>;
  readonly histograms: Readonly<Record<Measure, Histogram>>;
}

export class ReplicationQueue extends DurableObject<Env> {
  readonly #state: SqlQueueState;
  readonly #config: Config;
  readonly #stores: ReadonlyMap<StoreName, Store>;
  readonly #replicators = new Map<StoreName, Replicator>();
  #running: Promise<void> | undefined;
  #next: Promise<void> | undefined;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    this.#state = new SqlQueueState(ctx.storage.sql);
    this.#config = parseConfig(env);
    this.#stores = new Map(composeStores(this.#config, env).map((store) => [store.name, store]));
  }

  /**
   * There is something to do: outbox entries at a node, or change log entries at central. Answers when all metadata
   * that is due has been moved; bytes follow with the alarm.
   */
  async wake(store: StoreName): Promise<void> {
    if (store === this.#config.central.store) return this.#wakeNodes();
    await this.#remember(store);
    const end = Date.now() + WAKE_MILLISECONDS;
    await this.#alarmBy(Date.now() + SAFETY_MILLISECONDS);
    const replicator = this.#replicator(store);
    await this.#moveMetadata(replicator, () => Date.now() < end);
    await this.ctx.storage.setAlarm(Date.now());
  }

  /** Central's change log has grown. */
  async changeLogHasGrown(store: StoreName): Promise<void> {
    this.#replicator(store).expectChangeLog();
    await this.wake(store);
  }

  /** Asks for blobs to be copied into a node's store. */
  async copyBlobsDown(store: StoreName, repository: RepositoryName, digests: readonly Digest[]): Promise<void> {
    await this.#remember(store);
    this.#replicator(store).addCopiesDown(repository, digests);
    await this.ctx.storage.setAlarm(Date.now());
  }

  /** Copies an image's rows into a node's store, and asks for its blobs; undefined where central has no such image. */
  async prefetch(
    store: StoreName,
    repository: RepositoryName,
    reference: Reference,
  ): Promise<{ digest: Digest; blobs: readonly Digest[] } | undefined> {
    const found = await copyImageDown(this.#pair(store), repository, reference);
    if (found !== undefined) await this.copyBlobsDown(store, repository, found.blobs);
    return found;
  }

  override async alarm(): Promise<void> {
    const store = await this.ctx.storage.get<StoreName>('store');
    if (store === undefined) return;
    if (store === this.#config.central.store) return this.#wakeNodes('last');
    const replicator = this.#replicator(store);
    const end = Date.now() + ALARM_MILLISECONDS;
    const mayGoOn = (): boolean => Date.now() < end;
    const bytes = replicator.moveBytes(mayGoOn);
    const outcomes = await Promise.allSettled([this.#metadataBeside(bytes, replicator, mayGoOn), bytes]);
    const next = mayGoOn() ? replicator.nextAlarm() : Date.now();
    if (next !== undefined) await this.#alarmBy(next);
    const failure = outcomes.find((outcome) => outcome.status === 'rejected');
    if (failure !== undefined) throw failure.reason;
  }

  async status(store: StoreName): Promise<QueueStatus> {
    const database = this.#stores.get(store)?.database;
    const { depth, oldest } = database === undefined ? { depth: 0, oldest: null } : await outboxDepth(database);
    const counters = Object.fromEntries(COUNTERS.map((name) => [name, this.#state.counter(name)]));
    const histograms = Object.fromEntries(MEASURES.map((name) => [name, this.#state.histogram(name)]));
    return {
      store,
      depth,
      oldest,
      inFlight: this.#replicators.get(store)?.inFlight ?? 0,
      copiesDown: this.#state.copyDownCount(),
      parked: this.#state.parkedCount(),
      paused: this.#state.paused(),
      counters: counters as Record<Counter, number>,
      histograms: histograms as Record<Measure, Histogram>,
    };
  }

  jobs(ids: readonly string[]): readonly (Job | undefined)[] {
    return ids.map((id) => this.#state.job(id));
  }

  /** Which of the blobs are still to be fetched. */
  copiesDownLeft(repository: RepositoryName, digests: readonly Digest[]): number {
    return this.#state.copiesDownLeft(repository, digests);
  }

  parkedJobs(after: string, limit: number): readonly NamedJob[] {
    return this.#state.parkedJobs(after, limit);
  }

  /** Tries parked work again: one job, or all. Answers how many. */
  async retry(store: StoreName, id: string | undefined): Promise<number> {
    const count = this.#state.retry(id);
    this.#replicator(store).wakeUp();
    await this.wake(store);
    return count;
  }

  /** A paused queue announces and copies nothing; deletions and control data still come down. */
  async setPaused(store: StoreName, paused: boolean): Promise<void> {
    this.#state.setPaused(paused);
    if (paused) return;
    this.#replicator(store).wakeUp();
    await this.wake(store);
  }

  /** Announces everything that a node holds once more: for a central whose database was restored. */
  async announceAll(store: StoreName): Promise<void> {
    await announceAll(this.#pair(store).node.database, Date.now());
    await this.wake(store);
  }

  /** Metadata is moved, and what of it fails is tried again, for as long as bytes are: no alarm can come meanwhile. */
  async #metadataBeside(bytes: Promise<void>, replicator: Replicator, mayGoOn: () => boolean): Promise<void> {
    const work = { left: true };
    const done = bytes.catch(() => undefined).then(() => (work.left = false));
    await this.#moveMetadata(replicator, mayGoOn);
    while (work.left && mayGoOn()) {
      await Promise.race([done, new Promise((wake) => setTimeout(wake, BESIDE_MILLISECONDS))]);
      if (work.left && (replicator.nextRetry() ?? Infinity) <= Date.now())
        await this.#moveMetadata(replicator, mayGoOn);
    }
  }

  /** One run at a time; who comes meanwhile waits for the next, which sees what they came for. */
  #moveMetadata(replicator: Replicator, mayGoOn: () => boolean): Promise<void> {
    if (this.#running === undefined) {
      this.#running = replicator.moveMetadata(mayGoOn).finally(() => (this.#running = undefined));
      return this.#running;
    }
    this.#next ??= this.#running
      .catch(() => undefined)
      .then(() => {
        this.#next = undefined;
        return this.#moveMetadata(replicator, mayGoOn);
      });
    return this.#next;
  }

  /** Follows for each node; one that cannot be woken is tried once more by the alarm, then left to the cron trigger. */
  async #wakeNodes(attempt: 'first' | 'last' = 'first'): Promise<void> {
    const { central, nodes } = this.#config;
    const stores = new Set(nodes.map(({ store }) => store));
    const outcomes = await Promise.allSettled(
      [...stores].map((store) => queueOf(this.env, this.#config, store).changeLogHasGrown(store)),
    );
    if (attempt === 'last' || outcomes.every(({ status }) => status === 'fulfilled')) return;
    await this.#remember(central.store);
    await this.#alarmBy(Date.now() + SAFETY_MILLISECONDS);
  }

  async #alarmBy(time: number): Promise<void> {
    const current = await this.ctx.storage.getAlarm();
    if (current === null || current > time) await this.ctx.storage.setAlarm(time);
  }

  /** An alarm does not say for which store it is. */
  async #remember(store: StoreName): Promise<void> {
    if ((await this.ctx.storage.get('store')) !== store) await this.ctx.storage.put('store', store);
  }

  #replicator(store: StoreName): Replicator {
    const known = this.#replicators.get(store);
    if (known !== undefined) return known;
    const replicator = new Replicator({
      ...this.#pair(store),
      state: this.#state,
      storeOf: (name) => this.#stores.get(name),
      random: Math.random,
    });
    this.#replicators.set(store, replicator);
    return replicator;
  }

  #pair(store: StoreName): Pair {
    const { central, graceMilliseconds, limits } = this.#config;
    const [node, above] = [this.#stores.get(store), this.#stores.get(central.store)];
    if (node === undefined || above === undefined || node === above)
      throw new Error(`${store} is not the store of a node`);
    return { node, central: above, now: () => Date.now(), graceMilliseconds, limits };
  }
}

/** The Durable Object of a store; at its first use it is put near the store. */
export function queueOf(env: object, config: Config, store: StoreName): DurableObjectStub<ReplicationQueue> {
  const { REPLICATION_QUEUE: queues } = env as { REPLICATION_QUEUE: DurableObjectNamespace<ReplicationQueue> };
  const region = config.nodes.find((node) => node.store === store)?.region as DurableObjectLocationHint | undefined;
  return queues.get(queues.idFromName(store), region === undefined ? {} : { locationHint: region });
}
