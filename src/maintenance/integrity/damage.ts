/**
 * Records that a location's object is missing or has wrong bytes. Nothing is read or copied from such a location until
 * it is repaired.
 */
import { logFailure } from '../../log.ts';
import type { Digest } from '../../oci/digest.ts';
import type { Damage } from '../../stores/blob-rows.ts';
import { countMaintenance, wakeTask } from '../task-rows.ts';
import { markDamaged } from './scrub-rows.ts';
import type { Store } from '../../stores/store.ts';
import type { MaintenanceContext } from '../context.ts';

/** The name of the task that repairs damaged locations. */
export const REPAIR = 'repair';

/**
 * Marks a location of a store as damaged, unless it has another key by now. It also marks central's row of the
 * location, by which other hosts find the object.
 */
export async function noteDamage(
  { central }: MaintenanceContext,
  store: Store,
  { digest, key }: { readonly digest: Digest; readonly key: string },
  damage: Damage,
): Promise<void> {
  const { marked } = await store.database.batch({
    marked: markDamaged(digest, store.name, key, damage),
    repair: wakeTask(REPAIR),
  });
  if (marked.length === 0) return;
  logFailure({ damaged: digest, store: store.name, key, problem: damage });
  await store.database.batch([countMaintenance('damaged_found', 1)]);
  // If central does not answer, the repair task marks its row later.
  if (store !== central)
    await central.database.batch([markDamaged(digest, store.name, key, damage)]).catch(() => undefined);
}
