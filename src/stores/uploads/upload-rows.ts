/**
 * The rows of upload sessions and their chunks.
 *
 * A session's row appears with its first chunk or its cancellation. It stays until the session expires. The row of an
 * ended session goes earlier, once the first reference can no longer revive it ({@link START_MILLISECONDS}). So a
 * session that has had bytes and has no row has ended.
 *
 * Every change takes the row by a fresh write id, which is compared and set in one statement; the rest of the batch
 * writes only under that id. So if two requests arrive for the same offset, one wins and the other leaves nothing. A
 * request that would exceed the organization's quota does not take the row either.
 *
 * `key` names the object with the session's first bytes: all of them if there is one chunk. Other chunks are objects
 * with rows of their own. If `multipart` is set, the object is a multipart upload whose parts the chunks' rows name:
 *
 * - A request is given numbers of parts ({@link reserveParts}) before it uploads any, and none is given twice. So no
 *   request replaces the part of another.
 * - A request completes it only after {@link sealUpload}. From then on no part can be added, so none is lost.
 */
import { HOUR } from '../../durations.ts';
import type { Digest } from '../../oci/digest.ts';
import type { RepositoryName } from '../../oci/reference.ts';
import { type BoundStatement, sql } from '../database.ts';
import { hasTooManyUploadRows, hasTooManyUploads } from '../organizations/organization-limits.ts';
import { addedBy, exceedsQuota } from '../organizations/usage-rows.ts';
import { MAX_PARTS } from '../bucket.ts';
import type { Piece } from './blob-writer.ts';
import { hasTooManyChunks, readsChunks } from './chunk-limit.ts';

export interface UploadRow {
  readonly state: 'open' | 'finished' | 'cancelled';
  /** Bytes received; once finished, those of the blob. */
  readonly size: number;
  /** The digest of all bytes so far, or null if nobody hashed them all; once finished, the digest of the blob. */
  readonly digest: Digest | null;
  /** The write id of the request that last changed the row. */
  readonly write_id: string;
  readonly key: string | null;
  /** The id of the multipart upload that writes the object `key`, until it is known to be complete; null for none. */
  readonly multipart: string | null;
  /** Bytes of each of its parts but the last. */
  readonly part_size: number | null;
  /** The number that its next part may have; null once no part may follow. */
  readonly next_part: number | null;
  /** The saved state of the hash of all bytes so far. */
  readonly hash: string | null;
}

/** A part of the multipart upload, as [number, etag]. */
export type PartEntry = readonly [number: number, etag: string];

/** A row of a chunk: an object with a key, or parts of the session's multipart upload, as JSON of {@link PartEntry}. */
export interface ChunkRow {
  readonly start: number;
  readonly size: number;
  readonly key: string | null;
  readonly parts: string | null;
}

/** The session that a row is for. */
export interface UploadIdentity {
  readonly id: string;
  readonly repository: RepositoryName;
  /** Milliseconds since the epoch. */
  readonly expiresAt: number;
}

/** The parameters ?1 to ?3 of every statement about one session. */
type Key = readonly [hour: number, repository: RepositoryName, id: string];

/** Returns the primary key of a session's row. The hour lets a removal find an organization's sessions of one day. */
export function uploadKey({ expiresAt, repository, id }: UploadIdentity): Key {
  return [Math.floor(expiresAt / HOUR), repository, id];
}

/** SQL that holds for the row of a session, whose key is the parameters from `first` on. */
export function isUpload(first = 1): string {
  return `hour = CAST(?${first} AS INTEGER) AND repository = ?${first + 1} AND id = ?${first + 2}`;
}

const HAS_TAKEN = `EXISTS (SELECT 1 FROM uploads WHERE ${isUpload()} AND write_id = ?4)`;
const IS_AT_SIZE = `${isUpload()} AND state = 'open' AND size = CAST(?5 AS INTEGER)`;

