/**
 * A node's registry combines the node's store with central's. Writes go only to the node's store. Reads merge the rows
 * of both stores before deciding what is visible. Deletions go through central, and reach the node's store before they
 * are answered.
 *
 * While central is unavailable, the node serves what it has. It answers 503 for anything that it lacks: a 404 would be
 * wrong if central has it. The exception is a HEAD from a caller who may push: it gets 404, so that the client uploads.
 */
import type { Store } from '../../stores/store.ts';
import { Uploads } from '../../stores/uploads/uploads.ts';
import { joined } from '../parts.ts';
import type { Registry } from '../registry.ts';
import { StoredRegistry } from '../stored.ts';
import { FederatedBlobs } from './blobs.ts';
import type { FederatedOptions } from './central.ts';
import { FederatedDeletions } from './deletions.ts';
import { FederatedImages } from './images.ts';
import { FederatedLists } from './lists.ts';
import { FederatedManifests } from './manifests.ts';
import { FederatedPushes } from './pushes.ts';

export function federatedRegistry(node: Store, central: Store, options: FederatedOptions): Registry {
  const federation = { node, central, options };
  const manifests = new FederatedManifests(federation);
  const blobs = new FederatedBlobs(federation, new StoredRegistry(node, options));
  return joined(
    manifests,
    blobs,
    new FederatedPushes(federation, manifests, blobs),
    new FederatedDeletions(federation),
    new FederatedLists(federation),
    new FederatedImages(federation),
    new Uploads(node, options),
  );
}
