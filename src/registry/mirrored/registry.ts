/**
 * The registry of a namespace whose organizations may be mirrors. It stands above another, `stored.ts` or
 * `federated/`. It asks the upstream for content that a mirror's repository lacks there.
 *
 * The mirror stores a manifest like a push, after its blobs. Until then it serves the upstream's bytes. The digest of a
 * tag comes from the mirror, because the stored tag may be older.
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
