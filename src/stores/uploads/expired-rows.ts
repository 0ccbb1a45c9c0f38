/**
 * The rows of upload sessions that have expired. A session expires here with its whole hour, so that none is looked at
 * before it can go; its reference is refused exactly on time.
 */
import { HOUR } from '../../durations.ts';
import { type BoundStatement, type Database, sql } from '../database.ts';
import { paged } from '../rows-read.ts';
import { deleteChunks, isUpload, KEEP_BLOB, type UploadIdentity, uploadKey } from './upload-rows.ts';

const HAS_OBJECTS = `((u.key IS NOT NULL AND (u.state <> 'finished' OR u.leftover = 1))
  OR EXISTS (SELECT 1 FROM upload_chunks WHERE upload = u.id))`;

const SELECT_EXPIRED_WITH_OBJECTS = sql<UploadIdentity>`
  SELECT u.id, u.repository, u.expires_at AS expiresAt FROM (SELECT * FROM uploads
    WHERE hour < CAST(?1 AS INTEGER) ORDER BY hour, repository, id LIMIT CAST(?3 AS INTEGER)) AS u
  WHERE ${HAS_OBJECTS} LIMIT CAST(?2 AS INTEGER)`.reading(paged(3, 4));

const EXPIRED_AFTER = `hour < CAST(?1 AS INTEGER) AND (hour, repository, id) > (CAST(?3 AS INTEGER), ?4, ?5)
  ORDER BY hour, repository, id`;

const SELECT_END_OF_EXPIRED = sql<ExpiredPosition>`
  SELECT hour, repository, id FROM uploads WHERE ${EXPIRED_AFTER} LIMIT 1 OFFSET CAST(?2 AS INTEGER) - 1`.reading(
  paged(2),
);

const DELETE_EXPIRED_WITHOUT_OBJECTS = sql<{ id: string }>`
  DELETE FROM uploads WHERE (hour, repository, id) IN (SELECT u.hour, u.repository, u.id FROM (
    SELECT * FROM uploads WHERE ${EXPIRED_AFTER} LIMIT CAST(?2 AS INTEGER)) AS u WHERE NOT ${HAS_OBJECTS})
  RETURNING id`.reading(paged(2, 12));

const CLOSE_UPLOAD = sql`
  UPDATE uploads SET state = iif(state = 'open', 'cancelled', state), write_id = ?5, ${KEEP_BLOB} WHERE ${isUpload()}`;

const DELETE_UPLOAD = sql`DELETE FROM uploads WHERE ${isUpload()}`;

/**
 * Closes a session in any state, so that no request can take its objects from here on. An object that has become a
 * blob's is not among them.
 */
export function closeUpload(upload: UploadIdentity, store: string, writeId: string): BoundStatement {
  return [CLOSE_UPLOAD, ...uploadKey(upload), store, writeId];
}

/** Removes the rows of a session whose objects are gone. */
export function deleteUpload(upload: UploadIdentity): BoundStatement[] {
  return [deleteChunks(upload), [DELETE_UPLOAD, ...uploadKey(upload)]];
}

/**
 * Returns expired sessions that still have objects, oldest first, at most `limit`.
 * @param among how many expired sessions are examined
 */
export async function expiredWithObjects(
  database: Database,
  now: number,
  limit: number,
  among: number,
): Promise<UploadIdentity[]> {
  return database.all(SELECT_EXPIRED_WITH_OBJECTS, Math.floor(now / HOUR), limit, among);
}

/** A position among expired sessions, in the order of the primary key. */
export interface ExpiredPosition {
  readonly hour: number;
  readonly repository: string;
  readonly id: string;
}

export const FIRST_EXPIRED: ExpiredPosition = { hour: 0, repository: '', id: '' };

/**
 * Examines the next `limit` expired sessions after `from`, and removes the rows of those without objects. Most have no
 * objects, because a finished upload has none. Returns how many it removed, and the session after which to continue;
 * undefined if that was all.
 */
export async function deleteExpiredWithoutObjects(
  database: Database,
  now: number,
  limit: number,
  from: ExpiredPosition,
): Promise<{ readonly removed: number; readonly last: ExpiredPosition | undefined }> {
  const page = [Math.floor(now / HOUR), limit, from.hour, from.repository, from.id] as const;
  const { end, removed } = await database.batch({
    end: [SELECT_END_OF_EXPIRED, ...page],
    removed: [DELETE_EXPIRED_WITHOUT_OBJECTS, ...page],
  });
  return { removed: removed.length, last: end[0] };
}
