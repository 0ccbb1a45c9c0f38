/** Deleting objects whose rows have gone. */
import { dueObjects, forgetDeparted } from '../stores/departed-rows.ts';
import { countMaintenance } from '../stores/maintenance-rows.ts';
import type { Store } from '../stores/store.ts';
import type { GcContext } from './context.ts';

/** What R2 deletes in one call. */
const OBJECTS = 1000;

/** First the objects, then their keys: killed in between, it is done again. */
export async function deleteDeparted({ database, bucket }: Store, { now, mayGoOn, rest }: GcContext): Promise<void> {
  while (mayGoOn()) {
    const at = now();
    const due = await dueObjects(database, at, OBJECTS);
    if (due.length === 0) return;
    await bucket.delete(due.map(({ key }) => key));
    await database.batch([
      forgetDeparted(due),
      countMaintenance('collected_objects', due.length),
      countMaintenance(
        'collected_bytes',
        due.reduce((sum, { size }) => sum + size, 0),
      ),
    ]);
    if (due.length < OBJECTS) return;
    await rest(now() - at);
  }
}