// An open session counts with its bytes, whatever they will become. A row without bytes belongs to a multipart upload,
// which the caller aborts.
const INSERT_UPLOAD = sql`
  INSERT INTO uploads (hour, repository, id, write_id, expires_at, state, size, digest, key, rows)
  SELECT CAST(?1 AS INTEGER), ?2, ?3, ?4, CAST(?5 AS INTEGER), 'open', CAST(?6 AS INTEGER), ?7, ?8, CAST(?9 AS INTEGER)
  WHERE NOT ${exceedsQuota('?2', '?6')}
    AND NOT (${hasTooManyUploads('?2', '?10')} AND NOT EXISTS (SELECT 1 FROM uploads WHERE ${isUpload()}))
  ON CONFLICT DO UPDATE SET write_id = excluded.write_id, size = excluded.size, digest = excluded.digest,
    key = excluded.key, multipart = NULL, part_size = NULL, next_part = NULL, rows = excluded.rows
  WHERE state = 'open' AND size = 0`;

// A finished session is a blob, which may count already. A trigger links the blob, unless it is linked, and moves the
// usage from the session to the blob in one write. The multipart upload that the session began is left over.
const FINISH_EMPTY = sql`
  UPDATE uploads SET state = 'finished', write_id = ?4, size = CAST(?5 AS INTEGER), digest = ?6,
    leftover = key IS NOT NULL, part_size = NULL, next_part = NULL, finished_at = CAST(?7 AS INTEGER)
  WHERE ${isUpload()} AND state = 'open' AND size = 0
    AND NOT ${exceedsQuota('uploads.repository', addedBy('?6', '?5'))}`;

const INSERT_MULTIPART = sql`
  INSERT INTO uploads (hour, repository, id, write_id, expires_at, state, size, key, multipart, next_part)
  SELECT CAST(?1 AS INTEGER), ?2, ?3, ?4, CAST(?5 AS INTEGER), 'open', 0, ?6, ?7, 1
  WHERE NOT ${exceedsQuota('?2', '?8')} AND NOT ${hasTooManyUploads('?2', '?9')} ON CONFLICT DO NOTHING`;

const COUNT_OF_PARTS =
  '((CAST(?5 AS INTEGER) + coalesce(part_size, CAST(?5 AS INTEGER)) - 1) / coalesce(part_size, CAST(?5 AS INTEGER)))';
const RESERVE_PARTS = sql<{ after: number; part_size: number | null }>`
  UPDATE uploads SET next_part = next_part + ${COUNT_OF_PARTS}
  WHERE ${isUpload()} AND state = 'open' AND size = CAST(?4 AS INTEGER)
    AND next_part + ${COUNT_OF_PARTS} <= ${String(MAX_PARTS + 1)}
  RETURNING next_part AS after, part_size`;

const ADVANCE_PARTS = sql`
  UPDATE uploads SET write_id = ?4, size = CAST(?6 AS INTEGER), digest = ?7, hash = ?8,
    part_size = CAST(?9 AS INTEGER), next_part = iif(?10 = 1, NULL, next_part), rows = rows + 1
  WHERE ${IS_AT_SIZE} AND next_part IS NOT NULL AND NOT ${hasTooManyUploadRows('uploads.repository')}
    AND NOT ${exceedsQuota('uploads.repository', `iif(?11 IS NULL, ?6 - ?5, ${addedBy('?11', '?6 - ?5')})`)}`;

const SEAL_UPLOAD = sql`
  UPDATE uploads SET next_part = NULL
  WHERE ${isUpload()} AND state = 'open' AND size = CAST(?4 AS INTEGER) AND next_part IS NOT NULL
    AND (?5 IS NULL OR digest = ?5)`;

const ADVANCE_UPLOAD = sql`
  UPDATE uploads SET write_id = ?4, size = CAST(?6 AS INTEGER), digest = NULL, hash = NULL, multipart = NULL,
    rows = rows + CAST(?7 AS INTEGER)
  WHERE ${IS_AT_SIZE} AND next_part IS NULL AND NOT ${hasTooManyUploadRows('uploads.repository')}
    AND NOT ${exceedsQuota('uploads.repository', '?6 - ?5')} AND NOT (${hasTooManyChunks('?3', '?7')})`.reading(
  readsChunks,
);

