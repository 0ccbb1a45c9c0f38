/**
 * Evicts images from a node if nobody has pulled them there for long, or if the node is over its limit of bytes. Images
 * are evicted whole, least recently pulled first, and only if central has all of their bytes.
 *
 * An image is a manifest that no live index lists, with everything that it lists. Its rows are removed first, in one
 * transaction (`eviction-rows.ts`), then the bytes that nothing else at the node needs (`release.ts`). If the run is
 * killed in between, the node's collection removes those bytes. An image whose bytes a client was promised stays until
 * the promise ends.
 *
 * A round first evicts idle images. If the node is then over its limit, it is collected, so that unneeded bytes leave
 * before useful ones. More images are evicted, until the rest fits, only after a whole round of collection has ended.
 * If an eviction is cut short, the node is collected again first, since the bytes that it left behind are unneeded too.
 */
import { HOUR } from '../../durations.ts';
import type { EvictionLimits } from '../../config.ts';
import {
  evictImage,
  type ImageAtNode,
  imagesAt,
  leastUsed,
  unsettledAmong,
  type UsePosition,
} from './eviction-rows.ts';
import { countStoredBytes, stopCountingStoredBytes, storedBytes } from './stored-bytes-rows.ts';
import { countMaintenance, type TaskState, taskState, wakeTask } from '../task-rows.ts';
import { OutOfStatements } from '../../stores/statement-meter.ts';
import type { Store } from '../../stores/store.ts';
import { collectNode } from '../collection/node.ts';
import type { MaintenanceContext } from '../context.ts';
import { releaseBlobs, type ReleaseResult } from '../collection/release.ts';
import { goRound, type Slice, type Task } from '../round.ts';
import { answerOf, Stopped } from '../stopped.ts';

/** Manifests that one slice looks at. */
const MANIFESTS = 200;
/** Images that one slice evicts. */
const IMAGES = 10;

/** References of the images that one slice reads. A single image may have more. */
const REFERENCES = 20_000;

/** Digests that one call releases. */
const DIGESTS = 5000;

/**
 * The start of a slice among the images. With `collection`, the slice starts once a round of collection has ended.
 *
 * Idle images are evicted first. The first pass after that keeps images whose children were pulled more recently than
 * the image itself, since these are less idle than they look. If that does not make enough room, a second pass takes
 * those too.
 */
interface Position extends UsePosition {
  readonly pass: Pass;
  readonly collection?: Collection;
  /** The reason why an earlier slice of the round did not remove bytes. */
  readonly stopped?: string | undefined;
}

/** The position of a round that has yet to count what the node holds. */
const COUNTING = 'counting';

type Pass = 'idle' | 1 | 2;
type Collection = 'awaited' | 'begun';

const startOf = (pass: Pass, stopped?: string): Position => ({
  pass,
  used_at: -1,
  repository: '',
  digest: '',
  stopped,
});
const afterCollection = (collection: Collection): Position => ({ ...startOf(1), collection });

