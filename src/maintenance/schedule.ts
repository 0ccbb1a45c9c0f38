/** A run of maintenance. The cron trigger starts one each minute; a run stays short however much work has piled up. */
import type { Config } from '../config.ts';
import { logFailure } from '../log.ts';
import { composeStores } from '../registry/compose.ts';
import { queueOf } from '../replication/durable-object.ts';
import { copyUpJob } from '../replication/machine.ts';
import { type MaintenanceContext, openContext } from './context.ts';
import { type Counts, runLane } from './round.ts';
import { RunClock } from './run-clock.ts';
import { type Pass, PASSES } from './tasks.ts';

/** Milliseconds after which a pass begins no further slice, unless the pass says otherwise. */
const PASS_MILLISECONDS = 20_000;

/**
 * After a slice, a task pauses for this many times as long as the slice took, so that the store can serve pushes and
 * pulls: D1 answers one query at a time.
 */
const PAUSE_FACTOR = 5;
/** The longest pause, in milliseconds, however long the slice took. */
const LONGEST_PAUSE = 1000;

/**
 * Runs all passes of maintenance, and returns how much some of them removed.
 * @param now milliseconds since the epoch
 */
export async function maintain(
  config: Config,
  env: object,
  now: number,
): Promise<{ expiredUploads: number; changeLogEntries: number; auditEntries: number }> {
  const counts: Counts = new Map();
  const clock = new RunClock(now);
  const context = contextOf(config, env, clock);
  for (const pass of PASSES) {
    if (!config.collects && pass.collects === true) continue;
    clock.beginPass();
    await runPass(context, pass, counts);
  }
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

/** Opens the stores of a run. */
function contextOf(config: Config, env: object, clock: RunClock): MaintenanceContext {
  const [central, ...nodes] = composeStores(config, env);
  return openContext({
    ...config,
    central,
    nodes,
    now: () => clock.now(),
    mayGoOn: () => !clock.isSetBack(),
    pause: (worked) => scheduler.wait(Math.min(worked * PAUSE_FACTOR, LONGEST_PAUSE)),
    repaired: async (store, digest) => {
      if (store === central.name) return;
      // If the queue cannot be reached, the copy stays parked, which the queue's metrics show.
      await Promise.resolve(queueOf(env, config, store).retry(store, copyUpJob(digest))).catch((error: unknown) => {
        logFailure({ queue: store, failed: 'retry', error: String(error) });
      });
    },
  });
}
