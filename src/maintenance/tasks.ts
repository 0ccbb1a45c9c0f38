/** The maintenance tasks, in the order in which a run takes them. `round.ts` says what a task is. */
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

/** Lanes that run in parallel and share a budget. Each pass begins when the one before it has ended. */
export interface Pass {
  readonly lanes: readonly Lane[];
  /** Milliseconds after which the pass begins no further slice: 20,000 by default. */
  readonly milliseconds?: number;
  /**
   * The most slices of all stores together; unlimited by default. It leaves later passes most of the 10,000 calls to
   * bindings that an invocation may make (Workers, "Limits": subrequests). A slice makes 50 calls at most, and usually
   * 4.
   */
  readonly slices?: number;
  /** True if the pass runs only where the configuration collects. */
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
      // A comparison holds many keys in memory (invariant 8), so it takes one store at a time.
      { stores: 'in turn', tasks: [comparison, wanted] },
      // Repairs known damage before the scrub looks for more, then repairs what the scrub has found.
      { stores: 'all at once', tasks: [repair, scrub, repair] },
    ],
  },
];

/** The names that rows of `maintenance_tasks` may have. */
export const TASK_NAMES: ReadonlySet<string> = new Set(
  PASSES.flatMap(({ lanes }) => lanes.flatMap(({ tasks }) => tasks.map(({ name }) => name))),
);
