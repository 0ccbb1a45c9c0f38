/**
 * The rows of upload sessions and their chunks.
 *
 * A session's row appears with its first chunk, its completion or its cancellation. It stays until the session has
 * expired, because the reference could revive a session without a row. Every change takes the row by a fresh write id,
 * which is compared and set in one statement; the rest of the batch writes only under that id. So if two requests
 * arrive for the same offset, one wins and the other leaves nothing. A request that would exceed the organization's
 * quota does not take the row either.
 */
import type { Digest } from '../../oci/digest.ts';
import type { RepositoryName } from '../../oci/reference.ts';
import type { Piece } from './blob-writer.ts';
import { type BoundStatement, type Database, sql } from '../database.ts';
import { OciError } from '../../oci/errors.ts';
import { atMost, paged } from '../rows-read.ts';
import { hasTooManyUploads } from '../organizations/organization-limits.ts';
import { addedBy, exceedsQuota } from '../organizations/usage-rows.ts';

export interface UploadRow {
  readonly state: 'open' | 'finished' | 'cancelled';
  /** Bytes received. */
  readonly size: number;
  /** The digest of all bytes so far if one request sent them all, or null; once finished, the digest of the blob. */
  readonly digest: Digest | null;
  /** The write id of the request that last changed the row. */
  readonly write_id: string;
}

/**
 * The most chunks of a session. Closing it reads one object for each, and a request may call R2 and D1 10,000 times.
 * The first chunk is not checked: one body that is written in several objects needs 5 GB to exceed this.
 */
export const MAX_CHUNKS = 9900;

/** SQL that holds if a session has no room for more chunks. */
const hasTooManyChunks = (upload: string, more: string): string => `(SELECT count(*) FROM (
  SELECT 1 FROM upload_chunks WHERE upload = ${upload} LIMIT ${MAX_CHUNKS})) + ${more} > ${MAX_CHUNKS}`;
const readsChunks = atMost(2 * MAX_CHUNKS);

/** The session that a row is for. */
interface UploadIdentity {
  readonly id: string;
  readonly repository: RepositoryName;
  readonly expiresAt: number;
}

// An open session counts with its bytes, whatever they will become. A finished one is a blob, which may count already.
const INSERT_UPLOAD = sql`
  INSERT INTO uploads (id, repository, state, size, digest, write_id, expires_at)
  SELECT ?1, ?2, ?3, CAST(?4 AS INTEGER), ?5, ?6, CAST(?7 AS INTEGER)
  WHERE NOT ${exceedsQuota('?2', `iif(?3 = 'open', ?4, ${addedBy('?5', '?4')})`)}
    AND NOT (?3 = 'open' AND ${hasTooManyUploads('?2')}) ON CONFLICT DO NOTHING`;

const ADVANCE_UPLOAD = sql`
  UPDATE uploads SET size = CAST(?3 AS INTEGER), digest = NULL, write_id = ?4
  WHERE id = ?1 AND state = 'open' AND size = CAST(?2 AS INTEGER)
    AND NOT ${exceedsQuota('uploads.repository', '?3 - ?2')} AND NOT (${hasTooManyChunks('?1', '?5')})`.reading(
  readsChunks,
);

const SELECT_TOO_MANY_CHUNKS = sql`SELECT 1 WHERE ${hasTooManyChunks('?1', '?2')}`.reading(readsChunks);

// The session's bytes become the blob's. The rest of the blob, which this request sent, has not been counted yet.
const FINISH_UPLOAD = sql`
  UPDATE uploads SET state = 'finished', write_id = ?3, digest = ?4
  WHERE id = ?1 AND state = 'open' AND size = CAST(?2 AS INTEGER)
    AND NOT ${exceedsQuota('uploads.repository', addedBy('?4', '?5 - ?2'))}`;

const FINISH_UPLOAD_OF_SINGLE_CHUNK = sql`
  UPDATE uploads SET state = 'finished', write_id = ?4
  WHERE id = ?1 AND state = 'open' AND size = CAST(?2 AS INTEGER) AND digest = ?3
    AND EXISTS (SELECT 1 FROM upload_chunks c WHERE c.upload = ?1 AND c.start = 0 AND c.size = uploads.size)`;

