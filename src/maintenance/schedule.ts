/** What the cron trigger does once a minute: in slices, so that a run stays short whatever has piled up. */
import type { Config } from '../config.ts';
import { logFailure } from '../log.ts';
import { composeStores } from '../registry/compose.ts';
import { queueOf } from '../replication/durable-object.ts';
import { copyJob } from '../replication/machine.ts';
import { deleteOldAudit } from '../stores/organizations/audit-rows.ts';
import { removeExpiredUploads } from '../stores/uploads/expired-uploads.ts';
import { deleteFollowedEntries } from '../stores/change-log-rows.ts';
import type { Store } from '../stores/store.ts';
import { collectCentral } from './collection/central.ts';
import { collectNode } from './collection/node.ts';
import { compareObjects } from './integrity/compare-objects.ts';
import type { GcContext } from './context.ts';
import { evict } from './eviction/evict.ts';
import { removeOldHistories } from './histories.ts';
import { findWanted, type Mended, repair } from './integrity/repair-rounds.ts';
import { scrub } from './integrity/scrub.ts';
import { sweep } from './sweep.ts';
import { MINUTE } from './slices.ts';
import { collectTombstones } from './collection/tombstones.ts';

const FEED_ENTRIES_PER_RUN = 10_000;
const AUDIT_ENTRIES_PER_RUN = 10_000;

/** How long a run goes on with what can wait for the next, in milliseconds: so long for rows, and so long for objects. */
const RUN_MILLISECONDS = 20_000;

/** How long a run sweeps, in milliseconds. */
const SWEEP_MILLISECONDS = 10_000;
/** By how much clocks are set back in normal operation, in milliseconds. */
const SMALL_STEP = 1000;

/**
 * Of collection and eviction, all stores together: few enough to leave most of what an invocation may ask of bindings, 10,000
 * times (Workers, "Limits": subrequests), to what comes after. A slice asks 50 times at most, and mostly 3.
 */
const SLICES_PER_RUN = 200;

/** Likewise, of the removal of old histories: a slice asks four times. */
const HISTORY_SLICES_PER_RUN = 100;

/**
 * After a slice, a store is left to pushes and pulls for so many times as long as the slice took: D1 answers one query after
 * the other. At most for a second, whatever the slice waited for.
 */
const REST_TIMES = 5;
const LONGEST_REST = 1000;

/**
 * Removes expired upload sessions of every store, feed entries that every node has applied, and what tags keep no more of
 * their histories; then collects, evicts, and looks after what lies in the buckets. A store that does not answer keeps none of the others waiting. Where the
 * configuration does not collect, no object goes.
 * @param now milliseconds since the epoch
 */
export async function maintain(
  config: Config,
  env: object,
  now: number,
): Promise<{ expiredUploads: number; feedEntries: number; auditEntries: number }> {
  const stores = composeStores(config, env);
  const central = stores.find(({ name }) => name === config.central.store);
  const expiredUploads = await sumOf(stores.map((store) => removeExpiredUploads(store, now, config.collects)));
  const feedEntries = await sumOf(
    central === undefined
      ? []
      : [
          deleteFollowedEntries(
            central.database,
            [...new Set(config.nodes.map(({ store }) => store))],
            now - config.graceMilliseconds,
            FEED_ENTRIES_PER_RUN,
          ),
        ],
  );
  const auditEntries = await sumOf(
    stores.map(({ database }) => deleteOldAudit(database, now - config.auditMilliseconds, AUDIT_ENTRIES_PER_RUN)),
  );
  if (central !== undefined) {
    const began = Date.now();
    const sweeping = { ...contextOf(config, central, stores, now), mayGoOn: () => Date.now() - began < SWEEP_MILLISECONDS };
    await sumOf(stores.map((store) => nothing(sweep(sweeping, store))));
    await removeHistories(config, contextOf(config, central, stores, now));
    if (config.collects) await collect(config, contextOf(config, central, stores, now));
    await lookAfterObjects(config, env, contextOf(config, central, stores, now));
  }
  return { expiredUploads, feedEntries, auditEntries };
}

