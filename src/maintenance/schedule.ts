/**
 * Runs of maintenance. A cron trigger starts one each minute, which stays short however much work has piled up. Another
 * starts the scrub each hour.
 */
import type { Config } from '../config.ts';
import { HOUR, MINUTE } from '../durations.ts';
import { logFailure } from '../log.ts';
import { composeMeteredStores } from '../registry/compose.ts';
import { queueOf } from '../replication/durable-object.ts';
import { copyUpJob } from '../replication/machine.ts';
import { StatementMeter } from '../stores/statement-meter.ts';
import type { Store } from '../stores/store.ts';
import { type MaintenanceContext, openContext } from './context.ts';
import { HashingAllowance } from './integrity/hashing-allowance.ts';
import { PART_BYTES } from './integrity/read-part.ts';
import { type Counts, runLane } from './round.ts';
import { RunClock } from './run-clock.ts';
import { EVERY_MINUTE, HOURLY, MOST_STATEMENTS, type Pass } from './tasks.ts';

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
 * Nodes that one run looks after, besides central. With more, they take turns, since a node costs some 18 statements
 * even if there is nothing to do.
 */
const NODES_PER_RUN = 16;

/** A pass begins no slice when fewer of its statements are left, so that the slices under way can end. */
const LEFT_TO_SLICES = 40;

/**
 * Runs the maintenance of a minute, and returns how much some tasks removed.
 * @param now milliseconds since the epoch
 */
export async function maintain(
  config: Config,
  env: object,
  now: number,
): Promise<{ expiredUploads: number; changeLogEntries: number; auditEntries: number; statements: number }> {
  const passes = EVERY_MINUTE.filter(({ collects }) => config.collects || collects !== true);
  const { counts, statements } = await run(config, env, now, passes, storesOfMinute);
  return {
    expiredUploads: counts.get('removed_uploads') ?? 0,
    changeLogEntries: counts.get('removed_changes') ?? 0,
    auditEntries: counts.get('removed_audit_entries') ?? 0,
    statements,
  };
}

/**
 * Runs the scrub of an hour, and returns how much it read.
 * @param now milliseconds since the epoch
 */
export async function scrubStores(
  config: Config,
  env: object,
  now: number,
): Promise<{ objects: number; bytes: number; statements: number }> {
  const { counts, statements } = await run(config, env, now, HOURLY, ({ central, nodes }) =>
    rotated([central, ...nodes], Math.floor(now / HOUR)),
  );
  return { objects: counts.get('scrubbed_objects') ?? 0, bytes: counts.get('scrubbed_bytes') ?? 0, statements };
}

async function run(
  config: Config,
  env: object,
  now: number,
  passes: readonly Pass[],
  storesOf: (context: MaintenanceContext) => readonly Store[],
): Promise<{ readonly counts: Counts; readonly statements: number }> {
  const counts: Counts = new Map();
  const meter = new StatementMeter();
  const clock = new RunClock(now);
  const context = contextOf(config, env, clock, meter);
  const stores = storesOf(context);
  let kept = passes.reduce((sum, { statements }) => sum + statements, 0);
  for (const pass of passes) {
    kept -= pass.statements;
    meter.allow(MOST_STATEMENTS - kept);
    clock.beginPass();
    await runPass(context, pass, stores, meter, counts);
  }
  return { counts, statements: meter.counted };
}

async function runPass(
  context: MaintenanceContext,
  { lanes, milliseconds = PASS_MILLISECONDS }: Pass,
  stores: readonly Store[],
  meter: StatementMeter,
  counts: Counts,
): Promise<void> {
  const began = context.now();
  const mayGoOn = (): boolean =>
    context.mayGoOn() && context.now() - began < milliseconds && meter.left >= LEFT_TO_SLICES;
  await Promise.all(lanes.map((lane) => runLane({ ...context, mayGoOn }, lane, stores, counts)));
}

/** Returns the stores of a minute's run, a different one first each minute. */
function storesOfMinute({ central, nodes, now }: MaintenanceContext): Store[] {
  const minute = Math.floor(now() / MINUTE);
  const groups = Math.max(1, Math.ceil(nodes.length / NODES_PER_RUN));
  const group = nodes.filter((_, i) => i % groups === minute % groups);
  return rotated([central, ...group], Math.floor(minute / groups));
}

function rotated<Item>(items: readonly Item[], by: number): Item[] {
  const first = by % items.length;
  return [...items.slice(first), ...items.slice(0, first)];
}

/**
 * Opens the stores of a run.
 * @param meter counts the run's statements
 */
export function contextOf(
  config: Config,
  env: object,
  clock: RunClock,
  meter: StatementMeter = new StatementMeter(),
): MaintenanceContext {
  const stores = composeMeteredStores(config, env, meter);
  const isCentral = ({ name }: Store): boolean => name === config.central.store;
  const central = stores.find(isCentral);
  if (central === undefined) throw new Error(`${config.central.store} is not among the stores`);
  return openContext({
    ...config,
    central,
    nodes: stores.filter((store) => !isCentral(store)),
    hashing: new HashingAllowance(PART_BYTES),
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
