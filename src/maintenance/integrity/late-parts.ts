/**
 * Deletes parts of blobs that no fetch of a mirror has any more. A fetch deletes its own parts (`mirror/blob.ts`), but
 * R2 may finish writing one after that.
 */
import { DAY } from '../../durations.ts';
import { logLine } from '../../log.ts';
import { PARTS_PREFIX } from '../../stores/bucket.ts';
import type { Store } from '../../stores/store.ts';
import type { MaintenanceContext } from '../context.ts';

/** Few fetches take as long. One that loses a part begins anew. */
const OLD_MILLISECONDS = 7 * DAY;

export async function deleteLateParts(
  { now, mayGoOn }: Pick<MaintenanceContext, 'now' | 'mayGoOn'>,
  { name, bucket }: Pick<Store, 'name' | 'bucket'>,
): Promise<void> {
  for (let after: string | undefined = ''; after !== undefined;) {
    const { objects, more } = await bucket.list(after, PARTS_PREFIX);
    const old = objects.filter(({ uploaded }) => uploaded < now() - OLD_MILLISECONDS).map(({ key }) => key);
    await bucket.delete(old);
    if (old.length > 0) logLine({ comparison: name, late_parts: old.length });
    after = more && mayGoOn() ? objects.at(-1)?.key : undefined;
  }
}
