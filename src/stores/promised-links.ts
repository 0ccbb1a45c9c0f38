/**
 * Links at a node to blobs whose bytes are elsewhere, and which central has promised to keep (`links.usable_until`).
 *
 * Invariant 5: such a link is usable until 0.75 g before the earliest of central's leases ends. Until then a manifest
 * may be committed on it. A HEAD may answer from it only while it is usable for another g.
 */
import type { Digest } from '../oci/digest.ts';
import type { RepositoryName } from '../oci/reference.ts';
import { COUNTS_ANEW, refusalOf, SELECT_REFUSED } from './blob-commit.ts';
import type { LocationRow } from './blob-rows.ts';
import { type BoundStatement, type Database, sql } from './database.ts';
import { isAfterRemovals, isAliveLink } from './deletion/removals.ts';
import { hasNoRoom } from './organizations/blob-limit.ts';
import type { StoreLimits } from './organizations/limits.ts';
import { sizeOfBlobElsewhere } from './organizations/usage-rows.ts';

/** A blob, with its size in bytes. */
interface SizedBlob {
  readonly digest: Digest;
  readonly size: number;
}

/** The time of a link whose blob is promised again. It stays the same, unless a removal has hidden the link since. */
const LINKED_AT = `iif(${isAliveLink('links')}, links.created_at, excluded.created_at)`;

const LINK_UNTIL = sql`
  INSERT INTO links (repository, digest, created_at, usable_until)
  SELECT ?1, ?2, CAST(?3 AS INTEGER), CAST(?4 AS INTEGER) WHERE ${isAfterRemovals('?1', '?3')}
  ON CONFLICT (repository, digest) DO UPDATE SET usable_until = excluded.usable_until, created_at = ${LINKED_AT}
  WHERE NOT ${isAliveLink('links')} OR coalesce(links.usable_until, 0) < excluded.usable_until`;

/**
 * Links a blob that central counts for the organization, unless the repository was removed after `now`.
 * @param now when central was asked, in milliseconds since the epoch
 * @param until the latest time at which a manifest that needs it may be committed, in milliseconds since the epoch
 */
export function linkUntil(
  repository: RepositoryName,
  { digest, size }: SizedBlob,
  now: number,
  until: number,
): BoundStatement[] {
  return [[LINK_UNTIL, repository, digest, now, until], sizeOfBlobElsewhere(repository, digest, size)];
}

/**
 * Returns the time until which a node may commit manifests on the strength of central's promise: 0.75 g before the
 * earliest lease ends.
 */
export function usableUntil(locations: readonly LocationRow[], grace: number): number {
  return Math.min(...locations.map(({ lease_until: until }) => until)) - 0.75 * grace;
}

const LINK_IF_ROOM = sql`
  INSERT INTO links (repository, digest, created_at) SELECT ?1, ?2, CAST(?3 AS INTEGER)
  WHERE NOT ${hasNoRoom('?1', '?2', '?4', '?5')} AND ${isAfterRemovals('?1', '?3')}
  ON CONFLICT (repository, digest) DO UPDATE
    SET created_at = ${LINKED_AT}, counts = ${COUNTS_ANEW}
  WHERE links.counts = 0 OR NOT ${isAliveLink('links')}`;

const LINK_UNTIL_IF_ROOM = sql`
  UPDATE links SET usable_until = CAST(?3 AS INTEGER)
  WHERE repository = ?1 AND digest = ?2 AND coalesce(usable_until, 0) < CAST(?3 AS INTEGER)
    AND NOT ${hasNoRoom('?1', '?2', '?4', '?5')}`;

/**
 * Does the same as {@link linkUntil}, for a blob that central does not count for the organization yet.
 * @throws OciError QUOTA_EXCEEDED, UNAVAILABLE
 */
export async function linkFromElsewhere(
  node: Database,
  repository: RepositoryName,
  { digest, size }: SizedBlob,
  now: number,
  until: number,
  limits: StoreLimits,
): Promise<void> {
  const { refused } = await node.batch(
    {
      refused: [SELECT_REFUSED, repository, digest, size, limits.blobs],
      link: [LINK_IF_ROOM, repository, digest, now, size, limits.blobs],
      until: [LINK_UNTIL_IF_ROOM, repository, digest, until, size, limits.blobs],
      size: sizeOfBlobElsewhere(repository, digest, size),
    },
    { again: true },
  );
  if (refused.length > 0) throw await refusalOf(node, { repository, limits }, size);
}

// A manifest that was committed in the meantime keeps the link.
const REMOVE_LINK = sql`
  DELETE FROM links WHERE repository = ?1 AND digest = ?2 AND created_at = CAST(?3 AS INTEGER) AND NOT EXISTS (
    SELECT 1 FROM manifest_references r
    WHERE r.digest = ?2 AND r.repository = ?1)`;

/**
 * Removes a node's link that was created at time `at` because central had the same link. Called when central turns out
 * to have removed its link.
 */
export function removeNewLink(repository: RepositoryName, digest: Digest, at: number): BoundStatement {
  return [REMOVE_LINK, repository, digest, at];
}
