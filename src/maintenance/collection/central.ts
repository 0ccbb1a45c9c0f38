/**
 * Collecting at central: blobs that no live manifest of a linking repository references, and that nobody was promised.
 *
 * Invariant 5: first the rows go, in one transaction whose deleting statement states every condition, and their keys are
 * kept there; then the objects. Nothing goes while a node lags or does not answer (`heard-nodes.ts`). Manifests that are
 * alive are never collected, tagged or not: so children of a live index and referrers of a live subject stay.
 */
import { collectBlobs } from './collection-rows.ts';
import type { GcContext } from '../context.ts';
import { deleteDeparted } from './delete-objects.ts';
import { HeardNodes } from './replication-lag.ts';
import { goRound } from '../round.ts';
import { removeUnused } from './unreferenced.ts';

/** Collects until a round ends, something stops it, or there is no more time. Can be killed anywhere, and repeated. */
export async function collectCentral(context: GcContext): Promise<void> {
  const { central, graceMilliseconds, now } = context;
  const heard = new HeardNodes(context);
  await goRound(central, 'collect', graceMilliseconds / 4, context, async (position) => {
    await heard.require();
    return removeUnused(central, position, now(), async (unused) => {
      await heard.require();
      await central.database.batch(collectBlobs(central.name, unused, now()));
      return undefined;
    });
  });
  await deleteDeparted(central, context);
}
