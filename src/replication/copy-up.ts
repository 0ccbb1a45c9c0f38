/** Copies announced blobs up to central, and settles them: central then has its own location. */
import { leaseTimes, localLocation } from '../stores/blob-rows.ts';
import { alreadySettled, type Copy, settle } from './copy-rows.ts';
import type { Pair } from './pair.ts';
import { dropProgress, type ProgressKeeper, transfer } from './transfer.ts';

/** Copies one blob up. Returns how many bytes were copied: 0 if central has the blob from elsewhere by now. */
export async function copyBlobUp(
  { node, central, now, graceMilliseconds }: Pair,
  copy: Copy,
  keeper: ProgressKeeper,
  mayGoOn: () => boolean,
): Promise<number> {
  const name = `up ${copy.digest}`;
  const settled = await alreadySettled(central, node.name, copy.digest);
  if (settled !== undefined) {
    await dropProgress(name, central.bucket, settled, keeper);
    return 0;
  }
  // Ask the node, because it may have replaced a lost object since the announcement.
  const location = await localLocation(node.database, copy.digest, node.name);
  if (location !== undefined && location.damage !== null) {
    throw new Error(`the object of ${copy.digest} is damaged (${location.damage}): it will be copied after its repair`);
  }
  const { key, size } = location ?? copy;
  forgetProgressNamedBefore(now() - graceMilliseconds, name, keeper);
  const object = { name, from: node.bucket, key, to: central.bucket, digest: copy.digest, size };
  const written = await transfer(object, keeper, mayGoOn);
  const lease = leaseTimes(now(), graceMilliseconds);
  recordNaming(name, keeper, now());
  // If this fails, the row may have been written anyway. The object stays, and the next attempt finds out.
  const kept = await settle(central, node.name, { digest: copy.digest, key: written, size }, now(), lease.until);
  await dropProgress(name, central.bucket, kept, keeper);
  return size;
}

/**
 * Forgets the object of an earlier attempt if a row may have named it by the time `before`.
 *
 * Invariant 5: once a row for the object has been collected, the object is about to be deleted. Such a row stays for
 * its lease of 2 g. So for g after the attempt, a missing row means that it was never written, and the object can be
 * reused. After that it cannot.
 */
function forgetProgressNamedBefore(before: number, name: string, keeper: ProgressKeeper): void {
  const namedAt = keeper.progress(name)?.namedAt;
  if (namedAt !== undefined && namedAt <= before) keeper.forgetProgress(name);
}

/** Records when a row was first about to name the object. */
function recordNaming(name: string, keeper: ProgressKeeper, now: number): void {
  const progress = keeper.progress(name);
  if (progress !== undefined) keeper.setProgress(name, { ...progress, namedAt: progress.namedAt ?? now });
}
