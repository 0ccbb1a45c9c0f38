/**
 * Repair: what is damaged in a store is repaired from orphans and from other stores, and at central what live manifests
 * need and no store is known to have: so after its database was restored to an earlier moment.
 *
 * A damaged location is tried every few minutes until it is repaired, by this or by a push; its row stays as long as
 * that.
 */
import { MINUTE } from '../../durations.ts';
import { logFailure } from '../../log.ts';
import type { Digest } from '../../oci/digest.ts';
import { isUnavailable } from '../../oci/errors.ts';
import { localLocation } from '../../stores/blob-rows.ts';
import { taskState } from '../task-rows.ts';
import { type DamagedLocation, damagedLocations, markDamaged, repairLocation, wantedBlobs } from './scrub-rows.ts';
import type { Store } from '../../stores/store.ts';
import type { MaintenanceContext } from '../context.ts';
import type { Task } from '../round.ts';
import { comparison } from './compare-objects.ts';
import { REPAIR } from './damage.ts';
import { repairBlob } from './repair-blob.ts';

const DAMAGED_PER_PAGE = 20;
const LINKS_PER_PAGE = 5000;

/** Digests of lost blobs that a line of the log names. */
const LOST_IN_LOG = 20;

/** Repairs what is damaged in a store. What cannot be repaired is tried again in the next round. */
export const repair: Task = {
  name: REPAIR,
  at: 'every store',
  every: () => 10 * MINUTE,
  async slice(context, store, { position }) {
    const [digest = '', name = ''] = position.split(' ');
    const page = await damagedLocations(store.database, { digest, store: name }, DAMAGED_PER_PAGE);
    if (page.length === 0 && position === '') return undefined;
    const own = page.filter((location) => location.store === store.name);
    const found = await repairOwn(context, store, own);
    for (const location of page) if (location.store !== store.name) await repairAtNode(context, store, location);
    for (const each of found) await context.repaired(store.name, each);
    const counts = { repaired: found.length };
    // Without time for all of them, the page is the next run's as well.
    if (!context.mayGoOn()) return { position, counts };
    const last = page.length === DAMAGED_PER_PAGE ? page.at(-1) : undefined;
    return { position: last && `${last.digest} ${last.store}`, counts };
  },
};

async function repairOwn(
  context: MaintenanceContext,
  store: Store,
  own: readonly DamagedLocation[],
): Promise<Digest[]> {
  const { central } = context;
  if (own.length === 0) return [];
  // Central reads and copies from nodes by its own rows: those of damaged objects first, those of the repaired ones
  // after.
  if (store !== central) {
    await central.database.batch(own.map(({ digest, key, damage }) => markDamaged(digest, store.name, key, damage)));
  }
  const found = await repairBlob(
    context,
    store,
    own.map(({ digest, size, key, damage }) => ({ digest, size, damaged: { key, damage } })),
  );
  if (store !== central) {
    for (const location of own) if (found.includes(location.digest)) await pointAt(central, store, location);
  }
  return found;
}

/** At central: a node's location that was damaged is where the node says, by now. */
async function repairAtNode(
  { central, nodes }: MaintenanceContext,
  store: Store,
  location: DamagedLocation,
): Promise<void> {
  const node = nodes.find(({ name }) => name === location.store);
  if (store !== central || node === undefined) return;
  try {
    await pointAt(central, node, location);
  } catch (error) {
    // A node that is away has time.
    if (!isUnavailable(error)) throw error;
  }
}

async function pointAt(central: Store, node: Store, { digest, key }: DamagedLocation): Promise<void> {
  const now = await localLocation(node.database, digest, node.name);
  if (now === undefined || now.damage !== null) return;
  await central.database.batch([repairLocation(digest, node.name, key, now)]);
}

/**
 * Finds bytes for the blobs that live manifests at central need while no store is known to have them. Goes round once
 * after each comparison of central's bucket with its rows, which has found the orphans.
 */
export const wanted: Task = {
  name: 'wanted',
  at: 'central',
  every: () => 0,
  async slice(context, central, { position, round_ended_at: ended }) {
    const compared = await taskState(central.database, comparison.name);
    const orphansAreKnown = compared?.round_ended_at ?? undefined;
    if (orphansAreKnown === undefined || (position === '' && (ended ?? 0) >= orphansAreKnown)) return undefined;
    const [digest = '', repository = ''] = position.split(' ');
    const page = await wantedBlobs(central, { digest, repository }, LINKS_PER_PAGE);
    const found = await repairBlob(
      context,
      central,
      page.wanted.map((blob) => ({ ...blob, damaged: undefined })),
    );
    const lost = page.wanted.filter((blob) => !found.includes(blob.digest)).map((blob) => blob.digest);
    if (lost.length > 0) logFailure({ lost: lost.length, digests: lost.slice(0, LOST_IN_LOG) });
    const counts = { repaired: found.length };
    // Without time for all of them, the page is the next run's as well.
    if (!context.mayGoOn()) return { position, counts };
    return { position: page.end && `${page.end.digest} ${page.end.repository}`, counts };
  },
};
