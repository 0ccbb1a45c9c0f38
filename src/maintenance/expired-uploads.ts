/** Removes upload sessions that have expired: those that never finished, and the rows that kept finished ones from reviving. */
import { logFailure } from '../log.ts';
import type { Store } from '../stores/store.ts';
import type { Piece } from '../stores/uploads/blob-writer.ts';
import {
  closeUpload,
  deleteChunks,
  deleteExpiredWithoutChunks,
  deleteUpload,
  expiredWithChunks,
  selectChunks,
} from '../stores/uploads/upload-rows.ts';
import type { Task } from './round.ts';

/** Rows of sessions without objects that one run removes. */
const ROWS = 10_000;

/** Sessions with objects that one run removes: three round trips each. */
const SESSIONS = 100;

export const expiredUploads: Task = {
  name: 'uploads',
  at: 'every store',
  every: () => 0,
  async slice({ now, collects }, store) {
    const at = now();
    let removed = await deleteExpiredWithoutChunks(store.database, at, ROWS);
    // To a database that was restored to an earlier moment, a blob's only bytes can look like a chunk of a session of then.
    const withObjects = collects ? await expiredWithChunks(store.database, at, SESSIONS, ROWS) : [];
    for (const id of withObjects) {
      try {
        await removeSession(store, id);
        removed++;
      } catch (error) {
        logFailure({ upload: id, error: String(error) });
      }
    }
    return removed === 0 ? undefined : { position: undefined, counts: { removed_uploads: removed } };
  },
};

async function removeSession({ name, database, bucket }: Store, id: string): Promise<void> {
  // A client that is about to finish it comes too late from here on.
  const [, , chunks] = await database.batch<[object, object, Piece]>([
    ...closeUpload(id, name, crypto.randomUUID()),
    selectChunks(id),
  ]);
  await bucket.delete(chunks.map(({ key }) => key));
  await database.batch([deleteChunks(id), deleteUpload(id)]);
}
