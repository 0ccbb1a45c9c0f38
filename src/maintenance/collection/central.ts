/**
 * Collects at central the blobs that no live manifest of a linking repository references and that no client was
 * promised.
 *
 * Invariant 5: one transaction deletes the rows and queues their keys, and its deleting statement states every
 * condition. The objects are deleted later (`delete-objects.ts`). Nothing is collected while a node lags or does not
 * answer (`replication-lag.ts`). Live manifests are never collected, tagged or not, so children of a live index and
 * referrers of a live subject stay.
 */
import type { Task } from '../round.ts';
import { collectBlobs } from './collection-rows.ts';
import { removeUnreferenced } from './unreferenced.ts';

export const collectCentral: Task = {
  name: 'collect',
  at: 'central',
  every: ({ graceMilliseconds }) => graceMilliseconds / 4,
  async slice({ lag, now }, central, { position }) {
    await lag.requireShort();
    return removeUnreferenced(central, position, now(), async (unreferenced) => {
      await lag.requireShort();
      await central.database.batch(collectBlobs(central.name, unreferenced, now()));
      return undefined;
    });
  },
};
