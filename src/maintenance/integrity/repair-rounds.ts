/**
 * Repairs damaged blobs of a store from orphans and from other stores. At central, it also finds bytes for blobs that
 * live manifests need and that no store is known to have, as can happen after a database restore.
 *
 * A damaged location is tried every few minutes until this task or a push repairs it. Its row stays until then.
 */
import { MINUTE } from '../../durations.ts';
import { logFailure } from '../../log.ts';
import type { Digest } from '../../oci/digest.ts';
import { isUnavailable } from '../../oci/errors.ts';
import { localLocation } from '../../stores/blob-rows.ts';
import { type ShownTask, taskStates } from '../task-rows.ts';
import { type DamagedLocation, damagedLocations, markDamaged, repairLocation, wantedBlobs } from './scrub-rows.ts';
import type { Store } from '../../stores/store.ts';
import type { MaintenanceContext } from '../context.ts';
import type { Task } from '../round.ts';
import { answerOf } from '../stopped.ts';
import { comparison } from './compare-objects.ts';
import { REPAIR } from './damage.ts';
import { repairBlobs } from './repair-blob.ts';

const DAMAGED_PER_PAGE = 20;
const LINKS_PER_PAGE = 5000;

/** The most digests of lost blobs in one log line. */
const LOST_IN_LOG = 20;

/** Between the end of a round and the next, in milliseconds. */
const REPAIR_AGAIN = 10 * MINUTE;

/** Repairs a store's damaged locations. The next round tries again those that it could not repair. */
export const repair: Task = {
  name: REPAIR,
  at: 'every store',
  every: () => REPAIR_AGAIN,
  async slice(context, store, { position }) {
    const [digest = '', name = ''] = position.split(' ');
    const page = await damagedLocations(store.database, { digest, store: name }, DAMAGED_PER_PAGE);
    if (page.length === 0 && position === '') return undefined;
    const local = page.filter((location) => location.store === store.name);
    const { tried, repaired } = await repairLocal(context, store, local);
    for (const location of page) if (location.store !== store.name) await repairAtNode(context, store, location);
    const counts = { repaired };
    // If the run could not try them all, the next one takes this page again.
    if (tried < local.length || !context.mayGoOn()) return { position, counts, isLast: true };
    const last = page.length === DAMAGED_PER_PAGE ? page.at(-1) : undefined;
    if (last !== undefined) return { position: `${last.digest} ${last.store}`, counts };
    return { position: undefined, notBefore: context.now() + REPAIR_AGAIN, counts };
  },
};

/** Repairs a store's own locations. Returns how many it tried, and how many it repaired. */
async function repairLocal(
  context: MaintenanceContext,
  store: Store,
  local: readonly DamagedLocation[],
): Promise<{ readonly tried: number; readonly repaired: number }> {
  const { central } = context;
  if (local.length === 0) return { tried: 0, repaired: 0 };
  // Central reads and copies from nodes by its own rows. So these are marked as damaged before the repair, and pointed
  // at the new objects after it.
  if (store !== central) {
    const marks = local.map((location) => markDamaged([location], store.name, location.damage));
    await answerOf("central's database", central.database.batch(marks));
  }
  const lacking = local.map(({ digest, size, key, damage }) => ({ digest, size, damaged: { key, damage } }));
  let [tried, repaired] = [0, 0];
  for await (const { digest, isRepaired } of repairBlobs(context, store, lacking)) {
    tried++;
    if (!isRepaired) continue;
    repaired++;
    const location = local.find((each) => each.digest === digest);
    if (store !== central && location !== undefined) await pointAt(central, store, location);
    await context.repaired(store.name, digest);
  }
  return { tried, repaired };
}

/** Points central's damaged location of a node at the object that the node's own row names now. */
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
    // If the node is away, the next round tries again.
    if (!isUnavailable(error)) throw error;
  }
}

async function pointAt(central: Store, node: Store, { digest, key }: DamagedLocation): Promise<void> {
  const now = await localLocation(node.database, digest, node.name);
  if (now === undefined || now.damage !== null) return;
  await answerOf("central's database", central.database.batch([repairLocation(digest, node.name, key, now)]));
}

const WANTED = 'wanted';

/**
 * Finds bytes for blobs that live manifests at central need and that no store is known to have. A round runs after each
 * comparison of central's bucket with its rows, which finds the orphans.
 */
export const wanted: Task = {
  name: WANTED,
  at: 'central',
  every: () => 0,
  async slice(context, central, { position }) {
    const states = new Map((await taskStates(central.database)).map((state) => [state.task, state]));
    const comparedAt = states.get(comparison.name)?.round_ended_at ?? undefined;
    if (comparedAt === undefined || (position === '' && hasRunSince(comparedAt, states.get(WANTED), context.now()))) {
      return undefined;
    }
    const [digest = '', repository = ''] = position.split(' ');
    const page = await wantedBlobs(central, { digest, repository }, LINKS_PER_PAGE);
    const lacking = page.wanted.map((blob) => ({ ...blob, damaged: undefined }));
    const lost: Digest[] = [];
    let tried = 0;
    let reached = position;
    for await (const blob of repairBlobs(context, central, lacking)) {
      tried++;
      // '~' comes after every repository.
      reached = `${blob.digest} ~`;
      if (!blob.isRepaired) lost.push(blob.digest);
    }
    if (lost.length > 0) logFailure({ lost: lost.length, digests: lost.slice(0, LOST_IN_LOG) });
    const counts = { repaired: tried - lost.length };
    // If the run could not try them all, the next one goes on after the last that was tried.
    if (tried < lacking.length) return { position: reached, counts, isLast: true };
    return { position: page.end && `${page.end.digest} ${page.end.repository}`, counts };
  },
};

/**
 * Returns whether a whole round began after a time. If a comparison in another run ends during a round, the round has
 * not seen all of that comparison's orphans. A start in the future comes from a clock that was set back since.
 */
function hasRunSince(time: number, last: ShownTask | undefined, now: number): boolean {
  if (last === undefined || (last.round_ended_at ?? 0) < last.round_started_at) return false;
  return last.round_started_at >= time && last.round_started_at <= now;
}
