/**
 * Removes expired upload sessions: those that never finished, and the rows of finished ones, which kept them from being
 * reused until they expired.
 */
import { MINUTE } from '../durations.ts';
import { logFailure } from '../log.ts';
import type { Store } from '../stores/store.ts';
import {
  closeUpload,
  deleteChunks,
  deleteExpiredWithoutChunks,
  deleteUpload,
  type ExpiredPosition,
  expiredWithChunks,
  FIRST_EXPIRED,
  selectChunks,
} from '../stores/uploads/upload-rows.ts';
import type { Task } from './round.ts';

/** Sessions without objects that one run removes. */
const ROWS = 10_000;

/** Sessions with objects that one run removes. Each takes three round trips. */
const SESSIONS = 100;

export const expiredUploads: Task = {
  name: 'uploads',
  at: 'every store',
  every: () => 0,
  async slice({ now, collects }, store, { position }) {
    const at = now();
    const from = position === '' ? FIRST_EXPIRED : (JSON.parse(position) as ExpiredPosition);
    // Sessions with and without objects are paged separately, so that a session that fails to go delays no other.
    const page = await deleteExpiredWithoutChunks(store.database, at, ROWS, from);
    let { removed } = page;
    // After a database restore, the only copy of a blob's bytes can look like a chunk of an old session. So
    // a registry that does not collect keeps such objects.
    const withObjects = collects ? await expiredWithChunks(store.database, at, SESSIONS, ROWS) : [];
    for (const id of withObjects) {
      try {
        await removeSession(store, id);
        removed++;
      } catch (error) {
        logFailure({ upload: id, error: String(error) });
      }
    }
    const { last } = page;
    if (removed === 0 && last === undefined && position === '') return undefined;
    // Each run removes one page.
    return { position: last && JSON.stringify(last), notBefore: at + MINUTE / 2, counts: { removed_uploads: removed } };
  },
};

async function removeSession({ name, database, bucket }: Store, id: string): Promise<void> {
  // Closing the session first makes a client's closing request fail from here on.
  const { chunks } = await database.batch({
    close: closeUpload(id, name, crypto.randomUUID()),
    chunks: selectChunks(id),
  });
  await bucket.delete(chunks.map(({ key }) => key));
  await database.batch([deleteChunks(id), deleteUpload(id)]);
}
