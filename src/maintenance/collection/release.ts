/** Letting a node's bytes go: marked at the node, consented to by central, removed at the node. See `consent-rows.ts`. */
import type { Digest } from '../../oci/digest.ts';
import { leaseTimes } from '../../stores/blob-rows.ts';
import { consent, leave, type Left, markLeaving } from './release-rows.ts';
import type { Store } from '../../stores/store.ts';
import type { GcContext } from '../context.ts';
import type { HeardNodes } from './replication-lag.ts';
import { answerOf, Stopped } from '../round.ts';

/** After its row has gone, an object stays for who is reading it. */
const HOUR = 3_600_000;

export interface LetGo {
  readonly left: readonly Left[];
  /** Why central consented only to what it has itself; null where that was no less than all, undefined where nothing was asked. */
  readonly stopped: string | null | undefined;
}

/** Of some blobs of a node, those go that nothing at the node needs and that central can spare. @throws Stopped */
export async function letGo(
  { central, now, graceMilliseconds }: GcContext,
  node: Store,
  digests: readonly Digest[],
  heard: HeardNodes,
): Promise<LetGo> {
  const token = crypto.randomUUID();
  const marked = await markLeaving(node, digests, token, now());
  if (marked.length === 0) return { left: [], stopped: undefined };
  const stopped = await heard.require().then(
    () => null,
    (error: unknown) => {
      if (error instanceof Stopped) return error.message;
      throw error;
    },
  );
  const { until } = leaseTimes(now(), graceMilliseconds);
  const given = await answerOf("central's database", consent(central, node.name, marked, stopped === null, now(), until));
  const at = now();
  const left = await leave(node, marked, given, token, at, at + HOUR);
  return { left, stopped: given.length < marked.length ? stopped : null };
}
