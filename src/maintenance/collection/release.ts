/**
 * Removes a node's bytes: the node marks them, central releases them, and the node removes them. See `release-rows.ts`.
 */
import { HOUR } from '../../durations.ts';
import type { Digest } from '../../oci/digest.ts';
import { leaseTimes } from '../../stores/blob-rows.ts';
import { markReleasing, release, type RemovedBlob, removeReleased } from './release-rows.ts';
import type { Store } from '../../stores/store.ts';
import type { MaintenanceContext } from '../context.ts';
import { answerOf, Stopped } from '../stopped.ts';

/** The time for which an object outlives its row, for clients that are still reading it. */
const READERS_MILLISECONDS = HOUR;

export interface ReleaseResult {
  readonly removed: readonly RemovedBlob[];
  /**
   * The reason why collection was not allowed, if that kept central from releasing some of the blobs; null if it did
   * not; undefined if there was nothing to release.
   */
  readonly stopped: string | null | undefined;
}

/**
 * Removes those of a node's blobs that nothing at the node needs and that central can spare.
 * @throws Stopped if a database does not answer
 */
export async function releaseBlobs(
  { central, lag, now, graceMilliseconds }: MaintenanceContext,
  node: Store,
  digests: readonly Digest[],
): Promise<ReleaseResult> {
  const token = crypto.randomUUID();
  const marked = await markReleasing(node, digests, token, now());
  if (marked.length === 0) return { removed: [], stopped: undefined };
  const stopped = await lag.requireShort().then(
    () => null,
    (error: unknown) => {
      if (error instanceof Stopped) return error.message;
      throw error;
    },
  );
  const { until } = leaseTimes(now(), graceMilliseconds);
  const released = await answerOf(
    "central's database",
    release(central, node.name, marked, stopped === null, now(), until),
  );
  const at = now();
  const removed = await removeReleased(node, marked, released, token, at, at + READERS_MILLISECONDS);
  return { removed, stopped: released.length < marked.length ? stopped : null };
}