const CANCEL_UPLOAD = sql`
  INSERT INTO uploads (id, repository, state, size, digest, write_id, expires_at)
  VALUES (?1, ?2, 'cancelled', 0, NULL, ?3, CAST(?4 AS INTEGER))
  ON CONFLICT (id) DO UPDATE SET state = 'cancelled', write_id = excluded.write_id WHERE state = 'open'`;

const CLOSE_UPLOAD = sql`UPDATE uploads SET state = 'cancelled', write_id = ?2 WHERE id = ?1`;

const DELETE_CHUNK_THAT_IS_BLOB = sql`
  DELETE FROM upload_chunks WHERE upload = ?1 AND key = (
    SELECT l.key FROM uploads u JOIN locations l ON l.digest = u.digest AND l.store = ?2 WHERE u.id = ?1)`.reading(
  readsChunks,
);

const INSERT_CHUNKS = sql`
  INSERT INTO upload_chunks (upload, start, size, key)
  SELECT ?1, CAST(?3 AS INTEGER) + (piece.value ->> 'start'), piece.value ->> 'size', piece.value ->> 'key'
  FROM json_each(?4) AS piece WHERE EXISTS (SELECT 1 FROM uploads WHERE id = ?1 AND write_id = ?2)
  ON CONFLICT DO NOTHING`;

const SELECT_UPLOAD = sql<UploadRow>`SELECT state, size, digest, write_id FROM uploads WHERE id = ?1`;

const SELECT_CHUNKS = sql<Piece>`SELECT start, size, key FROM upload_chunks WHERE upload = ?1 ORDER BY start`.reading(
  readsChunks,
);

const DELETE_CHUNK_THAT_BECAME_BLOB = sql`
  DELETE FROM upload_chunks
  WHERE upload = ?1 AND key = (SELECT key FROM locations WHERE digest = ?2 AND store = ?3)`.reading(readsChunks);

const DELETE_CHUNKS = sql`DELETE FROM upload_chunks WHERE upload = ?1`.reading(readsChunks);

const SELECT_EXPIRED_WITH_CHUNKS = sql`
  SELECT id FROM (SELECT id FROM uploads WHERE expires_at <= CAST(?1 AS INTEGER) ORDER BY expires_at
    LIMIT CAST(?3 AS INTEGER)) AS expired
  WHERE EXISTS (SELECT 1 FROM upload_chunks WHERE upload = expired.id) LIMIT CAST(?2 AS INTEGER)`.reading(paged(3, 4));

const EXPIRED_AFTER =
  'expires_at <= CAST(?1 AS INTEGER) AND (expires_at, id) > (CAST(?3 AS INTEGER), ?4) ORDER BY expires_at, id';

const SELECT_END_OF_EXPIRED = sql<ExpiredPosition>`
  SELECT expires_at AS expiresAt, id FROM uploads WHERE ${EXPIRED_AFTER}
    LIMIT 1 OFFSET CAST(?2 AS INTEGER) - 1`.reading(paged(2));

const DELETE_EXPIRED_WITHOUT_CHUNKS = sql<{ id: string }>`
  DELETE FROM uploads WHERE id IN (SELECT id FROM uploads WHERE ${EXPIRED_AFTER} LIMIT CAST(?2 AS INTEGER))
  AND NOT EXISTS (SELECT 1 FROM upload_chunks WHERE upload = uploads.id)
  RETURNING id`.reading(paged(2, 12));

const DELETE_UPLOAD = sql`DELETE FROM uploads WHERE id = ?1`;

/** Takes a session that has no row yet, for its first chunk or for a whole blob. */
export function insertUpload(
  upload: UploadIdentity,
  row: {
    readonly state: 'open' | 'finished';
    readonly size: number;
    readonly digest: Digest | null;
    readonly writeId: string;
  },
): BoundStatement {
  return [INSERT_UPLOAD, upload.id, upload.repository, row.state, row.size, row.digest, row.writeId, upload.expiresAt];
}

/** Takes an open session that has exactly `from` bytes and room for `chunks` more, and makes it `to` bytes long. */
export function advanceUpload(id: string, from: number, to: number, writeId: string, chunks: number): BoundStatement {
  return [ADVANCE_UPLOAD, id, from, to, writeId, chunks];
}

