/** Removing expired upload sessions of a store, a page a run; see `stores/uploads/expired-uploads.ts`. */
import type { Store } from '../stores/store.ts';
import { removeExpiredUploads } from '../stores/uploads/expired-uploads.ts';
import type { ExpiredPosition } from '../stores/uploads/upload-rows.ts';
import { afterSlice, dueTask } from './slices.ts';
import { saveTask } from './task-rows.ts';

const TASK = 'expired uploads';

/** Answers how many sessions are gone. @param objects false: those with objects stay */
export async function removeExpired(store: Store, now: number, objects: boolean): Promise<number> {
  const task = await dueTask(store.database, TASK, now);
  if (task === undefined) return 0;
  const from = task.position === '' ? undefined : (JSON.parse(task.position) as ExpiredPosition);
  const { removed, last } = await removeExpiredUploads(store, now, objects, from);
  const position = last === undefined ? '' : JSON.stringify(last);
  // Mostly one page is all.
  if (position !== task.position) await store.database.batch([saveTask(afterSlice(task, now, { position, nextAt: 0 }))]);
  return removed;
}
