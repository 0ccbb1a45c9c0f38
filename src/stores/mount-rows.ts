/**
 * Mounting: linking a blob into a repository from where it already is.
 *
 * Invariant 6: the source of a mount must be readable by the caller, and the same transaction checks that. If no
 * repository of the organization has the blob yet, the mount adds it to the organization's usage, and then needs room,
 * as an upload does.
 */
import type { Digest } from '../oci/digest.ts';
import type { RepositoryName } from '../oci/reference.ts';
import { refusalOf, RELINK, selectLinked } from './blob-commit.ts';
import { type BlobCommit, type LocationRow, renewLease } from './blob-rows.ts';
import { type BoundStatement, type Database, sql } from './database.ts';
import type { NameRange } from './name-ranges.ts';
import { atMost } from './rows-read.ts';
import { isAliveLink } from './deletion/removals.ts';
import { hasNoRoom } from './organizations/blob-limit.ts';

/**
 * The repositories that a mount may take a blob from: a given one (only a public one if `onlyIfPublic`), or any that is
 * public or whose name is in a range.
 */
export type MountSource =
  | { readonly repository: RepositoryName; readonly onlyIfPublic: boolean }
  | { readonly ranges: readonly NameRange[] };

const BYTES_OF_MOUNTED = '(SELECT size FROM locations WHERE digest = ?2 AND damage IS NULL LIMIT 1)';
const HAS_NO_ROOM = hasNoRoom('?1', '?2', BYTES_OF_MOUNTED, '?5');

const MAY_MOUNT_FROM_REPOSITORY = `
  EXISTS (SELECT 1 FROM links k WHERE k.repository = ?3 AND k.digest = ?2 AND ${isAliveLink('k')})
    AND EXISTS (SELECT 1 FROM locations WHERE digest = ?2 AND damage IS NULL)
    AND (?6 = 0 OR EXISTS (SELECT 1 FROM public_repositories WHERE name = ?3))`;

/**
 * The most repositories with the blob that are searched for a public one. If none is among them, the client uploads the
 * blob.
 */
const LINKS_EXAMINED = 1000;
const LINKED = (digest: string): string =>
  `(SELECT k.repository, k.created_at FROM links k WHERE k.digest = ${digest} LIMIT ${LINKS_EXAMINED}) AS linked`;
const fromAnywhere = atMost(3 * LINKS_EXAMINED);

const MAY_MOUNT_FROM_ANYWHERE = `
  EXISTS (SELECT 1 FROM locations WHERE digest = ?2 AND damage IS NULL)
    AND (EXISTS (
        SELECT 1 FROM json_each(?3) AS range CROSS JOIN links k
        ON k.digest = ?2 AND k.repository >= range.value ->> 'from' AND k.repository < range.value ->> 'to'
          AND ${isAliveLink('k')})
      OR EXISTS (SELECT 1 FROM ${LINKED('?2')} CROSS JOIN public_repositories p ON p.name = linked.repository
        AND ${isAliveLink('linked')}))`;

const INSERT_LINK_FROM_REPOSITORY = sql`
  INSERT INTO links (repository, digest, created_at)
  SELECT ?1, ?2, CAST(?4 AS INTEGER) WHERE ${MAY_MOUNT_FROM_REPOSITORY} AND NOT ${HAS_NO_ROOM} ${RELINK}`;

const INSERT_LINK_FROM_ANYWHERE = sql`
  INSERT INTO links (repository, digest, created_at)
  SELECT ?1, ?2, CAST(?4 AS INTEGER) WHERE ${MAY_MOUNT_FROM_ANYWHERE} AND NOT ${HAS_NO_ROOM} ${RELINK}`.reading(
  fromAnywhere,
);

// Returns a size only if nothing but the quota or the limit of blobs prevents the mount: the size of any other blob
// must stay hidden.
const SELECT_REFUSED_FROM_REPOSITORY = sql<{ size: number }>`
  SELECT ${BYTES_OF_MOUNTED} AS size WHERE ${MAY_MOUNT_FROM_REPOSITORY} AND ${HAS_NO_ROOM}`;
const SELECT_REFUSED_FROM_ANYWHERE = sql<{ size: number }>`
  SELECT ${BYTES_OF_MOUNTED} AS size WHERE ${MAY_MOUNT_FROM_ANYWHERE} AND ${HAS_NO_ROOM}`.reading(fromAnywhere);

const SELECT_SOURCE = sql`
  SELECT k.repository FROM json_each(?2) AS range CROSS JOIN links k
    ON k.digest = ?1 AND k.repository >= range.value ->> 'from' AND k.repository < range.value ->> 'to'
      AND ${isAliveLink('k')}
  UNION ALL
  SELECT linked.repository FROM ${LINKED('?1')} CROSS JOIN public_repositories p ON p.name = linked.repository
    AND ${isAliveLink('linked')}
  LIMIT 1`.reading(fromAnywhere);

/** Finds a repository with the blob that is public or whose name is in one of the ranges. */
export async function findMountSource(
  database: Database,
  digest: Digest,
  ranges: readonly NameRange[],
): Promise<RepositoryName | undefined> {
  return (await database.first<{ repository: RepositoryName }>(SELECT_SOURCE, digest, JSON.stringify(ranges)))
    ?.repository;
}

/**
 * Links a blob into a repository from where it already is. Returns the locations of its bytes; none if it could not be
 * linked.
 */
export async function mountBlob(database: Database, blob: BlobCommit, source: MountSource): Promise<LocationRow[]> {
  const { refused, locations } = await database.batch(
    {
      ...('repository' in source ? mountFromRepository(blob, source) : mountFromAnywhere(blob, source)),
      renew: renewLease(blob),
      locations: selectLinked(blob),
    },
    { again: true },
  );
  if (refused[0] !== undefined) throw await refusalOf(database, blob, refused[0].size);
  return locations;
}

interface LinkIfRoom {
  /** Returns the blob's size in bytes if there is no room for it. */
  readonly refused: BoundStatement<{ size: number }>;
  readonly link: BoundStatement;
}

function mountFromRepository(
  { repository, digest, lease, limits }: BlobCommit,
  source: Extract<MountSource, { repository: unknown }>,
): LinkIfRoom {
  const { repository: from, onlyIfPublic } = source;
  const parameters = [repository, digest, from, lease.now, limits.blobs, onlyIfPublic ? 1 : 0] as const;
  return {
    refused: [SELECT_REFUSED_FROM_REPOSITORY, ...parameters],
    link: [INSERT_LINK_FROM_REPOSITORY, ...parameters],
  };
}

function mountFromAnywhere(
  { repository, digest, lease, limits }: BlobCommit,
  source: Extract<MountSource, { ranges: unknown }>,
): LinkIfRoom {
  const parameters = [repository, digest, JSON.stringify(source.ranges), lease.now, limits.blobs] as const;
  return {
    refused: [SELECT_REFUSED_FROM_ANYWHERE, ...parameters],
    link: [INSERT_LINK_FROM_ANYWHERE, ...parameters],
  };
}
