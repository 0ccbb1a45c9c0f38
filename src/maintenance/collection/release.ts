/**
 * Letting a node's bytes go: marked at the node, released to by central, removed at the node. See `release-rows.ts`.
 */
import { HOUR } from '../../durations.ts';
import type { Digest } from '../../oci/digest.ts';
import { leaseTimes } from '../../stores/blob-rows.ts';
import { release, leave, type Left, markReleasing } from './release-rows.ts';
import type { Store } from '../../stores/store.ts';
import type { MaintenanceContext } from '../context.ts';
import { answerOf, Stopped } from '../stopped.ts';

/** After its row has gone, an object stays for who is reading it. */
const READERS_MILLISECONDS = HOUR;

export interface Released {
  readonly left: readonly Left[];
  /**
   * Why central released only to what it has itself; null where that was no less than all, undefined where nothing was
   * asked.
   */
  readonly stopped: string | null | undefined;
}

/** Of some blobs of a node, those go that nothing at the node needs and that central can spare. @throws Stopped */
export async function releaseBlobs(
  { central, lag, now, graceMilliseconds }: MaintenanceContext,
  node: Store,
  digests: readonly Digest[],
): Promise<Released> {
  const token = crypto.randomUUID();
  const marked = await markReleasing(node, digests, token, now());
  if (marked.length === 0) return { left: [], stopped: undefined };
  const stopped = await lag.requireShort().then(
    () => null,
    (error: unknown) => {
      if (error instanceof Stopped) return error.message;
      throw error;
    },
  );
  const { until } = leaseTimes(now(), graceMilliseconds);
  const given = await answerOf(
    "central's database",
    release(central, node.name, marked, stopped === null, now(), until),
  );
  const at = now();
  const left = await leave(node, marked, given, token, at, at + READERS_MILLISECONDS);
  return { left, stopped: given.length < marked.length ? stopped : null };
}
