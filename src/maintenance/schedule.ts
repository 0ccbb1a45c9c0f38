/** A run of maintenance: what the cron trigger starts once a minute, and keeps short whatever has piled up. */
import type { Config } from '../config.ts';
import { logFailure } from '../log.ts';
import { composeStores } from '../registry/compose.ts';
import { queueOf } from '../replication/durable-object.ts';
import { copyUpJob } from '../replication/machine.ts';
import type { Store } from '../stores/store.ts';
import { type MaintenanceContext, openContext } from './context.ts';
import { type Counts, runLane } from './round.ts';
import { type Pass, PASSES } from './tasks.ts';

/** How long a pass goes on with what can wait for the next run, in milliseconds. */
const PASS_MILLISECONDS = 20_000;

/** By how much clocks are set back in normal operation, in milliseconds. */
const SMALL_STEP = 1000;

/**
 * After a slice, a store is left to pushes and pulls for so many times as long as the slice took: D1 answers one query
 * after the other. At most for a second, whatever the slice waited for.
 */
const REST_TIMES = 5;
const LONGEST_BACKOFF = 1000;

/** @param now milliseconds since the epoch */
export async function maintain(
  config: Config,
  env: object,
  now: number,
): Promise<{ expiredUploads: number; changeLogEntries: number; auditEntries: number }> {
  const counts: Counts = new Map();
  const context = contextOf(config, env, now);
  for (const pass of PASSES) if (config.collects || pass.collects !== true) await runPass(context, pass, counts);
  return {
    expiredUploads: counts.get('removed_uploads') ?? 0,
    changeLogEntries: counts.get('removed_changes') ?? 0,
    auditEntries: counts.get('removed_audit_entries') ?? 0,
  };
}

async function runPass(context: MaintenanceContext, pass: Pass, counts: Counts): Promise<void> {
  const { milliseconds = PASS_MILLISECONDS, slices = Infinity } = pass;
  const began = context.now();
  let begun = 0;
  const mayGoOn = (): boolean => context.mayGoOn() && context.now() - began < milliseconds && begun++ < slices;
  await Promise.all(pass.lanes.map((lane) => runLane({ ...context, mayGoOn }, lane, counts)));
}

/** @param now when the run began, by the clock that it was given */
export function contextOf(config: Config, env: object, now: number): MaintenanceContext {
  const stores = composeStores(config, env);
  const isCentral = ({ name }: Store): boolean => name === config.central.store;
  const central = stores.find(isCentral);
  if (central === undefined) throw new Error(`${config.central.store} is not among the stores`);
  const clock = new RunClock();
  return openContext({
    ...config,
    central,
    nodes: stores.filter((store) => !isCentral(store)),
    now: () => now + clock.elapsed(),
    mayGoOn: () => !clock.isSetBack(),
    rest: (worked) => scheduler.wait(Math.min(worked * REST_TIMES, LONGEST_BACKOFF)),
    repaired: async (store, digest) => {
      if (store === central.name) return;
      // One that is not reached leaves the copy parked, which the queue's metrics show.
      await Promise.resolve(queueOf(env, config, store).retry(store, copyUpJob(digest))).catch((error: unknown) => {
        logFailure({ queue: store, failed: 'retry', error: String(error) });
      });
    },
  });
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
  isSetBack(): boolean {
    this.elapsed();
    return this.#isSetBack;
  }
}
