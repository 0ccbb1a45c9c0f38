/**
 * Unreferenced links and locations. One statement finds candidates page by page, and another removes them.
 *
 * Invariant 5: the statement that removes a row states every condition itself, so nothing can change between the look
 * and the removal. A link is kept by a live manifest of its repository that names the blob, by a lease of the blob, or
 * by `usable_until`. A location is kept by its blob's leases, or by a live manifest of any repository with a link.
 * A subject is the only reference that does not count. A reference from an index to a child does, because old versions
 * of buildkit list blobs as manifests of an index.
 */
import type { Digest } from '../../oci/digest.ts';
import type { RepositoryName } from '../../oci/reference.ts';
import { type BoundStatement, type Database, sql } from '../../stores/database.ts';
import { BLOB_IS_UNREFERENCED, isPromised, namedIn, perBlob } from '../../stores/retention.ts';
import { paged } from '../../stores/rows-read.ts';
import { forgetNamedOrphans } from '../integrity/orphan-rows.ts';

const LINK_IS_UNREFERENCED = (now: string): string => `
  (k.usable_until IS NULL OR k.usable_until <= CAST(${now} AS INTEGER))
  AND NOT ${isPromised('k.digest', now)} AND NOT ${namedIn('k.repository', 'k.digest')}`;

const LINK_PAGE = sql`
  SELECT k.digest, k.repository, ${LINK_IS_UNREFERENCED('?4')} AS unreferenced
  FROM links k INDEXED BY links_by_digest WHERE (k.digest, k.repository) > (?1, ?2)
  ORDER BY k.digest, k.repository LIMIT CAST(?3 AS INTEGER)`.reading(paged(3, 8));

const DELETE_LINKS = sql`
  DELETE FROM links AS k WHERE (k.repository, k.digest) IN (
    SELECT candidate.value ->> 'repository', candidate.value ->> 'digest' FROM json_each(?1) AS candidate)
  AND ${LINK_IS_UNREFERENCED('?2')}`;

export interface LinkPosition {
  readonly digest: string;
  readonly repository: string;
}

interface LinkRow {
  readonly digest: Digest;
  readonly repository: RepositoryName;
  /** 1 for a candidate. */
  readonly unreferenced: number;
}

/** Returns a page of links by digest, with the unreferenced ones flagged. `now`: milliseconds since the epoch. */
export function linksAfter(database: Database, after: LinkPosition, limit: number, now: number): Promise<LinkRow[]> {
  return database.all<LinkRow>(LINK_PAGE, after.digest, after.repository, limit, now);
}

export function deleteUnreferencedLinks(links: readonly LinkPosition[], now: number): BoundStatement {
  return [DELETE_LINKS, JSON.stringify(links.map(({ repository, digest }) => ({ repository, digest }))), now];
}

// Unreferenced links were removed before this, so a blob that still has a link is not a candidate, and its manifests
// need not be read. The statement that removes rows also checks the leases of other stores.
const LOCATION_PAGE = sql`
  SELECT l.digest, l.store, l.lease_until <= CAST(?4 AS INTEGER) AND NOT EXISTS (
    SELECT 1 FROM links k WHERE k.digest = l.digest) AS unreferenced
  FROM locations l WHERE (l.digest, l.store) > (?1, ?2) ORDER BY l.digest, l.store LIMIT CAST(?3 AS INTEGER)`.reading(
  paged(3, 4),
);

interface LocationPosition {
  readonly digest: string;
  readonly store: string;
}

export interface StoredLocation {
  readonly digest: Digest;
  readonly store: string;
  /** 1 for a candidate. */
  readonly unreferenced: number;
}

/** Returns a page of locations by digest, with the candidates flagged. `now`: milliseconds since the epoch. */
export function locationsAfter(
  database: Database,
  after: LocationPosition,
  limit: number,
  now: number,
): Promise<StoredLocation[]> {
  return database.all<StoredLocation>(LOCATION_PAGE, after.digest, after.store, limit, now);
}

const QUEUE_OBJECTS = sql`
  INSERT INTO delete_queue (delete_after, key, size)
  SELECT CAST(?3 AS INTEGER), l.key, l.size FROM json_each(?1) AS candidate
    CROSS JOIN locations l ON l.digest = candidate.value
  WHERE l.store = ?2 AND ${BLOB_IS_UNREFERENCED('l.digest', '?4')}`.reading(perBlob);

const DELETE_LOCATIONS = sql`
  DELETE FROM locations AS l WHERE l.digest IN (SELECT value FROM json_each(?1))
    AND ${BLOB_IS_UNREFERENCED('l.digest', '?2')}
`.reading(perBlob);

/**
 * Removes at central, in one batch, all locations of unreferenced blobs. It queues only central's own objects for
 * deletion. Central just forgets where a node's bytes are.
 */
export function collectBlobs(
  central: string,
  candidates: readonly { readonly digest: Digest }[],
  now: number,
): BoundStatement[] {
  const distinct = [...new Set(candidates.map(({ digest }) => digest))];
  const digests = JSON.stringify(distinct);
  return [
    forgetNamedOrphans(distinct, central),
    [QUEUE_OBJECTS, digests, central, now, now],
    [DELETE_LOCATIONS, digests, now],
  ];
}