export const evict: Task = {
  name: 'evict',
  at: 'node',
  every: () => HOUR / 4,
  // The rest of the pass is for collection.
  share: 10_000,
  async slice(context, node, { position }) {
    const limits = context.evictionLimits.get(node.name);
    if (limits?.bytes === undefined && limits?.idleMilliseconds === undefined) return undefined;
    const isStart = position === '' || position === COUNTING;
    if (isStart) {
      if (limits.bytes === undefined) await stopCountingStoredBytes(node);
      else if (!(await countStoredBytes(node))) return { position: COUNTING };
    }
    const from = isStart ? await firstOf(node, limits) : (JSON.parse(position) as Position);
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
  return (await bytesOver(node, limits)) > 0 ? afterCollection('awaited') : undefined;
}

/** Returns the bytes that the node holds above its limit: 0 or less if they fit, minus infinity without a limit. */
async function bytesOver(node: Store, { bytes: limit }: EvictionLimits): Promise<number> {
  return limit === undefined ? -Infinity : (await storedBytes(node)) - limit;
}

interface Step extends Pick<Slice, 'stopped'> {
  readonly next: Position | undefined;
}

/**
 * Runs the node's collection and waits for a round that began after the request; a round already running does not
 * count. If collection fails, the round of eviction ends.
 */
async function collectFirst(context: MaintenanceContext, node: Store, collection: Collection): Promise<Step> {
  const task = await taskState(node.database, 'collect');
  if (collection === 'awaited' && (task === undefined || task.position === '')) {
    await node.database.batch([wakeTask('collect')]);
    return { next: afterCollection('begun') };
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
    if (error instanceof OutOfStatements) throw error;
    return { next: undefined, stopped: `collecting before eviction failed: ${String(error)}` };
  }
  const after = await taskState(node.database, 'collect');
  if (collection === 'begun' && hasEnded(after)) return { next: startOf(1) };
  if (isOutOfTime || (collection === 'awaited' && after?.position === '')) return { next: afterCollection(collection) };
  return { next: undefined, stopped: after?.stopped ?? undefined };
}

/** Whether a round has ended since {@link wakeTask} made the task due between two rounds. */
function hasEnded(task: TaskState | undefined): boolean {
  return task !== undefined && task.position === '' && task.next_at > 0;
}

async function evictSlice(
  context: MaintenanceContext,
  node: Store,
  limits: EvictionLimits,
  from: Position,
): Promise<Step> {
  const { central, now, mayGoOn } = context;
  let excess = from.pass === 'idle' ? -Infinity : await bytesOver(node, limits);
  const idleBefore = limits.idleMilliseconds === undefined ? -Infinity : now() - limits.idleMilliseconds;
  const page = await leastUsed(node.database, from, MANIFESTS);
  const due = page.filter(({ used_at: at }) => excess > 0 || at < idleBefore);
  const roots = due.filter(({ listed }) => listed === 0).slice(0, IMAGES);
  const read = roots.length === 0 ? [] : await imagesAt(node, roots, REFERENCES);
  const isFull = read.length === IMAGES || read.length < roots.length;
  let last: UsePosition | undefined = isFull ? roots[read.length - 1] : due.at(-1);
  const isOver = excess > 0;
  let goesOn = last !== undefined && (isFull || (due.length === page.length && page.length === MANIFESTS));

  const images = read.filter((image) => mayLeave(image, from.pass, idleBefore, now()));
  const blobs = [...new Set(images.flatMap((image) => image.blobs.map(({ digest }) => digest)))];
  const unsettled =
    blobs.length === 0 ? new Set<string>() : await answerOf("central's database", unsettledAmong(central, blobs));
  const evicted: ImageAtNode[] = [];
  let reached: UsePosition | undefined;
  for (const image of images) {
    // Every slice takes at least one image, so that it gets further.
    if (reached !== undefined && !mayGoOn()) {
      last = reached;
      goesOn = true;
      break;
    }
    reached = roots[read.indexOf(image)];
    if (image.blobs.some(({ digest }) => unsettled.has(digest))) continue;
    if (excess <= 0 && usedAt(image) >= idleBefore) continue;
    const resumeAt: Position = from.pass === 'idle' ? from : afterCollection('awaited');
    if (!(await evictImage(node.database, image, now(), JSON.stringify(resumeAt)))) continue;
    evicted.push(image);
    excess -= image.blobs.reduce((sum, { size, shared }) => sum + (shared === 1 ? 0 : (size ?? 0)), 0);
  }
  let stopped: string | undefined;
  try {
    const kept = await releaseSlice(context, node, evicted);
    stopped = kept === undefined ? from.stopped : (kept ?? undefined);
  } catch (error) {
    if (!(error instanceof Stopped) || from.pass === 'idle') throw error;
    return { next: afterCollection('awaited'), stopped: error.message };
  }
  const { pass } = from;
  if (goesOn && last !== undefined) {
    const { used_at: at, repository, digest } = last;
    return { next: { pass, used_at: at, repository, digest, stopped }, stopped };
  }
  if (pass === 'idle') return { next: await afterIdle(node, limits), stopped };
  return { next: isOver && pass === 1 ? startOf(2, stopped) : undefined, stopped };
}

/**
 * Removes the bytes of images whose rows are removed. Returns the reason why some bytes stay, as {@link releaseBlobs}
 * does.
 * @throws Stopped if a database does not answer
 */
async function releaseSlice(
  context: MaintenanceContext,
  node: Store,
  images: readonly ImageAtNode[],
): Promise<ReleaseResult['stopped']> {
  let stopped: ReleaseResult['stopped'];
  const digests = [
    ...new Set(images.flatMap((image) => image.blobs.flatMap(({ digest, size }) => (size === null ? [] : [digest])))),
  ];
  for (let i = 0; i < digests.length; i += DIGESTS) {
    const gone = await releaseBlobs(context, node, digests.slice(i, i + DIGESTS));
    const bytes = gone.removed.reduce((sum, { size }) => sum + size, 0);
    if (bytes > 0) await node.database.batch([countMaintenance('evicted_bytes', bytes)]);
    stopped = gone.stopped ?? stopped ?? gone.stopped;
  }
  return stopped;
}

function usedAt({ members }: ImageAtNode): number {
  return members.reduce((latest, { used_at: at }) => Math.max(latest, at), 0);
}

/** Whether the image may be evicted, judged by the rows read so far. The evicting transaction judges again. */
function mayLeave(image: ImageAtNode, pass: Pass, idleBefore: number, now: number): boolean {
  const root = image.members.find(({ digest }) => digest === image.digest);
  if (root === undefined) return false;
  if (pass !== 2 && usedAt(image) >= idleBefore && usedAt(image) >= root.used_at + HOUR) return false;
  return image.blobs.every(({ lease_until: lease, shared }) => shared === 1 || lease === null || lease <= now);
}
