/**
 * The Durable Object of a store, placed near it: a thin shell around {@link Replicator}. A node's queue moves its
 * pushes up and central's deletions down. Central's queue only passes wake-ups on to the nodes.
 *
 * Requests wake it, and an alarm wakes it again for work that is left. It remembers little (`queue-state.ts`). If it
 * lost all of that, the outbox entries and central's rows would still tell what has to be done.
 */
import { DurableObject } from 'cloudflare:workers';
import { MINUTE } from '../durations.ts';
import type { Config } from '../config.ts';
import { parseConfig } from '../config.ts';
import type { StoreName } from '../namespaces/namespace.ts';
import type { Digest } from '../oci/digest.ts';
import { organizationOf, type Reference, type RepositoryName } from '../oci/reference.ts';
import { countedBytes } from '../maintenance/eviction/stored-bytes-rows.ts';
import { composeMeteredStores } from '../registry/compose.ts';
import { announceAll, outboxDepth } from '../stores/outbox-rows.ts';
import { StatementMeter } from '../stores/statement-meter.ts';
import type { Store } from '../stores/store.ts';
import type { Turns } from './bytes-lane.ts';
import { type CopiedImage, copyImageDown } from './copy-down.ts';
import type { Job } from './machine.ts';
import type { Counter, Histogram, HourFigures, Measure, NamedJob } from './queue-state.ts';
import type { Pair } from './pair.ts';
import { Prefetches } from './prefetches.ts';
import { Replicator } from './replicator.ts';
import { SqlQueueState } from './sql-queue-state.ts';

/** The longest that one run of the alarm lasts. Cloudflare allows 15 minutes. */
const ALARM_MILLISECONDS = 5 * MINUTE;
/** The longest that a request which wakes the queue may work on it. */
const WAKE_MILLISECONDS = 20_000;
/**
 * The time from a request to the alarm. The alarm moves the bytes of the images that the request has announced, and
 * takes over if the request's run is interrupted. One alarm does both, because setting an alarm costs a written row.
 */
const ALARM_AFTER_MILLISECONDS = 100;
/** The time after which central's queue tries again to wake the nodes' queues. */
const WAKE_AGAIN_MILLISECONDS = 2000;

/** The time between checks for failed metadata jobs that are due again, while bytes are copied. */
const METADATA_RETRY_MILLISECONDS = 1000;

const COUNTERS: readonly Counter[] = [
  'announced',
  'manifests',
  'settled',
  'copied_up_bytes',
  'copied_down_bytes',
  'retries',
  'applied',
  'deletions',
];
const MEASURES: readonly Measure[] = ['announce_seconds', 'settle_seconds'];