/** Returns the error for a session that has no room for `more` chunks; undefined if it has. */
export async function chunksExceeded(database: Database, id: string, more: number): Promise<OciError | undefined> {
  if ((await database.first(SELECT_TOO_MANY_CHUNKS, id, more)) === undefined) return undefined;
  return new OciError('TOO_MANY_CHUNKS', {
    message:
      `an upload has at most ${MAX_CHUNKS} chunks: send the rest in the PUT that closes it, ` +
      'or start it again with larger chunks',
    detail: { limit: MAX_CHUNKS },
  });
}

/**
 * Takes an open session of `size` bytes, and finishes it as a blob.
 * @param whole the bytes of the blob: those of the session and those that the closing request sent
 */
export function finishUpload(id: string, size: number, digest: Digest, writeId: string, whole: number): BoundStatement {
  return [FINISH_UPLOAD, id, size, writeId, digest, whole];
}

/** Finishes an open session only if one chunk is the whole blob and its hash is `digest`. */
export function finishUploadOfSingleChunk(id: string, size: number, digest: Digest, writeId: string): BoundStatement {
  return [FINISH_UPLOAD_OF_SINGLE_CHUNK, id, size, digest, writeId];
}

/** Records chunks of a session that this batch took; `offset` is where the first of them starts. */
export function insertChunks(id: string, writeId: string, offset: number, pieces: readonly Piece[]): BoundStatement {
  return [INSERT_CHUNKS, id, writeId, offset, JSON.stringify(pieces)];
}

export function selectUpload(id: string): BoundStatement<UploadRow> {
  return [SELECT_UPLOAD, id];
}

/** Selects the chunks in the order of their bytes. */
export function selectChunks(id: string): BoundStatement<Piece> {
  return [SELECT_CHUNKS, id];
}

/** Removes the chunk whose object is now the blob's. The chunks that remain after a commit name objects to delete. */
export function deleteChunkThatBecameBlob(id: string, digest: Digest, store: string): BoundStatement {
  return [DELETE_CHUNK_THAT_BECAME_BLOB, id, digest, store];
}

export function deleteChunks(id: string): BoundStatement {
  return [DELETE_CHUNKS, id];
}

export function deleteUpload(id: string): BoundStatement {
  return [DELETE_UPLOAD, id];
}

/** Takes an open session, or one without a row, and cancels it. */
export function cancelUpload(upload: UploadIdentity, writeId: string): BoundStatement {
  return [CANCEL_UPLOAD, upload.id, upload.repository, writeId, upload.expiresAt];
}

/**
 * Closes a session in any state, so that no request can take its objects from here on. Also forgets the chunk that has
 * become a blob, whose object must stay.
 */
export function closeUpload(id: string, store: string, writeId: string): BoundStatement[] {
  return [
    [CLOSE_UPLOAD, id, writeId],
    [DELETE_CHUNK_THAT_IS_BLOB, id, store],
  ];
}

/**
 * Returns the ids of expired sessions that still have objects, oldest first, at most `limit`.
 * @param among how many expired sessions are examined
 */
export async function expiredWithChunks(
  database: Database,
  now: number,
  limit: number,
  among: number,
): Promise<string[]> {
  return (await database.all<{ id: string }>(SELECT_EXPIRED_WITH_CHUNKS, now, limit, among)).map(({ id }) => id);
}

/** A position among expired sessions, oldest first. */
export interface ExpiredPosition {
  /** Milliseconds since the epoch. */
  readonly expiresAt: number;
  readonly id: string;
}

export const FIRST_EXPIRED: ExpiredPosition = { expiresAt: 0, id: '' };

/**
 * Examines the next `limit` expired sessions after `from`, and removes the rows of those without objects. Most have no
 * objects, because a finished upload has none. Returns how many it removed, and the session after which to continue;
 * undefined if that was all.
 */
export async function deleteExpiredWithoutChunks(
  database: Database,
  now: number,
  limit: number,
  from: ExpiredPosition,
): Promise<{ readonly removed: number; readonly last: ExpiredPosition | undefined }> {
  const page = [now, limit, from.expiresAt, from.id] as const;
  const { end, removed } = await database.batch({
    end: [SELECT_END_OF_EXPIRED, ...page],
    removed: [DELETE_EXPIRED_WITHOUT_CHUNKS, ...page],
  });
  return { removed: removed.length, last: end[0] };
}
