/**
 * Notes which organizations use most, for `/metrics`. No index serves for this, because every push would have to write
 * to it. So a round reads all organizations in slices, and the position carries the largest so far.
 */
import { MINUTE } from '../durations.ts';
import { putLargest, SHOWN_TOGETHER, type UsedByOrganization, usedAfter } from '../stores/organizations/usage-shown.ts';
import type { Task } from './round.ts';

/** Organizations that one slice reads. */
const ORGANIZATIONS = 5000;

/** The start of the next slice, as JSON. */
interface Position {
  /** The last organization that was read. */
  readonly after: string;
  readonly largest: readonly UsedByOrganization[];
}

const START: Position = { after: '', largest: [] };

export const largestOrganizations: Task = {
  name: 'largest',
  at: 'central',
  every: () => 10 * MINUTE,
  async slice(_context, { database }, { position }) {
    const { after, largest } = position === '' ? START : (JSON.parse(position) as Position);
    const page = await usedAfter(database, after, ORGANIZATIONS);
    const most = [...largest, ...page].toSorted((a, b) => b.used - a.used).slice(0, SHOWN_TOGETHER);
    const last = page.length < ORGANIZATIONS ? undefined : page.at(-1);
    if (last !== undefined) return { position: JSON.stringify({ after: last.name, largest: most } satisfies Position) };
    await database.batch(putLargest(most.map(({ name }) => name)));
    return { position: undefined };
  },
};
