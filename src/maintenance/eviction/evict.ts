/**
 * Evicting images from a node that is over its limit of bytes, or that nobody has pulled there for long: whole, the
 * least recently pulled first, and only those that central has all of.
 *
 * An image is a manifest that no live index lists, with all that it lists. Its rows leave first, in one transaction
 * (`eviction-rows.ts`), then the bytes that nothing else here needs (`release.ts`): killed in between, the node's
 * collection lets them go. An image whose bytes were promised to somebody stays until that is over.
 *
 * A round takes what is idle, and then, if the node is over its limit, has it collected: bytes that nothing needs go
 * before any that are of use. Only once a whole round of collection has ended do further images leave, until the rest
 * fits. After an eviction that was cut short it is the same again, since what it left behind is such bytes too.
 */
import { HOUR } from '../../durations.ts';
import type { EvictionLimits } from '../../config.ts';
import { storedBytes } from '../collection/delete-queue-rows.ts';
import {
  evictImage,
  type ImageAtNode,
  imagesAt,
  leastUsed,
  unsettledAmong,
  type UsePosition,
} from './eviction-rows.ts';
import { countMaintenance, type TaskState, taskState, wakeTask } from '../task-rows.ts';
import type { Store } from '../../stores/store.ts';
import { collectNode } from '../collection/node.ts';
import type { MaintenanceContext } from '../context.ts';
import { releaseBlobs, type Released } from '../collection/release.ts';
import { goRound, type Slice, type Task } from '../round.ts';
import { answerOf, Stopped } from '../stopped.ts';

/** Manifests that a slice looks at, and images that it evicts. */
const MANIFESTS = 200;
const IMAGES = 20;

/** References of the images that a slice reads at once, unless one alone has more. */
const REFERENCES = 20_000;

/** Digests that are released at once. */
const DIGESTS = 5000;

/**
 * Where a slice starts: among images; with `collection`, once a round of collection has ended.
 *
 * Idle images go first. In the first pass after that, an image stays whose children were pulled later than itself: it
 * is less idle than it looks. Only if that does not make enough room, a second pass takes those as well.
 */
interface Position extends UsePosition {
  readonly pass: Pass;
  readonly collection?: Collection;
  /** What kept an earlier slice of the round from letting bytes go. */
  readonly stopped?: string | undefined;
}

type Pass = 'idle' | 1 | 2;
type Collection = 'awaited' | 'begun';

const startOf = (pass: Pass, stopped?: string): Position => ({
  pass,
  used_at: -1,
  repository: '',
  digest: '',
  stopped,
});
const once = (collection: Collection): Position => ({ ...startOf(1), collection });

export const evict: Task = {
  name: 'evict',
  at: 'node',
  every: () => HOUR / 4,
  // What it leaves of a pass is for collection.
  share: 10_000,
  async slice(context, node, { position }) {
    const limits = context.evictionLimits.get(node.name);
    if (limits?.bytes === undefined && limits?.idleMilliseconds === undefined) return undefined;
    const from = position === '' ? await firstOf(node, limits) : (JSON.parse(position) as Position);
    if (from === undefined) return { position: undefined };
    const { next, stopped } =
      from.collection === undefined
        ? await evictSlice(context, node, limits, from)
        : await collectFirst(context, node, from.collection);
    return { position: next === undefined ? undefined : JSON.stringify(next), stopped };
  },
};

async function firstOf(node: Store, limits: EvictionLimits): Promise<Position | undefined> {
  return limits.idleMilliseconds === undefined ? afterIdle(node, limits) : startOf('idle');
}

async function afterIdle(node: Store, limits: EvictionLimits): Promise<Position | undefined> {
  return (await bytesOver(node, limits)) > 0 ? once('awaited') : undefined;
}

/** Bytes that the node has above its limit; 0 or less where they fit, minus infinity without a limit. */
async function bytesOver({ name, database }: Store, { bytes: limit }: EvictionLimits): Promise<number> {
  return limit === undefined ? -Infinity : (await storedBytes(database, name)).bytes - limit;
}

interface Step extends Pick<Slice, 'stopped'> {
  readonly next: Position | undefined;
}

/**
 * Runs the node's collection, and goes on once a round of it has ended that began after this was asked for: one that
 * was under way already does not do. Where it fails, the round is over.
 */
async function collectFirst(context: MaintenanceContext, node: Store, collection: Collection): Promise<Step> {
  const task = await taskState(node.database, 'collect');
  if (collection === 'awaited' && (task === undefined || task.position === '')) {
    await node.database.batch([wakeTask('collect')]);
    return { next: once('begun') };
  }
  if (collection === 'begun' && hasEnded(task)) return { next: startOf(1) };
  let isOutOfTime = false;
  const mayGoOn = (): boolean => {
    const may = context.mayGoOn();
    isOutOfTime ||= !may;
    return may;
  };
  try {
    await goRound({ ...context, mayGoOn }, collectNode, node);
  } catch (error) {
    return { next: undefined, stopped: `collecting before eviction failed: ${String(error)}` };
  }
  const after = await taskState(node.database, 'collect');
  if (collection === 'begun' && hasEnded(after)) return { next: startOf(1) };
  if (isOutOfTime || (collection === 'awaited' && after?.position === '')) return { next: once(collection) };
  return { next: undefined, stopped: after?.stopped ?? undefined };
}

