/**
 * Collecting at a node: what nothing there needs, with central's consent.
 *
 * Invariant 5: bytes that only a node has may be what central's manifests live by. So they go under central's conditions,
 * or because central has them itself; `let-go.ts` is the way there.
 */
import type { Store } from '../../stores/store.ts';
import type { GcContext } from '../context.ts';
import { deleteDeparted } from './delete-objects.ts';
import { HeardNodes } from './replication-lag.ts';
import { letGo } from './release.ts';
import { goRound } from '../round.ts';
import { removeUnused } from './unreferenced.ts';

/** Collects until a round ends, something stops it, or there is no more time. Can be killed anywhere, and repeated. */
export async function collectNode(context: GcContext, node: Store): Promise<void> {
  const { graceMilliseconds, now } = context;
  const heard = new HeardNodes(context);
  await goRound(node, 'collect', graceMilliseconds / 4, context, (position) =>
    removeUnused(node, position, now(), async (unused) => {
      const digests = unused.filter(({ store }) => store === node.name).map(({ digest }) => digest);
      return (await letGo(context, node, digests, heard)).stopped;
    }),
  );
  await deleteDeparted(node, context);
}