export interface QueueStatus {
  readonly store: StoreName;
  /** The number of outbox entries that have yet to be announced. */
  readonly depth: number;
  /** When the oldest outbox entry was written, in milliseconds since the epoch. */
  readonly oldest: number | null;
  /** The number of blobs that are being copied now. */
  readonly inFlight: number;
  /** The number of blobs that are waiting to be copied down. */
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
  /** Counts the statements of all that runs in this object. */
  readonly #meter = new StatementMeter();
  readonly #prefetches = new Prefetches();
  /** While this is true, the running alarm does the work that a request leaves, and no other alarm is set. */
  #alarmRuns = false;
  #running: Promise<void> | undefined;
  #next: Promise<void> | undefined;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    this.#state = new SqlQueueState(ctx.storage.sql);
    this.#config = parseConfig(env);
    this.#stores = new Map(composeMeteredStores(this.#config, env, this.#meter).map((store) => [store.name, store]));
  }

  /**
   * Wakes the queue because there are new outbox entries at a node, or new change log entries at central. Resolves when
   * all metadata that is due has been moved; the alarm then moves the bytes.
   */
  async wake(store: StoreName): Promise<void> {
    if (store === this.#config.central.store) return this.#wakeNodes();
    await this.#remember(store);
    const mayGoOn = this.#meter.share(WAKE_MILLISECONDS);
    const replicator = this.#replicator(store);
    if (!this.#alarmRuns) await this.#alarmBy(Date.now() + ALARM_AFTER_MILLISECONDS);
    await this.#moveMetadata(replicator, mayGoOn);
    // The alarm may have ended before this had announced everything.
    const next = replicator.nextAlarm();
    if (next !== undefined && !this.#alarmRuns && (await this.ctx.storage.getAlarm()) === null)
      await this.ctx.storage.setAlarm(next);
  }

  /** Tells a node's queue that central's change log has grown. */
  async changeLogHasGrown(store: StoreName): Promise<void> {
    this.#replicator(store).expectChangeLog();
    await this.wake(store);
  }

  /** Wakes a node's queue for the cron trigger. Once in each hour with activity, notes how much the store holds. */
  async everyMinute(store: StoreName): Promise<void> {
    await this.changeLogHasGrown(store);
    if (this.#state.lacksHeld) this.#state.noteHeld(await countedBytes(this.#pair(store).node));
  }

  /** Asks for blobs to be copied into a node's store. Returns those for which its list has room. */
  async copyBlobsDown(
    store: StoreName,
    repository: RepositoryName,
    digests: readonly Digest[],
  ): Promise<readonly Digest[]> {
    await this.#remember(store);
    const added = this.#replicator(store).addCopiesDown(repository, digests);
    await this.ctx.storage.setAlarm(Date.now());
    return added;
  }

  /**
   * Copies an image's rows down into a node's store, and asks for its blobs to be copied.
   * @returns `unknown` if central does not have the image; `too many` if the organization has to wait for earlier ones
   */
  prefetch(
    store: StoreName,
    repository: RepositoryName,
    reference: Reference,
  ): Promise<CopiedImage | 'unknown' | 'too many'> {
    return this.#prefetches.run(organizationOf(repository), async () => {
      const found = await copyImageDown(this.#pair(store), repository, reference);
      if (found === undefined) return 'unknown';
      const blobs = await this.copyBlobsDown(store, repository, found.blobs);
      return { ...found, blobs, isComplete: found.isComplete && blobs.length === found.blobs.length };
    });
  }

  override async alarm(): Promise<void> {
    const store = await this.ctx.storage.get<StoreName>('store');
    if (store === undefined) return;
    if (store === this.#config.central.store) return this.#wakeNodes('last');
    const replicator = this.#replicator(store);
    const mayGoOn = this.#meter.share(ALARM_MILLISECONDS);
    this.#alarmRuns = true;
    try {
      // A request may announce more while this runs. Going on costs less than another alarm.
      do await this.#moveAll(replicator, mayGoOn);
      while (mayGoOn() && (replicator.nextAlarm() ?? Infinity) <= Date.now());
    } finally {
      this.#alarmRuns = false;
      const next = mayGoOn() ? replicator.nextAlarm() : Date.now();
      if (next !== undefined) await this.#alarmBy(next);
      this.#state.saveFigures();
    }
  }

  async status(store: StoreName): Promise<QueueStatus> {
    const database = this.#stores.get(store)?.database;
    const { depth, oldest } = database === undefined ? { depth: 0, oldest: null } : await outboxDepth(database);
    this.#state.saveFigures();
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

  /** Returns the hours with figures among the last `count`, the current one included, oldest first. */
  hours(count: number): readonly HourFigures[] {
    return this.#state.hours(count);
  }

  /** Returns the copies under way, and whose turn is next; none if this object has copied nothing yet. */
  turns(store: StoreName): Turns {
    return this.#replicators.get(store)?.turns ?? { copying: [], waiting: [] };
  }

  jobs(ids: readonly string[]): readonly (Job | undefined)[] {
    return ids.map((id) => this.#state.job(id));
  }

  /** Counts those of the blobs that still have to be copied down. */
  copiesDownLeft(repository: RepositoryName, digests: readonly Digest[]): number {
    return this.#state.copiesDownLeft(repository, digests);
  }

  parkedJobs(after: string, limit: number): readonly NamedJob[] {
    return this.#state.parkedJobs(after, limit);
  }

  /** Makes a job due at once, or all parked jobs if `id` is undefined. Returns how many. */
  async retry(store: StoreName, id: string | undefined): Promise<number> {
    const count = this.#state.retry(id);
    this.#replicator(store).wakeUp();
    await this.wake(store);
    return count;
  }

  /** Pauses or resumes the queue. A paused queue announces nothing and copies nothing up, but still applies changes. */
  async setPaused(store: StoreName, paused: boolean): Promise<void> {
    this.#state.setPaused(paused);
    if (paused) return;
    this.#replicator(store).wakeUp();
    await this.wake(store);
  }

  /** Announces again everything that a node holds, after central's database was restored. */
  async announceAll(store: StoreName): Promise<void> {
    await announceAll(this.#pair(store).node.database, Date.now());
    await this.wake(store);
  }

  /** Moves bytes, and metadata beside them, until nothing is due. If one fails, the other goes on. */
  async #moveAll(replicator: Replicator, mayGoOn: () => boolean): Promise<void> {
    const bytes = replicator.moveBytes(mayGoOn);
    const outcomes = await Promise.allSettled([this.#metadataBeside(bytes, replicator, mayGoOn), bytes]);
    const failure = outcomes.find((outcome) => outcome.status === 'rejected');
    if (failure !== undefined) throw failure.reason;
  }

  /** Moves metadata and retries what fails for as long as bytes move, because no second alarm can fire meanwhile. */
  async #metadataBeside(bytes: Promise<void>, replicator: Replicator, mayGoOn: () => boolean): Promise<void> {
    const work = { left: true };
    const done = bytes.catch(() => undefined).then(() => (work.left = false));
    await this.#moveMetadata(replicator, mayGoOn);
    while (work.left && mayGoOn()) {
      const { promise, resolve } = Promise.withResolvers<void>();
      const timer = setTimeout(resolve, METADATA_RETRY_MILLISECONDS);
      await Promise.race([done, promise]);
      // A timer that is left would keep the Durable Object in memory, which costs duration.
      clearTimeout(timer);
      if (work.left && (replicator.nextRetry() ?? Infinity) <= Date.now())
        await this.#moveMetadata(replicator, mayGoOn);
    }
  }

  /** Runs the metadata lane, one run at a time. A call during a run waits for the next run, which sees its work. */
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

  /** Wakes every node's queue. If one cannot be woken, the alarm tries once more; after that, the cron trigger does. */
  async #wakeNodes(attempt: 'first' | 'last' = 'first'): Promise<void> {
    const { central, nodes } = this.#config;
    const stores = new Set(nodes.map(({ store }) => store));
    const outcomes = await Promise.allSettled(
      [...stores].map((store) => queueOf(this.env, this.#config, store).changeLogHasGrown(store)),
    );
    if (attempt === 'last' || outcomes.every(({ status }) => status === 'fulfilled')) return;
    await this.#remember(central.store);
    await this.#alarmBy(Date.now() + WAKE_AGAIN_MILLISECONDS);
  }

  async #alarmBy(time: number): Promise<void> {
    const current = await this.ctx.storage.getAlarm();
    if (current === null || current > time) await this.ctx.storage.setAlarm(time);
  }

  /** Remembers the queue's store, because an alarm does not say which store it is for. */
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

/** Returns the Durable Object of a store. Its first use places it near the store. */
export function queueOf(env: object, config: Config, store: StoreName): DurableObjectStub<ReplicationQueue> {
  const { REPLICATION_QUEUE: queues } = env as { REPLICATION_QUEUE: DurableObjectNamespace<ReplicationQueue> };
  const region = config.nodes.find((node) => node.store === store)?.region as DurableObjectLocationHint | undefined;
  return queues.get(queues.idFromName(store), region === undefined ? {} : { locationHint: region });
}
