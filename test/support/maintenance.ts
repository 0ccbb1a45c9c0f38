/** Runs single maintenance tasks at their stores, until the round ends, something stops it, or time runs out. */
import { env } from 'cloudflare:workers';
import { parseConfig, type EvictionLimits } from '../../src/config.ts';
import { collectCentral as collectCentralTask } from '../../src/maintenance/collection/central.ts';
import { deleteObjects as deleteObjectsTask } from '../../src/maintenance/collection/delete-objects.ts';
import { collectNode as collectNodeTask } from '../../src/maintenance/collection/node.ts';
import { tombstones } from '../../src/maintenance/collection/tombstones.ts';
import { changeLog } from '../../src/maintenance/change-log.ts';
import { type MaintenanceContext, openContext } from '../../src/maintenance/context.ts';
import { evict as evictTask } from '../../src/maintenance/eviction/evict.ts';
import { expiredUploads } from '../../src/maintenance/expired-uploads.ts';
import { histories } from '../../src/maintenance/histories.ts';
import { HashingAllowance } from '../../src/maintenance/integrity/hashing-allowance.ts';
import { PART_BYTES } from '../../src/maintenance/integrity/read-part.ts';
import { comparison } from '../../src/maintenance/integrity/compare-objects.ts';
import { repair as repairTask, wanted } from '../../src/maintenance/integrity/repair-rounds.ts';
import { scrub as scrubTask } from '../../src/maintenance/integrity/scrub.ts';
import { goRound, type Task } from '../../src/maintenance/round.ts';
import { sweep as sweepTask } from '../../src/maintenance/sweep.ts';
import type { Store } from '../../src/stores/store.ts';
import { GRACE } from './fixture.ts';

const STOPPED_AT = Date.UTC(2026, 0, 2, 3, 4, 5);

/** A collection whose last slice, at 03:04:05 on 2 January 2026, was stopped. */
export const STOPPED_TASK = {
  task: 'collect',
  position: 'sha256:1',
  round_started_at: STOPPED_AT - 1000,
  round_ended_at: null,
  last_slice_at: STOPPED_AT,
  next_at: STOPPED_AT + 60_000,
  slices: 3,
  stopped: 'node2 does not answer',
};

type Parts = Parameters<typeof openContext>[0];

/** Opens a run without a time limit or pauses, with the settings of the test's configuration. */
export function openRun(
  stores: Pick<Parts, 'central' | 'nodes' | 'now'>,
  changes: Partial<Parts> = {},
): MaintenanceContext {
  return openContext({
    ...parseConfig(env),
    graceMilliseconds: GRACE,
    hashing: new HashingAllowance(PART_BYTES, Infinity),
    mayGoOn: () => true,
    pause: () => Promise.resolve(),
    repaired: () => Promise.resolve(),
    ...stores,
    ...changes,
  });
}

const at =
  (task: Task) =>
  (context: MaintenanceContext, store: Store): Promise<void> =>
    goRound(context, task, store);
const atCentral =
  (...tasks: readonly Task[]) =>
  async (context: MaintenanceContext): Promise<void> => {
    for (const task of tasks) await goRound(context, task, context.central);
  };

export const collectCentral = atCentral(collectCentralTask, deleteObjectsTask);
export const deleteObjects = at(deleteObjectsTask);
export const findWanted = atCentral(wanted);
export const removeAppliedChanges = atCentral(changeLog);
export const removeExpired = at(expiredUploads);
export const removeOldHistories = at(histories);
export const sweep = at(sweepTask);

export async function collectNode(context: MaintenanceContext, node: Store): Promise<void> {
  await goRound(context, collectNodeTask, node);
  await goRound(context, deleteObjectsTask, node);
}

/** Runs the task at central first, then at all nodes. A node that is away does not delay the others. */
export async function collectTombstones(context: MaintenanceContext): Promise<void> {
  await goRound(context, tombstones, context.central);
  const rounds = context.nodes.map((node) => goRound(context, tombstones, node));
  await Promise.allSettled(rounds);
  await Promise.all(rounds);
}

export async function evict(context: MaintenanceContext, node: Store, limits: EvictionLimits): Promise<void> {
  await goRound({ ...context, evictionLimits: new Map([[node.name, limits]]) }, evictTask, node);
  await goRound(context, deleteObjectsTask, node);
}

export function compareObjects(context: MaintenanceContext, store: Store, orphanMilliseconds: number): Promise<void> {
  return goRound({ ...context, orphanMilliseconds }, comparison, store);
}

export function repair(context: MaintenanceContext, store: Store, repaired = context.repaired): Promise<void> {
  return goRound({ ...context, repaired }, repairTask, store);
}

export function scrub(context: MaintenanceContext, store: Store, scrubBytesPerDay: number): Promise<void> {
  return goRound({ ...context, scrubBytesPerDay }, scrubTask, store);
}
