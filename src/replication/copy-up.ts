/** Settling: the bytes of what was announced are copied to central, which then has a location of its own. */
import { leaseTimes, localLocation } from '../stores/blob-rows.ts';
import { alreadySettled, type Copy, settle } from './copy-rows.ts';
import type { Pair } from './pair.ts';
import { dropProgress, type ProgressKeeper, transfer } from './transfer.ts';

/** Copies one blob up. Answers the bytes that were copied: none if central had got it elsewhere. */
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
  // What the node says of itself: an object that was lost may have been replaced since it was announced.
  const location = await localLocation(node.database, copy.digest, node.name);
  if (location !== undefined && location.damage !== null) {
    throw new Error(`the object of ${copy.digest} is damaged (${location.damage}): it is copied once it is repaired`);
  }
  const { key, size } = location ?? copy;
  forgetWhatMayHaveLeft(name, keeper, now() - graceMilliseconds);
  const object = { name, from: node.bucket, key, to: central.bucket, digest: copy.digest, size };
  const written = await transfer(object, keeper, mayGoOn);
  const lease = leaseTimes(now(), graceMilliseconds);
  noteNaming(name, keeper, now());
  // If this fails, it may have happened: the object stays, and the next attempt finds out.
  const kept = await settle(central, node.name, { digest: copy.digest, key: written, size }, now(), lease.until);
  await dropProgress(name, central.bucket, kept, keeper);
  return size;
}

/**
 * Invariant 5: an object that a row has named may be about to go, once that row was collected. A row that is written
 * here stays for its lease of 2 g, so for g the object of an attempt whose row is not there can be used; after that not
 * any more.
 */
function forgetWhatMayHaveLeft(name: string, keeper: ProgressKeeper, before: number): void {
  const namedAt = keeper.progress(name)?.namedAt;
  if (namedAt !== undefined && namedAt <= before) keeper.forgetProgress(name);
}

function noteNaming(name: string, keeper: ProgressKeeper, now: number): void {
  const progress = keeper.progress(name);
  if (progress !== undefined) keeper.setProgress(name, { ...progress, namedAt: progress.namedAt ?? now });
}
