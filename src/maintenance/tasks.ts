/** The list of the tasks of maintenance, in the order in which a run takes them. `round.ts` says what a task is. */
import { auditLog } from './audit-log.ts';
import { changeLog } from './change-log.ts';
import { collectCentral } from './collection/central.ts';
import { deleteObjects } from './collection/delete-objects.ts';
import { collectNode } from './collection/node.ts';
import { tombstones } from './collection/tombstones.ts';
import { evict } from './eviction/evict.ts';
import { expiredUploads } from './expired-uploads.ts';
import { histories } from './histories.ts';
import { comparison } from './integrity/compare-objects.ts';
import { repair, wanted } from './integrity/repair-rounds.ts';
import { scrub } from './integrity/scrub.ts';
import type { Lane } from './round.ts';
import { sweep } from './sweep.ts';

/** Lanes that run side by side, and share a budget. A pass begins when the one before it has ended. */
export interface Pass {
  readonly lanes: readonly Lane[];
  /** How long it goes on with what can wait for the next run: 20,000 unless said. */
  readonly milliseconds?: number;
  /**
   * Slices of all stores together, unlimited unless said: few enough to leave most of what an invocation may ask of
   * bindings, 10,000 times (Workers, "Limits": subrequests), to what comes after. A slice asks 50 times at most, and
   * mostly 4.
   */
  readonly slices?: number;
  /** Left out where the configuration does not collect. */
  readonly collects?: true;
}

export const PASSES: readonly Pass[] = [
  { lanes: [{ stores: 'all at once', tasks: [expiredUploads, changeLog, auditLog] }] },
  { lanes: [{ stores: 'all at once', tasks: [sweep] }], milliseconds: 10_000 },
  { lanes: [{ stores: 'all at once', tasks: [histories] }], slices: 100 },
  {
    lanes: [
      { stores: 'all at once', tasks: [evict, collectCentral, collectNode, deleteObjects] },
      { stores: 'central first', tasks: [tombstones] },
    ],
    slices: 200,
    collects: true,
  },
  {
    lanes: [
      // A comparison holds many keys in memory (invariant 8), so it has one store at a time.
      { stores: 'in turn', tasks: [comparison, wanted] },
      // What is damaged is repaired before anything else is looked for, and then what the scrub has found.
      { stores: 'all at once', tasks: [repair, scrub, repair] },
    ],
  },
];

/** What the rows of `maintenance_tasks` may be of. */
export const TASK_NAMES: ReadonlySet<string> = new Set(
  PASSES.flatMap(({ lanes }) => lanes.flatMap(({ tasks }) => tasks.map(({ name }) => name))),
);
