/** Removes upload sessions that have expired. Where the configuration does not collect, those with objects stay. */
import { removeExpiredUploads } from '../stores/uploads/expired-uploads.ts';
import type { Task } from './round.ts';

export const expiredUploads: Task = {
  name: 'uploads',
  at: 'every store',
  every: () => 0,
  async slice({ now, collects }, store) {
    const removed = await removeExpiredUploads(store, now(), collects);
    return removed === 0 ? undefined : { position: undefined, counts: { removed_uploads: removed } };
  },
};
