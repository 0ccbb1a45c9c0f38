/** Removing upload sessions that have expired: those that never finished, and the rows that kept finished ones from reviving. */
import type { Store } from '../store.ts';
import {
  closeUpload,
  deleteChunks,
  deleteExpiredWithoutChunks,
  deleteUpload,
  type ExpiredPosition,
  expiredWithChunks,
  FIRST_EXPIRED,
  selectChunks,
} from './upload-rows.ts';
import { logFailure } from '../../log.ts';

/** Sessions that one run looks at for those without objects, and for those with objects. */
const ROWS_PER_RUN = 10_000;

/** Sessions with objects that one run removes: three round trips each. */
const SESSIONS_PER_RUN = 100;

/**
 * Removes expired sessions of a store, and their objects; one that fails is left for the next time. Sessions with and without
 * objects are paged apart: those that stay keep no others waiting.
 * @param now milliseconds since the epoch
 * @param objects false: those with objects stay. To a database that was restored to an earlier moment, a blob's only bytes
 * can look like a chunk of a session that was open then
 * @param from after which session to look for those without objects
 * @returns how many are gone, and `from` of the next run; undefined where that starts again
 */
export async function removeExpiredUploads(
  { name, database, bucket }: Store,
  now: number,
  objects: boolean,
  from = FIRST_EXPIRED,
): Promise<{ readonly removed: number; readonly last: ExpiredPosition | undefined }> {
  const page = await deleteExpiredWithoutChunks(database, now, ROWS_PER_RUN, from);
  if (!objects) return page;
  let { removed } = page;
  for (const id of await expiredWithChunks(database, now, SESSIONS_PER_RUN, ROWS_PER_RUN)) {
    try {
      // Whoever is about to finish it comes too late from here on.
      const { chunks } = await database.batch({
        close: closeUpload(id, name, crypto.randomUUID()),
        chunks: selectChunks(id),
      });
      await bucket.delete(chunks.map(({ key }) => key));
      await database.batch([deleteChunks(id), deleteUpload(id)]);
      removed++;
    } catch (error) {
      logFailure({ upload: id, error: String(error) });
    }
  }
  return { removed, last: page.last };
}
