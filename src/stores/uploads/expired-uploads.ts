/** Removing upload sessions that have expired: those that never finished, and the rows that kept finished ones from reviving. */
import type { Piece } from './blob-writer.ts';
import type { Store } from '../store.ts';
import {
  closeUpload,
  deleteChunks,
  deleteExpiredWithoutChunks,
  deleteUpload,
  expiredWithChunks,
  selectChunks,
} from './upload-rows.ts';
import { logFailure } from '../../log.ts';

/** Rows of sessions without objects that one run removes. */
const ROWS_PER_RUN = 10_000;

/** Sessions with objects that one run removes: three round trips each. */
const SESSIONS_PER_RUN = 100;

/**
 * Removes expired sessions of a store, and their objects; one that fails is left for the next time.
 * @param now milliseconds since the epoch
 * @param objects false: those with objects stay. To a database that was restored to an earlier moment, a blob's only bytes
 * can look like a chunk of a session that was open then
 * @returns how many are gone
 */
export async function removeExpiredUploads({ name, database, bucket }: Store, now: number, objects: boolean): Promise<number> {
  let removed = await deleteExpiredWithoutChunks(database, now, ROWS_PER_RUN);
  if (!objects) return removed;
  for (const id of await expiredWithChunks(database, now, SESSIONS_PER_RUN, ROWS_PER_RUN)) {
    try {
      // Whoever is about to finish it comes too late from here on.
      const [, , chunks] = await database.batch<[object, object, Piece]>([
        ...closeUpload(id, name, crypto.randomUUID()),
        selectChunks(id),
      ]);
      await bucket.delete(chunks.map(({ key }) => key));
      await database.batch([deleteChunks(id), deleteUpload(id)]);
      removed++;
    } catch (error) {
      logFailure({ upload: id, error: String(error) });
    }
  }
  return removed;
}
