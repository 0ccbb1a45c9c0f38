/**
 * The registry of a namespace whose organizations may be mirrors. It stands above another, `stored.ts` or
 * `federated/`: it serves what that one has, and asks the upstream for what a mirror's repository lacks.
 *
 * A mirror's manifest is stored like any push, once all its blobs are, so everything beneath holds for it as well. Until
 * then it is served as the upstream gave it. The digest of a tag comes from the mirror, not from the stored tag, which
 * may be older.
 */
import { joined } from '../parts.ts';
import type { Registry } from '../registry.ts';
import type { Layer } from './layer.ts';
import { MirroredDeletions } from './deletions.ts';
import { MirroredLists } from './lists.ts';
import { MirroredPushes } from './pushes.ts';
import { MirroredReads } from './reads.ts';

export function mirroredRegistry(layer: Layer): Registry {
  const reads = new MirroredReads(layer);
  return joined(
    reads,
    new MirroredPushes(layer),
    new MirroredDeletions(layer, reads),
    new MirroredLists(layer),
    layer.beneath,
  );
}
