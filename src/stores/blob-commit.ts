/**
 * Commits objects as blobs: writes their location in the store and the repository's link. A blob for which the
 * organization has no room is refused. Closing an upload session is not, because its bytes were judged as they came.
 */
import type { OciError } from '../oci/errors.ts';
import type { RepositoryName } from '../oci/reference.ts';
import type { BlobCommit, LocationRow } from './blob-rows.ts';
import { type BoundStatement, type Database, sql } from './database.ts';
import { isAliveLink } from './deletion/removals.ts';
import { hasNoRoom } from './organizations/blob-limit.ts';
import { blobsExceeded } from './organizations/organization-limits.ts';
import { counts, inUnits, quotaExceeded } from './organizations/usage-rows.ts';
import { atMost } from './rows-read.ts';
import { isUpload, type UploadIdentity, uploadKey } from './uploads/upload-rows.ts';

/**
 * The conflict clause of every commit. If the store already has the blob, its location stays as it is, unless it is
 * damaged: then the new object replaces it.
 */
const LOCATION_CONFLICT = `
  ON CONFLICT (digest, store) DO UPDATE SET lease_until = max(lease_until, excluded.lease_until), releasing = NULL,
    key = iif(damage IS NULL, key, excluded.key), size = iif(damage IS NULL, size, excluded.size), damage = NULL`;

// Both statements of a commit check that there is room, and agree: the first changes nothing that the check depends on.
const INSERT_LOCATION = sql`
  INSERT INTO locations (digest, store, key, size, created_at, lease_until)
  SELECT ?1, ?2, ?3, CAST(?4 AS INTEGER), CAST(?5 AS INTEGER), CAST(?6 AS INTEGER)
  WHERE NOT ${hasNoRoom('?7', '?1', '?4', '?11')} AND NOT EXISTS (SELECT 1 FROM uploads WHERE ${isUpload(8)})
  ${LOCATION_CONFLICT}`;

const INSERT_LOCATION_OF_UPLOAD = sql`
  INSERT INTO locations (digest, store, key, size, created_at, lease_until)
  SELECT ?1, ?2, ?3, CAST(?4 AS INTEGER), CAST(?5 AS INTEGER), CAST(?6 AS INTEGER)
  FROM uploads WHERE ${isUpload(7)} AND write_id = ?10 ${LOCATION_CONFLICT}`;

const INSERT_LOCATION_OF_SESSION = sql`
  INSERT INTO locations (digest, store, key, size, created_at, lease_until)
  SELECT ?1, ?2, key, size, CAST(?3 AS INTEGER), CAST(?4 AS INTEGER)
  FROM uploads WHERE ${isUpload(5)} AND write_id = ?8 ${LOCATION_CONFLICT}`;

/**
 * SQL for `counts` of a link that is made again. If a removal hides the old link, the manifests under it are swept
 * later. That sweep must not stop counting the blob, because it was pushed after the removal.
 */
export const COUNTS_ANEW = `iif(${isAliveLink('links')}, max(links.counts, 1), 2)`;

/**
 * The conflict clause for linking a blob again. The new time makes the link later than a removal that a node has yet to
 * apply. The blob counts again.
 */
export const RELINK = `
  ON CONFLICT (repository, digest) DO UPDATE SET
    created_at = max(links.created_at, excluded.created_at), counts = ${COUNTS_ANEW}
  WHERE links.created_at < excluded.created_at OR links.counts = 0 OR NOT ${isAliveLink('links')}`;

/** Includes the rows that the trigger reads, and two removals. */
const RELINKING = atMost(40);

const INSERT_LINK = sql`
  INSERT INTO links (repository, digest, created_at) SELECT ?1, ?2, CAST(?3 AS INTEGER)
  WHERE NOT ${hasNoRoom('?1', '?2', '?4', '?8')} AND NOT EXISTS (SELECT 1 FROM uploads WHERE ${isUpload(5)})
  ${RELINK}`.reading(RELINKING);

// When the session finished, a trigger linked the blob, unless it was linked already.
const INSERT_LINK_OF_UPLOAD = sql`
  INSERT INTO links (repository, digest, created_at)
  SELECT ?1, ?2, CAST(?3 AS INTEGER) FROM uploads WHERE ${isUpload(4)} AND write_id = ?7 ${RELINK}`.reading(RELINKING);

const SELECT_LOCATION = sql<{ key: string }>`
  SELECT key FROM locations WHERE digest = ?1 AND store = ?2 AND damage IS NULL`;

const REPLACE_LOCATION = sql`
  UPDATE locations SET key = ?4, damage = NULL WHERE digest = ?1 AND store = ?2 AND key = ?3
    AND (?7 IS NULL OR EXISTS (SELECT 1 FROM uploads WHERE ${isUpload(5)} AND state = 'finished'))`;

