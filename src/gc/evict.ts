/**
 * Evicting images from a node that is over its limit of bytes, or that nobody has pulled there for long: whole, the least
 * recently pulled first, and only those that central has all of.
 *
 * An image is a manifest that no live index lists, with all that it lists. Its rows leave first, in one transaction
 * (`eviction-rows.ts`), then the bytes that nothing else here needs (`let-go.ts`): killed in between, the node's collection
 * lets them go. An image whose bytes were promised to somebody stays until that is over.
 */
import type { EvictionLimits } from '../config.ts';
import type { Digest } from '../oci/digest.ts';
import { storedBytes } from '../stores/departed-rows.ts';
import { evictImage, type ImageAtNode, imagesAt, leastUsed, unsettledAmong, type UsePosition } from '../stores/eviction-rows.ts';
import { countMaintenance } from '../stores/maintenance-rows.ts';
import type { Store } from '../stores/store.ts';
import type { GcContext } from './context.ts';
import { deleteDeparted } from './departed.ts';
import { HeardNodes } from './heard-nodes.ts';
import { letGo } from './let-go.ts';
import { answerOf, goRound, type Slice } from './round.ts';

const HOUR = 3_600_000;

/** From the start of a round to the start of the next, in milliseconds. */
const ROUND = HOUR / 4;

/** Manifests that a slice looks at, and images that it evicts. */
const MANIFESTS = 200;
const IMAGES = 20;

/**
 * Where a slice starts. In the first pass, an image stays whose children were pulled later than itself: it is less idle
 * than it looks. Only if that does not make enough room, a second pass takes those as well.
 */
interface Position extends UsePosition {
  readonly pass: 1 | 2;
  /** What kept an earlier slice of the round from letting bytes go. */
  readonly stopped?: string | undefined;
}

/** Evicts until enough is gone, something stops it, or there is no more time. Can be killed anywhere, and repeated. */
export async function evict(context: GcContext, node: Store, limits: EvictionLimits): Promise<void> {
  if (limits.bytes === undefined && limits.idleMilliseconds === undefined) return;
  const heard = new HeardNodes(context);
  await goRound(node, 'evict', ROUND, context, async (position) => {
    const from: Position = position === '' ? { pass: 1, used_at: -1, repository: '', digest: '' } : JSON.parse(position);
    return evictSlice(context, node, limits, heard, from);
  });
  await deleteDeparted(node, context);
}

async function evictSlice(
  context: GcContext,
  node: Store,
  limits: EvictionLimits,
  heard: HeardNodes,
  from: Position,
): Promise<Slice> {
  const { central, now } = context;
  let excess = (await storedBytes(node.database, node.name)).bytes - (limits.bytes ?? Infinity);
  const idleBefore = limits.idleMilliseconds === undefined ? -Infinity : now() - limits.idleMilliseconds;
  const page = await leastUsed(node.database, from, MANIFESTS);
  const due = page.filter(({ used_at: at }) => excess > 0 || at < idleBefore);
  const roots = due.filter(({ listed }) => listed === 0).slice(0, IMAGES);
  const end = roots.length === IMAGES ? roots.at(-1) : due.at(-1);
  const next = ((): Position | undefined => {
    if (end !== undefined && (roots.length === IMAGES || (due.length === page.length && page.length === MANIFESTS))) {
      return { pass: from.pass, used_at: end.used_at, repository: end.repository, digest: end.digest };
    }
    return excess > 0 && from.pass === 1 ? { pass: 2, used_at: -1, repository: '', digest: '' } : undefined;
  })();

  const images = (roots.length === 0 ? [] : await imagesAt(node, roots)).filter((image) =>
    mayLeave(image, from.pass, idleBefore, now()),
  );
  const blobs = [...new Set(images.flatMap((image) => image.blobs.map(({ digest }) => digest)))];
  const unsettled = blobs.length === 0 ? new Set<Digest>() : await answerOf("central's database", unsettledAmong(central, blobs));
  const left: ImageAtNode[] = [];
  for (const image of images) {
    if (image.blobs.some(({ digest }) => unsettled.has(digest))) continue;
    if (excess <= 0 && usedAt(image) >= idleBefore) continue;
    if (!(await evictImage(node.database, image, now()))) continue;
    left.push(image);
    excess -= image.blobs.reduce((sum, { size, shared }) => sum + (shared === 1 ? 0 : (size ?? 0)), 0);
  }
  const digests = [
    ...new Set(left.flatMap((image) => image.blobs.flatMap(({ digest, size }) => (size === null ? [] : [digest])))),
  ];
  const gone = digests.length === 0 ? undefined : await letGo(context, node, digests, heard);
  const bytes = gone?.left.reduce((sum, { size }) => sum + size, 0) ?? 0;
  if (bytes > 0) await node.database.batch([countMaintenance('evicted_bytes', bytes)]);
  const stopped = gone?.stopped === undefined ? from.stopped : (gone.stopped ?? undefined);
  return { position: next === undefined ? undefined : JSON.stringify({ ...next, stopped }), stopped };
}

function usedAt({ members }: ImageAtNode): number {
  return Math.max(0, ...members.map(({ used_at: at }) => at));
}

/** By what was read; the transaction that evicts it judges again. */
function mayLeave(image: ImageAtNode, pass: 1 | 2, idleBefore: number, now: number): boolean {
  const root = image.members.find(({ digest }) => digest === image.digest);
  if (root === undefined) return false;
  if (pass === 1 && usedAt(image) >= idleBefore && usedAt(image) >= root.used_at + HOUR) return false;
  return image.blobs.every(({ lease_until: lease, shared }) => shared === 1 || lease === null || lease <= now);
}