const HAS_OTHER_OBJECT = (digest: string, store: string): string =>
  `EXISTS (SELECT 1 FROM locations l WHERE l.digest = ${digest} AND l.store = ${store} AND l.damage IS NULL)`;

// The session's bytes become the blob's. The rest of the blob, which this request sent, has not been counted yet.
const FINISH_JOINED = sql`
  UPDATE uploads SET state = 'finished', write_id = ?4, size = CAST(?7 AS INTEGER), digest = ?6, hash = NULL,
    multipart = NULL, finished_at = CAST(?9 AS INTEGER),
    leftover = iif(?8 IS NULL, key IS NOT NULL, ${HAS_OTHER_OBJECT('?6', '?8')})
  WHERE ${IS_AT_SIZE} AND next_part IS NULL
    AND NOT ${exceedsQuota('uploads.repository', addedBy('?6', '?7 - ?5'))}`;

const FINISH_UPLOAD = sql`
  UPDATE uploads SET state = 'finished', write_id = ?4, hash = NULL, multipart = NULL,
    finished_at = CAST(?9 AS INTEGER), leftover = ${HAS_OTHER_OBJECT('?6', '?7')}
  WHERE ${IS_AT_SIZE} AND digest = ?6 AND key IS NOT NULL AND next_part IS NULL AND (multipart IS NULL OR ?8 = 1)`;

const CANCEL_UPLOAD = sql`
  INSERT INTO uploads (hour, repository, id, write_id, expires_at, state, size)
  SELECT CAST(?1 AS INTEGER), ?2, ?3, ?4, CAST(?5 AS INTEGER), 'cancelled', 0
  WHERE (?6 = 1 AND NOT ${hasTooManyUploadRows('?2')}) OR EXISTS (SELECT 1 FROM uploads WHERE ${isUpload()})
  ON CONFLICT DO UPDATE SET state = 'cancelled', write_id = excluded.write_id WHERE state = 'open'`;

/** SQL that keeps an object that a blob of the store ?4 uses. */
export const KEEP_BLOB = `leftover = iif(key = (SELECT l.key FROM locations l WHERE l.digest = uploads.digest AND l.store = ?4),
  0, leftover)`;
const PROMOTE_LEFTOVER = sql`UPDATE uploads SET ${KEEP_BLOB} WHERE ${isUpload()} AND leftover = 1`;
const INSERT_CHUNKS = sql`
  INSERT INTO upload_chunks (upload, start, size, key, parts)
  SELECT ?3, chunk.value ->> 'start', chunk.value ->> 'size', chunk.value ->> 'key', chunk.value ->> 'parts'
  FROM json_each(?5) AS chunk WHERE ${HAS_TAKEN} ON CONFLICT DO NOTHING`;

const SELECT_UPLOAD = sql<UploadRow>`
  SELECT state, size, digest, write_id, key, multipart, part_size, next_part, hash FROM uploads WHERE ${isUpload()}`;

const SELECT_OBJECTS = sql<SessionObject>`
  SELECT key, multipart FROM uploads WHERE ${isUpload()} AND key IS NOT NULL AND (state <> 'finished' OR leftover = 1)`;

const SELECT_CHUNKS = sql<ChunkRow>`
  SELECT start, size, key, parts FROM upload_chunks WHERE upload = ?1 ORDER BY start`.reading(readsChunks);

const DELETE_PARTS = sql`
  DELETE FROM upload_chunks WHERE upload = ?3 AND key IS NULL AND ${HAS_TAKEN}`.reading(readsChunks);

const DELETE_CHUNKS = sql`DELETE FROM upload_chunks WHERE upload = ?1`.reading(readsChunks);

const FORGET_OBJECT = sql`
  UPDATE uploads SET key = NULL, multipart = NULL, leftover = 0 WHERE ${isUpload()} AND key = ?4`;