const SELECT_LINKED = sql<LocationRow>`
  SELECT l.store, l.key, l.size, l.lease_until FROM links k JOIN locations l ON l.digest = k.digest
  WHERE k.repository = ?1 AND k.digest = ?2 AND ${isAliveLink('k')} AND l.damage IS NULL
    AND ${counts('?1', '?2')}
  ORDER BY l.store = ?3 DESC`;

/**
 * Writes the rows that make an object a blob of the repository, if there is room for it. {@link selectRefused} tells
 * whether it was refused.
 * @param unless the session of the upload, if it has one. If that has a row, nothing is written
 */
export function commitObject(blob: BlobCommit, key: string, size: number, unless?: UploadIdentity): BoundStatement[] {
  const { repository, digest, store, lease, limits } = blob;
  const session = unless === undefined ? [0, '', ''] : uploadKey(unless);
  return [
    [INSERT_LOCATION, digest, store, key, size, lease.now, lease.until, repository, ...session, limits.blobs],
    [INSERT_LINK, repository, digest, lease.now, size, ...session, limits.blobs],
  ];
}

export const SELECT_REFUSED = sql<{ refused: number }>`
  SELECT 1 AS refused WHERE ${hasNoRoom('?1', '?2', '?3', '?4')}`;

/** Returns a row if {@link commitObject}, before or after it in the batch, is refused. */
export function selectRefused(blob: BlobCommit, size: number): BoundStatement<{ refused: number }> {
  return [SELECT_REFUSED, blob.repository, blob.digest, size, blob.limits.blobs];
}

/**
 * Does the same as {@link commitObject}, in a batch that gave `writeId` to an upload's row. Writes nothing if the row
 * did not take it.
 */
export function commitObjectOfUpload(
  blob: BlobCommit,
  key: string,
  size: number,
  upload: UploadIdentity,
  writeId: string,
): BoundStatement[] {
  const { digest, store, lease } = blob;
  const row = uploadKey(upload);
  return [
    [INSERT_LOCATION_OF_UPLOAD, digest, store, key, size, lease.now, lease.until, ...row, writeId],
    [INSERT_LINK_OF_UPLOAD, blob.repository, digest, lease.now, ...row, writeId],
  ];
}

/** Does the same as {@link commitObjectOfUpload}, with the session's own object. */
export function commitObjectOfSession(blob: BlobCommit, upload: UploadIdentity, writeId: string): BoundStatement[] {
  const { digest, store, lease } = blob;
  const row = uploadKey(upload);
  return [
    [INSERT_LOCATION_OF_SESSION, digest, store, lease.now, lease.until, ...row, writeId],
    [INSERT_LINK_OF_UPLOAD, blob.repository, digest, lease.now, ...row, writeId],
  ];
}

/** Selects the key of the store's location. If the store already had the blob, it is not the key of the new object. */
export function selectLocation(blob: BlobCommit): BoundStatement<{ key: string }> {
  return [SELECT_LOCATION, blob.digest, blob.store];
}

/**
 * Points the store's location at another object with the same bytes, because its own is lost.
 * @param upload the finished session whose object that is, if any. If the session is not finished, nothing changes: its
 *   object is deleted with it
 */
export function replaceLocation(
  blob: BlobCommit,
  from: string,
  to: string,
  upload: UploadIdentity | undefined,
): BoundStatement {
  const row = upload === undefined ? [null, null, null] : uploadKey(upload);
  return [REPLACE_LOCATION, blob.digest, blob.store, from, to, ...row];
}

/** Selects the blob's locations, the store's own first, if the repository has the blob and it counts. */
export function selectLinked(blob: BlobCommit): BoundStatement<LocationRow> {
  return [SELECT_LINKED, blob.repository, blob.digest, blob.store];
}

/** Returns the error for a blob of `size` bytes that exceeds the limit of blobs, or else the quota. */
export async function refusalOf(
  database: Database,
  { repository, limits }: Pick<BlobCommit, 'repository' | 'limits'>,
  size: number,
): Promise<OciError> {
  return (
    (await blobsExceeded(database, repository, 'blob', limits.blobs)) ?? noRoomFor(database, repository, 'blob', size)
  );
}

/** Returns the error for a blob or chunk of `size` bytes that exceeds the quota. */
export function noRoomFor(
  database: Database,
  repository: RepositoryName,
  what: 'blob' | 'chunk',
  size: number,
): Promise<OciError> {
  return quotaExceeded(database, repository, `this ${what} of ${inUnits(size)}`);
}
