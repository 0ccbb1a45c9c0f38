/**
 * Sweeps what removed repositories and organizations have left, whether a request or the change log removed them. The
 * removals take turns, one slice each.
 */
import { sweepSlice, unsweptRemovals } from '../stores/deletion/sweep-rows.ts';
import type { Task } from './round.ts';

export const sweep: Task = {
  name: 'sweep',
  at: 'every store',
  every: () => 0,
  async slice(_context, { database }, { position }) {
    const [name] = await unsweptRemovals(database, position, 1);
    const [first = name] = position === '' || name !== undefined ? [] : await unsweptRemovals(database, '', 1);
    if (first === undefined) return position === '' ? undefined : { position: undefined };
    await sweepSlice(database, first);
    return { position: first };
  },
};
