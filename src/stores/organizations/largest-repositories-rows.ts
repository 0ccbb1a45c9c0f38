/**
 * The repositories of each organization that hold the most bytes, at central. Maintenance adds the bytes up once a day,
 * because keeping a sum for each repository would cost each push a row.
 */
import type { OrganizationName, RepositoryName } from '../../oci/reference.ts';
import { type BoundStatement, type Database, sql } from '../database.ts';
import { isAliveLink } from '../deletion/removals.ts';
import { paged } from '../rows-read.ts';
import { ofRepository } from './usage-rows.ts';

/** The bytes of a repository's distinct blobs, without blobs that do not count. */
export interface RepositoryBytes {
  readonly name: RepositoryName;
  readonly bytes: number;
  /** Bytes of the blobs that no other repository of the organization has. */
  readonly unshared: number;
  /** Like `bytes`, with each blob's size divided by the number of the organization's repositories that have it. */
  readonly share: number;
}

/** The sums of all repositories of an organization, and the largest ones by name. */
export interface MeasuredRepositories {
  readonly organization: OrganizationName;
  readonly count: number;
  /** The sum of their shares. */
  readonly bytes: number;
  readonly largest: readonly RepositoryBytes[];
}

export interface LinkPosition {
  readonly repository: string;
  readonly digest: string;
}

interface PartOfRepository extends RepositoryBytes {
  readonly links: number;
  /** The digest of the last link. */
  readonly last: string;
}

// A removal hides the content of the name's last owner, even before a sweep deletes it.
const SELECT_BYTES = sql<PartOfRepository>`
  WITH page AS MATERIALIZED (SELECT repository, digest, counts, created_at FROM links
    WHERE (repository, digest) > (?1, ?2) ORDER BY repository, digest LIMIT CAST(?3 AS INTEGER))
  SELECT page.repository AS name, count(*) AS links, max(page.digest) AS last, coalesce(sum(u.size), 0) AS bytes,
    coalesce(sum(iif(u.uses = 1, u.size, 0)), 0) AS unshared, coalesce(sum(u.size / u.uses), 0) AS share
  FROM page LEFT JOIN usage_blobs u
    ON page.counts > 0 AND ${isAliveLink('page')}
    AND u.organization = ${ofRepository('page.repository')} AND u.digest = page.digest
  GROUP BY page.repository ORDER BY page.repository`.reading(paged(3, 12));

/** Adds up the bytes of the next links, by repository. The last repository may have more links after these. */
export function bytesAfter(database: Database, after: LinkPosition, limit: number): Promise<PartOfRepository[]> {
  return database.all(SELECT_BYTES, after.repository, after.digest, limit);
}

const PUT = sql`
  INSERT INTO largest_repositories (organization, measured_at, measured)
  SELECT each.value ->> 'organization', CAST(?2 AS INTEGER), each.value FROM json_each(?1) AS each WHERE true
  ON CONFLICT (organization) DO UPDATE SET measured_at = excluded.measured_at, measured = excluded.measured`;

/**
 * @param began when the round began, in milliseconds since the epoch. An organization created later must not see these
 */
export function putLargestRepositories(measured: readonly MeasuredRepositories[], began: number): BoundStatement {
  return [PUT, JSON.stringify(measured), began];
}

const DELETE_OLD = sql<{ organization: string }>`
  DELETE FROM largest_repositories WHERE organization IN (SELECT organization FROM largest_repositories
    WHERE measured_at < CAST(?1 AS INTEGER) ORDER BY measured_at LIMIT CAST(?2 AS INTEGER))
  RETURNING organization`.reading(paged(2, 6));

/** Removes measurements from before a time. Their organizations hold nothing any more. Returns how many there were. */
export async function deleteMeasuredBefore(database: Database, time: number, limit: number): Promise<number> {
  return (await database.all(DELETE_OLD, time, limit)).length;
}

interface MeasuredRow {
  readonly measured_at: number;
  /** {@link MeasuredRepositories}, as JSON. */
  readonly measured: string;
}

// The next owner of a name must not learn of the last one's repositories.
const SELECT = sql<MeasuredRow>`
  SELECT m.measured_at, m.measured FROM json_each(?1) AS asked
  CROSS JOIN organizations o ON o.name = asked.value AND o.removed_at IS NULL
  CROSS JOIN largest_repositories m ON m.organization = o.name AND m.measured_at >= o.created_at`;

/** Returns the statement that reads the last measurements of organizations. */
export function selectMeasured(organizations: readonly OrganizationName[]): BoundStatement<MeasuredRow> {
  return [SELECT, JSON.stringify([...new Set(organizations)])];
}

/** Returns the bytes of the repositories in measurements. */
export function bytesIn(rows: readonly MeasuredRow[]): ReadonlyMap<string, number> {
  const measured = rows.map((row) => JSON.parse(row.measured) as MeasuredRepositories);
  return new Map(measured.flatMap(({ largest }) => largest.map(({ name, bytes }) => [name, bytes] as const)));
}

/** Returns the last measurement and when its round began; undefined if there was none yet. */
export async function largestRepositories(
  central: Database,
  organization: OrganizationName,
): Promise<{ readonly measuredAt: number; readonly measured: MeasuredRepositories } | undefined> {
  const row = await central.first(...selectMeasured([organization]));
  if (row === undefined) return undefined;
  return { measuredAt: row.measured_at, measured: JSON.parse(row.measured) as MeasuredRepositories };
}
