/**
 * Collects the content that a node does not need, once central has released it.
 *
 * Invariant 5: central's manifests may depend on bytes that only a node has. So a node's bytes are deleted only if
 * central could collect them as well, or has its own copy. See `release.ts`.
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
