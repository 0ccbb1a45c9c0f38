/**
 * Records that locations' objects are missing or have wrong bytes. Nothing is read or copied from such a location until
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
 * Marks locations of a store as damaged, unless they have another key by now. It also marks central's rows of the
 * locations, by which other hosts find the objects.
 */
export async function noteDamage(
  { central }: MaintenanceContext,
  store: Store,
  locations: readonly { readonly digest: Digest; readonly key: string }[],
  damage: Damage,
): Promise<void> {
  const { marked } = await store.database.batch({
    marked: markDamaged(locations, store.name, damage),
    repair: wakeTask(REPAIR),
  });
  if (marked.length === 0) return;
  for (const { digest, key } of marked) logFailure({ damaged: digest, store: store.name, key, problem: damage });
  await store.database.batch([countMaintenance('damaged_found', marked.length)]);
  // If central does not answer, the repair task marks its rows later.
  if (store !== central)
    await central.database.batch([markDamaged(locations, store.name, damage)]).catch(() => undefined);
}