/** Whether a round has ended since the task was woken between two rounds. */
function hasEnded(task: TaskState | undefined): boolean {
  return task !== undefined && task.position === '' && task.next_at > 0;
}

async function evictSlice(
  context: MaintenanceContext,
  node: Store,
  limits: EvictionLimits,
  from: Position,
): Promise<Step> {
  const { central, now } = context;
  let excess = from.pass === 'idle' ? -Infinity : await bytesOver(node, limits);
  const idleBefore = limits.idleMilliseconds === undefined ? -Infinity : now() - limits.idleMilliseconds;
  const page = await leastUsed(node.database, from, MANIFESTS);
  const due = page.filter(({ used_at: at }) => excess > 0 || at < idleBefore);
  const roots = due.filter(({ listed }) => listed === 0).slice(0, IMAGES);
  const read = roots.length === 0 ? [] : await imagesAt(node, roots, REFERENCES);
  const isFull = read.length === IMAGES || read.length < roots.length;
  const last = isFull ? roots[read.length - 1] : due.at(-1);
  const isOver = excess > 0;
  const goesOn = last !== undefined && (isFull || (due.length === page.length && page.length === MANIFESTS));

  const images = read.filter((image) => mayLeave(image, from.pass, idleBefore, now()));
  const blobs = [...new Set(images.flatMap((image) => image.blobs.map(({ digest }) => digest)))];
  const unsettled =
    blobs.length === 0 ? new Set<string>() : await answerOf("central's database", unsettledAmong(central, blobs));
  const left: ImageAtNode[] = [];
  for (const image of images) {
    if (image.blobs.some(({ digest }) => unsettled.has(digest))) continue;
    if (excess <= 0 && usedAt(image) >= idleBefore) continue;
    const resumeAt: Position = from.pass === 'idle' ? from : once('awaited');
    if (!(await evictImage(node.database, image, now(), JSON.stringify(resumeAt)))) continue;
    left.push(image);
    excess -= image.blobs.reduce((sum, { size, shared }) => sum + (shared === 1 ? 0 : (size ?? 0)), 0);
  }
  let stopped: string | undefined;
  try {
    const kept = await releaseSlice(context, node, left);
    stopped = kept === undefined ? from.stopped : (kept ?? undefined);
  } catch (error) {
    if (!(error instanceof Stopped) || from.pass === 'idle') throw error;
    return { next: once('awaited'), stopped: error.message };
  }
  const { pass } = from;
  if (goesOn) {
    const { used_at: at, repository, digest } = last;
    return { next: { pass, used_at: at, repository, digest, stopped }, stopped };
  }
  if (pass === 'idle') return { next: await afterIdle(node, limits), stopped };
  return { next: isOver && pass === 1 ? startOf(2, stopped) : undefined, stopped };
}

/**
 * Lets the bytes go of images whose rows have left. Answers what kept some from going, as {@link releaseBlobs}. @throws
 * Stopped
 */
async function releaseSlice(
  context: MaintenanceContext,
  node: Store,
  images: readonly ImageAtNode[],
): Promise<Released['stopped']> {
  let stopped: Released['stopped'];
  const digests = [
    ...new Set(images.flatMap((image) => image.blobs.flatMap(({ digest, size }) => (size === null ? [] : [digest])))),
  ];
  for (let i = 0; i < digests.length; i += DIGESTS) {
    const gone = await releaseBlobs(context, node, digests.slice(i, i + DIGESTS));
    const bytes = gone.left.reduce((sum, { size }) => sum + size, 0);
    if (bytes > 0) await node.database.batch([countMaintenance('evicted_bytes', bytes)]);
    stopped = gone.stopped ?? stopped ?? gone.stopped;
  }
  return stopped;
}

function usedAt({ members }: ImageAtNode): number {
  return members.reduce((latest, { used_at: at }) => Math.max(latest, at), 0);
}

/** By what was read; the transaction that evicts it judges again. */
function mayLeave(image: ImageAtNode, pass: Pass, idleBefore: number, now: number): boolean {
  const root = image.members.find(({ digest }) => digest === image.digest);
  if (root === undefined) return false;
  if (pass !== 2 && usedAt(image) >= idleBefore && usedAt(image) >= root.used_at + HOUR) return false;
  return image.blobs.every(({ lease_until: lease, shared }) => shared === 1 || lease === null || lease <= now);
}
