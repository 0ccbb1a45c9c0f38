/**
 * Sweeps the rows of removed repositories and organizations, whether a request or the change log removed them. The
 * removals take turns, one slice each.
 */
import type { Database } from '../stores/database.ts';
import type { RemovedName } from '../stores/deletion/removals.ts';
import { sweepSlice, unsweptRemovals } from '../stores/deletion/sweep-rows.ts';
import type { Task } from './round.ts';

export const sweep: Task = {
  name: 'sweep',
  at: 'every store',
  every: () => 0,
  async slice(_context, { database }, { position }) {
    const name = await nextRemoval(database, position);
    if (name === undefined) return position === '' ? undefined : { position: undefined };
    await sweepSlice(database, name);
    return { position: name };
  },
};

/** Returns the removal after `last`, or the first again, since each may need many slices. Undefined if none is left. */
async function nextRemoval(database: Database, last: string): Promise<RemovedName | undefined> {
  const [name] = await unsweptRemovals(database, last, 1);
  return name === undefined && last !== '' ? nextRemoval(database, '') : name;
}