/**
 * Takes a session that has no bytes yet, for its first chunk.
 * @param chunk `objects` is the number of its objects; `key` names the first
 * @param blobs the limit of blobs
 */
export function insertUpload(
  upload: UploadIdentity,
  writeId: string,
  chunk: {
    readonly size: number;
    readonly digest: Digest | null;
    readonly key: string | null;
    readonly objects: number;
  },
  blobs: number,
): BoundStatement {
  const { size, digest, key, objects } = chunk;
  return [INSERT_UPLOAD, ...uploadKey(upload), writeId, upload.expiresAt, size, digest, key, objects, blobs];
}

/**
 * Takes an open session that has a row but no bytes, and finishes it as the blob that the request sent whole.
 * @param now milliseconds since the epoch
 */
export function finishEmpty(
  upload: UploadIdentity,
  writeId: string,
  { size, digest, now }: { readonly size: number; readonly digest: Digest; readonly now: number },
): BoundStatement {
  return [FINISH_EMPTY, ...uploadKey(upload), writeId, size, digest, now];
}

/**
 * Opens a session for a multipart upload, unless it has a row already.
 * @param size bytes of the first chunk, for which there must be room
 * @param blobs the limit of blobs
 */
export function insertMultipart(
  upload: UploadIdentity,
  writeId: string,
  { key, uploadId, size }: { readonly key: string; readonly uploadId: string; readonly size: number },
  blobs: number,
): BoundStatement {
  return [INSERT_MULTIPART, ...uploadKey(upload), writeId, upload.expiresAt, key, uploadId, size, blobs];
}

/**
 * Reserves numbers of parts for a chunk of `length` bytes. Returns the number after them, and the size of the session's
 * parts, which is null for its first chunk. Returns no row if the session is not an open multipart upload of `from`
 * bytes, or has too few numbers left.
 */
export function reserveParts(
  upload: UploadIdentity,
  from: number,
  length: number,
): BoundStatement<{ after: number; part_size: number | null }> {
  return [RESERVE_PARTS, ...uploadKey(upload), from, length];
}

/** A chunk whose parts R2 has. */
export interface WrittenParts {
  readonly from: number;
  readonly to: number;
  readonly partSize: number;
  readonly parts: readonly PartEntry[];
  /** The digest of the session's bytes, and the state of their hash. */
  readonly digest: Digest;
  readonly hash: string;
}

/**
 * Takes an open multipart upload of `from` bytes, and adds the parts of a chunk. If the last part is short, or if the
 * chunk ends the blob (`all`), no other part can follow.
 */
export function advanceByParts(
  upload: UploadIdentity,
  writeId: string,
  { from, to, partSize, parts, digest, hash }: WrittenParts,
  all: boolean,
): BoundStatement[] {
  const isLast = all || (to - from) % partSize !== 0;
  const key = uploadKey(upload);
  const chunk = { start: from, size: to - from, parts: JSON.stringify(parts) };
  return [
    [ADVANCE_PARTS, ...key, writeId, from, to, digest, hash, partSize, isLast ? 1 : 0, all ? digest : null],
    [INSERT_CHUNKS, ...key, writeId, JSON.stringify([chunk])],
  ];
}

/**
 * Seals an open multipart upload of `size` bytes, so that no part can be added and it can be completed.
 * @param digest if given, seals the upload only if this is the digest of all its bytes
 */
export function sealUpload(upload: UploadIdentity, size: number, digest?: Digest): BoundStatement {
  return [SEAL_UPLOAD, ...uploadKey(upload), size, digest ?? null];
}

/**
 * Takes an open session that has exactly `from` bytes and room for the chunks' objects, and makes it `to` bytes long. A
 * multipart upload must be complete.
 */
export function advanceUpload(
  upload: UploadIdentity,
  writeId: string,
  from: number,
  to: number,
  pieces: readonly Piece[],
): BoundStatement[] {
  const key = uploadKey(upload);
  return [
    [ADVANCE_UPLOAD, ...key, writeId, from, to, pieces.length],
    [DELETE_PARTS, ...key, writeId],
    insertChunks(upload, writeId, from, pieces),
  ];
}

