/**
 * Finds and removes the rows of upload sessions that are no longer needed. A session's row can go once the session has
 * expired. If the session has ended, its row can go once its first reference can no longer begin anything. Here all
 * sessions of an hour expire together, at its end, so that no row is examined before it can go. References are refused
 * exactly on time.
 */
import { HOUR } from '../../durations.ts';
import { ofRepository } from '../organizations/usage-rows.ts';
import { type BoundStatement, type Database, sql } from '../database.ts';
import { paged } from '../rows-read.ts';
import { SESSION_MILLISECONDS, START_MILLISECONDS } from './upload-reference.ts';
import { deleteChunks, isUpload, KEEP_BLOB, type UploadIdentity, uploadKey } from './upload-rows.ts';

const HAS_OBJECTS = `((u.key IS NOT NULL AND (u.state <> 'finished' OR u.leftover = 1))
  OR EXISTS (SELECT 1 FROM upload_chunks WHERE upload = u.id))`;

const SELECT_EXPIRED_WITH_OBJECTS = sql<UploadIdentity>`
  SELECT u.id, u.repository, u.expires_at AS expiresAt FROM (SELECT * FROM uploads
    WHERE hour < CAST(?1 AS INTEGER) ORDER BY hour, repository, id LIMIT CAST(?3 AS INTEGER)) AS u
  WHERE ${HAS_OBJECTS} LIMIT CAST(?2 AS INTEGER)`.reading(paged(3, 4));

const DUE_AFTER = `hour < CAST(?1 AS INTEGER) AND (hour, repository, id) > (CAST(?3 AS INTEGER), ?4, ?5)
  ORDER BY hour, repository, id`;

const SELECT_END_OF_DUE = sql<DuePosition>`
  SELECT hour, repository, id FROM uploads WHERE ${DUE_AFTER} LIMIT 1 OFFSET CAST(?2 AS INTEGER) - 1`.reading(paged(2));

const DUE_WITHOUT_OBJECTS = `(SELECT * FROM uploads WHERE ${DUE_AFTER} LIMIT CAST(?2 AS INTEGER)) AS u
  WHERE (u.hour < CAST(?6 AS INTEGER) OR u.state <> 'open') AND NOT ${HAS_OBJECTS}`;

const SELECT_ANY_DUE = sql<{ due: number }>`SELECT 1 AS due FROM ${DUE_WITHOUT_OBJECTS} LIMIT 1`.reading(paged(2, 12));

// Writes `usage` once for each organization.
const STOP_COUNTING_DUE = sql`
  INSERT INTO usage_added (organization, upload_rows)
  SELECT ${ofRepository('u.repository')}, - sum(u.rows) FROM ${DUE_WITHOUT_OBJECTS} GROUP BY 1`.reading(paged(2, 12));

const DELETE_DUE = sql<{ id: string }>`
  DELETE FROM uploads WHERE (hour, repository, id) IN (SELECT u.hour, u.repository, u.id FROM ${DUE_WITHOUT_OBJECTS})
  RETURNING id`.reading(paged(2, 12));

const CLOSE_UPLOAD = sql`
  UPDATE uploads SET state = iif(state = 'open', 'cancelled', state), write_id = ?5, ${KEEP_BLOB} WHERE ${isUpload()}`;

const STOP_COUNTING = sql`
  INSERT INTO usage_added (organization, upload_rows)
  SELECT ${ofRepository('repository')}, - rows FROM uploads WHERE ${isUpload()}`;

const DELETE_UPLOAD = sql`DELETE FROM uploads WHERE ${isUpload()}`;

/**
 * Closes a session in any state, so that no request can take its objects any more. An object that has become a blob's
 * is not one of them.
 */
export function closeUpload(upload: UploadIdentity, store: string, writeId: string): BoundStatement {
  return [CLOSE_UPLOAD, ...uploadKey(upload), store, writeId];
}

/** Removes the rows of a session whose objects are gone. */
export function deleteUpload(upload: UploadIdentity): BoundStatement[] {
  return [deleteChunks(upload), [STOP_COUNTING, ...uploadKey(upload)], [DELETE_UPLOAD, ...uploadKey(upload)]];
}

/**
 * Returns expired sessions that still have objects, oldest first, at most `limit`.
 * @param among the number of expired sessions that are examined
 */
export async function expiredWithObjects(
  database: Database,
  now: number,
  limit: number,
  among: number,
): Promise<UploadIdentity[]> {
  return database.all(SELECT_EXPIRED_WITH_OBJECTS, Math.floor(now / HOUR), limit, among);
}

/** A position among the sessions that are due, in the order of the primary key. */
export interface DuePosition {
  readonly hour: number;
  readonly repository: string;
  readonly id: string;
}

export const FIRST_DUE: DuePosition = { hour: 0, repository: '', id: '' };

/**
 * Examines the next `limit` sessions after `from` whose first reference can no longer begin anything. Removes the rows
 * of sessions that have expired or ended and have no objects. Most have none, because a finished upload has none.
 * Returns how many it removed, and the session after which to continue; undefined if that was all.
 */
export async function deleteDueWithoutObjects(
  database: Database,
  now: number,
  limit: number,
  from: DuePosition,
): Promise<{ readonly removed: number; readonly last: DuePosition | undefined }> {
  const ended = Math.floor((now + SESSION_MILLISECONDS - START_MILLISECONDS) / HOUR);
  const page = [ended, limit, from.hour, from.repository, from.id] as const;
  const expired = Math.floor(now / HOUR);
  const { end, due } = await database.batch({
    end: [SELECT_END_OF_DUE, ...page],
    due: [SELECT_ANY_DUE, ...page, expired],
  });
  if (due.length === 0) return { removed: 0, last: end[0] };
  const { removed } = await database.batch({
    counted: [STOP_COUNTING_DUE, ...page, expired],
    removed: [DELETE_DUE, ...page, expired],
  });
  return { removed: removed.length, last: end[0] };
}
