/**
 * Collecting at a node: what nothing there needs, with central's release.
 *
 * Invariant 5: bytes that only a node has may be what central's manifests live by. So they go under central's
 * conditions, or because central has them itself; `release.ts` is the way there.
 */
import type { Task } from '../round.ts';
import { releaseBlobs } from './release.ts';
import { removeUnreferenced } from './unreferenced.ts';

export const collectNode: Task = {
  name: 'collect',
  at: 'node',
  every: ({ graceMilliseconds }) => graceMilliseconds / 4,
  slice(context, node, { position }) {
    return removeUnreferenced(node, position, context.now(), async (unreferenced) => {
      const digests = unreferenced.filter(({ store }) => store === node.name).map(({ digest }) => digest);
      return (await releaseBlobs(context, node, digests)).stopped;
    });
  },
};
