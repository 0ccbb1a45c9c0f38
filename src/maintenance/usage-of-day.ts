/** Records once a day the usage of each organization, and removes records that are 90 days old. */
import { DAY } from '../durations.ts';
import { deleteOldUsage, noteUsage } from '../stores/organizations/usage-by-day-rows.ts';
import { usedAfter } from '../stores/organizations/usage-shown.ts';
import type { Task } from './round.ts';

/** The most organizations that a slice notes, and the most old rows that it removes. */
const ORGANIZATIONS = 1000;
/** Sorts after every organization. */
const END = '~';

export const usageOfDay: Task = {
  name: 'usage',
  at: 'central',
  every: () => DAY,
  async slice({ now }, { database }, { position, round_started_at: day }) {
    // Read before the usage: an organization that is created later must not see the usage of the name's last owner.
    const readAt = now();
    const page = await usedAfter(database, position, ORGANIZATIONS);
    if (page.length > 0) await database.batch([noteUsage(day, readAt, page)]);
    const removed = await deleteOldUsage(database, day, ORGANIZATIONS);
    const isWhole = page.length < ORGANIZATIONS && removed < ORGANIZATIONS;
    return { position: isWhole ? undefined : (page.at(-1)?.name ?? END) };
  },
};
