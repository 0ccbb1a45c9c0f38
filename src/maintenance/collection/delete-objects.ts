/** Deleting objects whose rows have gone. */
import { type Departed, dueObjects, forgetDeparted } from './delete-queue-rows.ts';
import { countMaintenance, saveTask } from '../task-rows.ts';
import type { Store } from '../../stores/store.ts';
import type { GcContext } from '../context.ts';
import { afterSlice, dueTask } from '../slices.ts';

/** Its row is written only when R2 refuses, and when it no longer does: nearly always there is nothing to say. */
const TASK = 'departed';

/** What R2 deletes in one call. */
const OBJECTS = 1000;

/** First the objects, then their keys: killed in between, it is done again. */
export async function deleteDeparted(store: Store, { now, mayGoOn, rest }: GcContext): Promise<void> {
  const { database } = store;
  while (mayGoOn()) {
    const at = now();
    const due = await dueObjects(database, at, OBJECTS);
    if (due.length === 0) return;
    await deleteOrSay(store, due, at);
    const [gone] = await database.batch<[Pick<Departed, 'size'>]>([forgetDeparted(due)]);
    if (gone.length > 0) {
      await database.batch([
        countMaintenance('collected_objects', gone.length),
        countMaintenance(
          'collected_bytes',
          gone.reduce((sum, { size }) => sum + size, 0),
        ),
      ]);
    }
    if (due.length < OBJECTS) return;
    await rest(now() - at);
  }
}

/** @throws whatever R2 says, which is then what stops the task */
async function deleteOrSay({ name, database, bucket }: Store, due: readonly Departed[], now: number): Promise<void> {
  const task = await dueTask(database, TASK, now);
  const say = async (stopped?: string): Promise<void> => {
    const next = { position: '', nextAt: now, ...(stopped === undefined ? {} : { stopped }) };
    if (task !== undefined) await database.batch([saveTask(afterSlice(task, now, next))]);
  };
  try {
    await bucket.delete(due.map(({ key }) => key));
  } catch (error) {
    // Where the database does not answer either, R2's failure is the one that is thrown.
    await say(`the bucket of ${name} does not answer: ${String(error)}`).catch(() => undefined);
    throw error;
  }
  if (task !== undefined && task.stopped !== null) await say();
}