/** The end of an open session of `size` bytes, which becomes a blob. */
interface SessionEnd {
  /** Bytes. */
  readonly size: number;
  readonly digest: Digest;
  /** Milliseconds since the epoch. */
  readonly now: number;
}

/**
 * Takes an open session of `size` bytes, and finishes it as a blob.
 * @param whole the bytes of the blob: those of the session and those that the closing request sent
 * @param own the store, if the blob's object is that of the session; undefined if it is another
 */
export function finishJoined(
  upload: UploadIdentity,
  writeId: string,
  { size, digest, whole, own, now }: SessionEnd & { readonly whole: number; readonly own: string | undefined },
): BoundStatement {
  return [FINISH_JOINED, ...uploadKey(upload), writeId, size, digest, whole, own ?? null, now];
}

/**
 * Takes an open session whose one object holds all its bytes, and finishes it, if their hash is `digest`.
 * @param isComplete whether a multipart upload counts as an object
 */
export function finishUpload(
  upload: UploadIdentity,
  writeId: string,
  { size, digest, store, isComplete, now }: SessionEnd & { readonly store: string; readonly isComplete: boolean },
): BoundStatement {
  return [FINISH_UPLOAD, ...uploadKey(upload), writeId, size, digest, store, isComplete ? 1 : 0, now];
}

/** Records the objects of a session that this batch took; `offset` is where the first of them starts. */
export function insertChunks(
  upload: UploadIdentity,
  writeId: string,
  offset: number,
  pieces: readonly Piece[],
): BoundStatement {
  const chunks = pieces.map(({ start, size, key }) => ({ start: offset + start, size, key }));
  return [INSERT_CHUNKS, ...uploadKey(upload), writeId, JSON.stringify(chunks)];
}

export function selectUpload(upload: UploadIdentity): BoundStatement<UploadRow> {
  return [SELECT_UPLOAD, ...uploadKey(upload)];
}

/** Selects the chunks in the order of their bytes. */
export function selectChunks(id: string): BoundStatement<ChunkRow> {
  return [SELECT_CHUNKS, id];
}

/** The object of an ended session that is no blob's and has to be deleted. `multipart` is that of {@link UploadRow}. */
export interface SessionObject {
  readonly key: string;
  readonly multipart: string | null;
}

/** Selects the object that a session must delete once it has ended. */
export function selectObject(upload: UploadIdentity): BoundStatement<SessionObject> {
  return [SELECT_OBJECTS, ...uploadKey(upload)];
}

/** Deletes the rows of the parts of a session that this batch took, because they are one object now. */
export function deleteParts(upload: UploadIdentity, writeId: string): BoundStatement {
  return [DELETE_PARTS, ...uploadKey(upload), writeId];
}

/** Keeps the object of a finished session if it is now the blob's. */
export function promoteLeftover(upload: UploadIdentity, store: string): BoundStatement {
  return [PROMOTE_LEFTOVER, ...uploadKey(upload), store];
}

/** Deletes the rows of all chunks of an ended session. Their objects must have been deleted before. */
export function deleteChunks({ id }: UploadIdentity): BoundStatement {
  return [DELETE_CHUNKS, id];
}

/** Forgets the objects of a session that has ended, after they are gone. */
export function forgetObjects(upload: UploadIdentity, object: SessionObject | undefined): BoundStatement[] {
  const chunks = deleteChunks(upload);
  return object === undefined ? [chunks] : [chunks, [FORGET_OBJECT, ...uploadKey(upload), object.key]];
}

/**
 * Takes an open session and cancels it.
 * @param mayBeNew whether a session without a row has yet to begin; if so, it gets a row if there is room for one
 */
export function cancelUpload(upload: UploadIdentity, writeId: string, mayBeNew: boolean): BoundStatement {
  return [CANCEL_UPLOAD, ...uploadKey(upload), writeId, upload.expiresAt, mayBeNew ? 1 : 0];
}
