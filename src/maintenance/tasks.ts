/** The maintenance tasks, in the order in which a run takes them. `round.ts` says what a task is. */
import { MINUTE } from '../durations.ts';
import { auditLog } from './audit-log.ts';
import { changeLog } from './change-log.ts';
import { collectCentral } from './collection/central.ts';
import { deleteObjects } from './collection/delete-objects.ts';
import { collectNode } from './collection/node.ts';
import { tombstones } from './collection/tombstones.ts';
import { documentsOfHour } from './documents-of-hour.ts';
import { evict } from './eviction/evict.ts';
import { expiredUploads } from './expired-uploads.ts';
import { histories } from './histories.ts';
import { comparison } from './integrity/compare-objects.ts';
import { repair, wanted } from './integrity/repair-rounds.ts';
import { scrub } from './integrity/scrub.ts';
import { largestOrganizations } from './largest-organizations.ts';
import { measureRepositories } from './largest-repositories.ts';
import type { Lane } from './round.ts';
import { sweep } from './sweep.ts';
import { unpulledImages } from './unpulled-images.ts';
import { usageOfDay } from './usage-of-day.ts';

/** Lanes that run in parallel and share a budget. Each pass begins when the one before it has ended. */
export interface Pass {
  readonly lanes: readonly Lane[];
  /** Milliseconds after which the pass begins no further slice: 20,000 by default. */
  readonly milliseconds?: number;
  /**
   * Statements that are reserved for the pass, in all its stores together. It may also use those that earlier passes
   * left. All passes together have {@link MOST_STATEMENTS}.
   */
  readonly statements: number;
  /** True if the pass runs only where the configuration collects. */
  readonly collects?: true;
}

/** The most statements of an invocation. D1 may end one after 1,000 (D1, "Limits": queries per invocation). */
export const MOST_STATEMENTS = 900;

/** The passes that the cron trigger runs each minute. */
export const EVERY_MINUTE: readonly Pass[] = [
  {
    lanes: [
      {
        stores: 'all at once',
        tasks: [
          changeLog,
          auditLog,
          expiredUploads,
          largestOrganizations,
          documentsOfHour,
          usageOfDay,
          measureRepositories,
          unpulledImages,
        ],
      },
    ],
    statements: 220,
  },
  { lanes: [{ stores: 'all at once', tasks: [sweep] }], milliseconds: 10_000, statements: 100 },
  { lanes: [{ stores: 'all at once', tasks: [histories] }], statements: 80 },
  {
    lanes: [
      { stores: 'all at once', tasks: [evict, collectCentral, collectNode, deleteObjects] },
      { stores: 'central first', tasks: [tombstones] },
    ],
    statements: 200,
    collects: true,
  },
  {
    lanes: [
      // A comparison holds many keys in memory (invariant 8), so it takes one store at a time.
      { stores: 'in turn', tasks: [comparison, wanted] },
      { stores: 'all at once', tasks: [repair] },
    ],
    statements: 300,
  },
];

/** The passes of each hourly cron trigger: hashing needs more CPU than a trigger that runs each minute may use. */
export const HOURLY: readonly Pass[] = [
  { lanes: [{ stores: 'all at once', tasks: [scrub] }], milliseconds: 10 * MINUTE, statements: MOST_STATEMENTS },
];

/** The names that rows of `maintenance_tasks` may have. */
export const TASK_NAMES: ReadonlySet<string> = new Set(
  [...EVERY_MINUTE, ...HOURLY].flatMap(({ lanes }) => lanes.flatMap(({ tasks }) => tasks.map(({ name }) => name))),
);
