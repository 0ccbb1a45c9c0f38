/**
 * Deletes objects whose rows are removed. Their keys leave the delete queue only afterwards, so a run that is killed in
 * between deletes them again.
 */
import type { Task } from '../round.ts';
import { Stopped } from '../stopped.ts';
import { dueObjects, forgetQueuedObjects } from './delete-queue-rows.ts';

/** R2 deletes at most this many objects in one call. */
const OBJECTS = 1000;

export const deleteObjects: Task = {
  name: 'delete_queue',
  at: 'every store',
  every: () => 0,
  async slice({ now }, { name, database, bucket }, { position }) {
    const due = await dueObjects(database, now(), OBJECTS);
    if (due.length === 0) return position === '' ? undefined : { position: undefined };
    await bucket.delete(due.map(({ key }) => key)).catch((cause: unknown) => {
      throw new Stopped(`the bucket of ${name} does not answer: ${String(cause)}`, { cause });
    });
    const { gone } = await database.batch({ gone: forgetQueuedObjects(due) });
    return {
      position: due.length < OBJECTS ? undefined : due.at(-1)?.key,
      counts: { collected_objects: gone.length, collected_bytes: gone.reduce((sum, { size }) => sum + size, 0) },
    };
  },
};
