/** Removes entries of central's change log that every node has applied, once the grace time is over. */
import { deleteAppliedEntries } from '../stores/change-log-rows.ts';
import type { Task } from './round.ts';

/** Entries that one slice removes. */
const ENTRIES = 10_000;

export const changeLog: Task = {
  name: 'changes',
  at: 'central',
  every: () => 0,
  async slice({ nodes, now, graceMilliseconds }, { database }) {
    const stores = nodes.map(({ name }) => name);
    const removed = await deleteAppliedEntries(database, stores, now() - graceMilliseconds, ENTRIES);
    return removed === 0 ? undefined : { position: undefined, counts: { removed_changes: removed } };
  },
};
