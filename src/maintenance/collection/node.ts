/**
 * Collecting at a node: what nothing there needs, with central's consent.
 *
 * Invariant 5: bytes that only a node has may be what central's manifests live by. So they go under central's conditions,
 * or because central has them itself; `release.ts` is the way there.
 */
import type { Task } from '../round.ts';
import { letGo } from './release.ts';
import { removeUnused } from './unreferenced.ts';

export const collectNode: Task = {
  name: 'collect',
  at: 'node',
  every: ({ graceMilliseconds }) => graceMilliseconds / 4,
  slice(context, node, { position }) {
    return removeUnused(node, position, context.now(), async (unused) => {
      const digests = unused.filter(({ store }) => store === node.name).map(({ digest }) => digest);
      return (await letGo(context, node, digests)).stopped;
    });
  },
};