/** @param now when the run began, by the clock that it was given */
export function contextOf(config: Config, central: Store, stores: readonly Store[], now: number): GcContext {
  const clock = new RunClock();
  return {
    central,
    nodes: stores.filter((store) => store !== central),
    now: () => now + clock.elapsed(),
    graceMilliseconds: config.graceMilliseconds,
    mayGoOn: () => clock.elapsed() < RUN_MILLISECONDS && !clock.isSetBack,
    rest: (worked) => scheduler.wait(Math.min(worked * REST_TIMES, LONGEST_REST)),
  };
}

/** The time of a run. It never goes back: what a run writes down of its past must not lie ahead. */
class RunClock {
  readonly #began = Date.now();
  #latest = this.#began;
  #isSetBack = false;

  /** Milliseconds since the run began. */
  elapsed(): number {
    const at = Date.now();
    if (at < this.#latest - SMALL_STEP) this.#isSetBack = true;
    this.#latest = Math.max(this.#latest, at);
    return this.#latest - this.#began;
  }

  /** Whether the machine's clock was set back during the run: then nobody knows how long that has lasted. */
  get isSetBack(): boolean {
    return this.#isSetBack;
  }
}

async function removeHistories(config: Config, whole: GcContext): Promise<void> {
  let slices = 0;
  const context = { ...whole, mayGoOn: () => whole.mayGoOn() && slices++ < HISTORY_SLICES_PER_RUN };
  const kept = () => ({ entries: config.limits.historyEntries, since: context.now() - config.historyMilliseconds });
  await sumOf([context.central, ...context.nodes].map((store) => nothing(removeOldHistories(context, store, kept))));
}

async function collect(config: Config, whole: GcContext): Promise<void> {
  const began = whole.now();
  let slices = 0;
  const context = { ...whole, mayGoOn: () => whole.mayGoOn() && slices++ < SLICES_PER_RUN };
  // What eviction leaves of the time is for the rest.
  const half = { ...context, mayGoOn: () => context.now() - began < RUN_MILLISECONDS / 2 && context.mayGoOn() };
  await sumOf([
    nothing(collectCentral(context)),
    nothing(collectTombstones(context)),
    ...context.nodes.map(async (node) => {
      const limits = config.evictionLimits.get(node.name);
      if (limits !== undefined) await sumOf([nothing(evict(half, node, limits))]);
      return nothing(collectNode(context, node));
    }),
  ]);
}

async function nothing(work: Promise<void>): Promise<number> {
  await work;
  return 0;
}

async function lookAfterObjects(config: Config, env: object, context: GcContext): Promise<void> {
  const retryCopy: Mended = async (store, digest) => {
    if (store === context.central.name) return;
    // One that is not reached leaves the copy parked, which the queue's metrics show.
    await Promise.resolve(queueOf(env, config, store).retry(store, copyJob(digest))).catch((error: unknown) => {
      logFailure({ queue: store, failed: 'retry', error: String(error) });
    });
  };
  const stores = [context.central, ...context.nodes];
  await sumOf([
    nothing(compareInTurn(context, stores, config)),
    ...stores.map((store) => nothing(lookAfterStore(context, store, config, retryCopy))),
  ]);
}

/** What is damaged is mended before anything else is looked for. */
async function lookAfterStore(context: GcContext, store: Store, config: Config, mended: Mended): Promise<void> {
  await repair(context, store, mended);
  await scrub(context, store, config.scrubBytesPerDay);
  await repair(context, store, mended);
}

/**
 * One store after the other, since a comparison holds many keys in memory (invariant 8); each minute another is the first, so
 * that each has its turn however little time there is. What is found is mended in the next run.
 */
async function compareInTurn(context: GcContext, stores: readonly Store[], config: Config): Promise<void> {
  const orphanMilliseconds = config.collects ? config.orphanMilliseconds : Infinity;
  const first = Math.floor(context.now() / MINUTE) % stores.length;
  for (const store of [...stores.slice(first), ...stores.slice(0, first)]) {
    await sumOf([nothing(compareObjects(context, store, orphanMilliseconds))]);
    if (store === context.central) await sumOf([nothing(findWanted(context))]);
  }
}

async function sumOf(work: readonly Promise<number>[]): Promise<number> {
  const runs = await Promise.allSettled(work);
  for (const run of runs) if (run.status === 'rejected') logFailure({ maintenance: String(run.reason) });
  return runs.reduce((sum, run) => sum + (run.status === 'fulfilled' ? run.value : 0), 0);
}
