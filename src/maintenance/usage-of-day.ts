/** Notes once a day what each organization uses, and removes what was noted 90 days ago. */
import { DAY } from '../durations.ts';
import { deleteOldUsage, noteUsage } from '../stores/organizations/usage-by-day-rows.ts';
import { usedAfter } from '../stores/organizations/usage-shown.ts';
import type { Task } from './round.ts';

/** Organizations that one slice notes. It removes as many rows at most, as each round adds one of each. */
const ORGANIZATIONS = 1000;
/** Sorts after every organization. */
const END = '~';

export const usageOfDay: Task = {
  name: 'usage',
  at: 'central',
  every: () => DAY,
  async slice({ now }, { database }, { position, round_started_at: day }) {
    // An organization that is created after this sees nothing of it.
    const readAt = now();
    const page = await usedAfter(database, position, ORGANIZATIONS);
    if (page.length > 0) await database.batch([noteUsage(day, readAt, page)]);
    const removed = await deleteOldUsage(database, day, ORGANIZATIONS);
    const isWhole = page.length < ORGANIZATIONS && removed < ORGANIZATIONS;
    return { position: isWhole ? undefined : (page.at(-1)?.name ?? END) };
  },
};
