/**
 * Repair: what is damaged in a store is mended from orphans and from other stores, and at central what live manifests need
 * and no store is known to have: so after its database was restored to an earlier moment.
 *
 * A damaged location is tried every few minutes until it is mended, by this or by a push; its row stays as long as that.
 */
import { logFailure } from '../../log.ts';
import type { StoreName } from '../../namespaces/namespace.ts';
import type { Digest } from '../../oci/digest.ts';
import { isUnavailable } from '../../oci/errors.ts';
import { ownLocation } from '../../stores/blob-rows.ts';
import type { BoundStatement } from '../../stores/database.ts';
import { countMaintenance, maintenanceTask, saveTask } from '../task-rows.ts';
import { type DamagedLocation, damagedLocations, markDamaged, mendLocation, wantedBlobs } from './scrub-rows.ts';
import type { Store } from '../../stores/store.ts';
import { COMPARISON } from './compare-objects.ts';
import type { GcContext } from '../context.ts';
import { REPAIR } from './damage.ts';
import { mend } from './repair-blob.ts';
import { afterSlice, dueTask, MINUTE } from '../slices.ts';

const WANTED = 'wanted';

const DAMAGED_PER_PAGE = 20;
const LINKS_PER_PAGE = 5000;

/** Digests of lost blobs that a line of the log names. */
const LOST_IN_LOG = 20;

/** What could not be mended is tried again after it. */
const AGAIN_MILLISECONDS = 10 * MINUTE;

/** Told of each blob that a store has again: copies of it may wait. */
export type Mended = (store: StoreName, digest: Digest) => Promise<void>;

/** Mends what is damaged in a store. */
export async function repair(context: GcContext, store: Store, mended: Mended): Promise<void> {
  const { now, mayGoOn } = context;
  while (mayGoOn()) {
    const task = await dueTask(store.database, REPAIR, now());
    if (task === undefined) return;
    const [digest = '', name = ''] = task.position.split(' ');
    const page = await damagedLocations(store.database, { digest, store: name }, DAMAGED_PER_PAGE);
    // Nearly always nothing is damaged: that is not worth a row.
    if (page.length === 0 && task.position === '') return;
    const own = page.filter((location) => location.store === store.name);
    const found = await mendOwn(context, store, own);
    for (const location of page) if (location.store !== store.name) await followNode(context, store, location);
    for (const each of found) await mended(store.name, each);
    const last = page.length === DAMAGED_PER_PAGE ? page.at(-1) : undefined;
    const next =
      last === undefined
        ? { position: '', nextAt: now() + AGAIN_MILLISECONDS }
        : { position: `${last.digest} ${last.store}`, nextAt: now() };
    await store.database.batch([
      countMaintenance('repaired', found.length),
      // Without time for all of them, the page is the next run's as well.
      ...(mayGoOn() ? [saveTask(afterSlice(task, now(), next))] : []),
    ]);
    if (last === undefined) return;
  }
}

async function mendOwn(context: GcContext, store: Store, own: readonly DamagedLocation[]): Promise<Digest[]> {
  const { central } = context;
  if (own.length === 0) return [];
  // Central reads and copies from nodes by its own rows: those of damaged objects first, those of the mended ones after.
  if (store !== central) {
    await central.database.batch(
      own.map(({ digest, key, damage }): BoundStatement => markDamaged(digest, store.name, key, damage)),
    );
  }
  const found = await mend(
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
async function followNode({ central, nodes }: GcContext, store: Store, location: DamagedLocation): Promise<void> {
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
  const now = await ownLocation(node.database, digest, node.name);
  if (now === undefined || now.damage !== null) return;
  await central.database.batch([mendLocation(digest, node.name, key, now)]);
}

/**
 * Finds bytes for the blobs that live manifests at central need while no store is known to have them. Goes round once
 * after each comparison of central's bucket with its rows, which has found the orphans.
 */
export async function findWanted(context: GcContext): Promise<void> {
  const { central, now, mayGoOn } = context;
  while (mayGoOn()) {
    const [task, compared] = await Promise.all([
      dueTask(central.database, WANTED, now()),
      maintenanceTask(central.database, COMPARISON),
    ]);
    const orphansAreKnown = compared?.round_ended_at ?? undefined;
    if (task === undefined || orphansAreKnown === undefined) return;
    if (task.position === '' && (task.round_ended_at ?? 0) >= orphansAreKnown) return;
    const [digest = '', repository = ''] = task.position.split(' ');
    const { wanted, end } = await wantedBlobs(central, { digest, repository }, LINKS_PER_PAGE);
    const found = await mend(
      context,
      central,
      wanted.map((blob) => ({ ...blob, damaged: undefined })),
    );
    const lost = wanted.filter((blob) => !found.includes(blob.digest)).map((blob) => blob.digest);
    if (lost.length > 0) logFailure({ lost: lost.length, digests: lost.slice(0, LOST_IN_LOG) });
    const position = end === undefined ? '' : `${end.digest} ${end.repository}`;
    await central.database.batch([
      countMaintenance('repaired', found.length),
      ...(mayGoOn() ? [saveTask(afterSlice(task, now(), { position, nextAt: now() }))] : []),
    ]);
    if (end === undefined) return;
  }
}
