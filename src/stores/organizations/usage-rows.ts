/**
 * The usage of a store by organizations, and the checks of whether they may use more.
 *
 * The triggers of `0001_berth.sql` maintain these rows; this file reads them. A write that adds bytes has {@link
 * exceedsQuota} in its first statement, so the check and the write are one transaction. If there is room for only one
 * of two pushes to a store, one succeeds. A write that adds nothing is never refused.
 *
 * At a node the usage has two parts: the usage that central last reported, and the node's content that central, as far
 * as the node knows, does not count yet. Merging refuses nothing: central accepts all writes that a node has
 * acknowledged.
 */
import { descriptorsOf } from '../manifests/descriptors.ts';
import { OciError } from '../../oci/errors.ts';
import { MAX_REFERENCES } from '../../oci/manifest-limits.ts';
import { type OrganizationName, organizationOf, type RepositoryName, type Tag } from '../../oci/reference.ts';
import { type BoundStatement, type Database, sql } from '../database.ts';
import { keyed, paged, type ReadsAtMost } from '../rows-read.ts';

/** SQL for the organization of a repository. */
export function ofRepository(repository: string): string {
  return `substr(${repository}, 1, instr(${repository}, '/') - 1)`;
}

/** SQL for the bytes of a row of `usage`, named `alias`, that count against the quota. */
export const COUNTED = (alias = 'usage'): string => `${alias}.bytes + ${alias}.uploading + ${alias}.manifest_bytes`;

const USED = `coalesce((SELECT ${COUNTED()} FROM usage WHERE organization = o.name), 0)
  + coalesce((SELECT bytes FROM usage_at_central WHERE organization = o.name), 0)`;

/**
 * SQL that holds if `bytes` more would exceed the quota of a repository's organization. `bytes` may refer to the
 * organization's row as `o`.
 */
export function exceedsQuota(repository: string, bytes: string): string {
  return `EXISTS (SELECT 1 FROM organizations o WHERE o.name = ${ofRepository(repository)} AND o.quota_bytes IS NOT NULL
    AND ${bytes} > 0 AND ${USED} + ${bytes} > o.quota_bytes)`;
}

/**
 * SQL that holds if a blob counts for the organization of a repository. A linked blob stops counting when the last
 * manifest that named it is deleted.
 */
export function counts(repository: string, digest: string): string {
  return `EXISTS (SELECT 1 FROM usage_blobs u WHERE u.organization = ${ofRepository(repository)}
    AND u.digest = ${digest})`;
}

/** SQL for the bytes that a blob adds to the usage of the organization `o`; 0 if it counts already. */
export function addedBy(digest: string, bytes: string): string {
  return `iif(EXISTS (SELECT 1 FROM usage_blobs u WHERE u.organization = o.name
    AND u.digest = ${digest}), 0, ${bytes})`;
}

/**
 * SQL for the bytes that the blobs of a manifest add to the usage of the organization `o`: the bytes of those that the
 * repository has and that do not count yet. `blobs` is a JSON array.
 */
export function addedByManifest(repository: string, blobs: string): string {
  return `coalesce((SELECT sum((SELECT l.size FROM locations l WHERE l.digest = blob.value LIMIT 1))
    FROM json_each(${blobs}) AS blob CROSS JOIN links k ON k.repository = ${repository} AND k.digest = blob.value
    WHERE NOT EXISTS (SELECT 1 FROM usage_blobs u WHERE u.organization = o.name AND u.digest = blob.value)), 0)`;
}

const SELECT_EXCEEDED = sql`SELECT 1 WHERE ${exceedsQuota('?1', '?2')}`;

/** Tells whether `bytes` more would exceed the quota of a repository's organization. */
export async function isQuotaExceeded(database: Database, repository: RepositoryName, bytes: number): Promise<boolean> {
  return (await database.first(SELECT_EXCEEDED, repository, bytes)) !== undefined;
}

const SELECT_LIMIT = sql`SELECT o.quota_bytes AS quota, ${USED} AS used FROM organizations o WHERE o.name = ?1`;

/**
 * Returns the error for a write that {@link exceedsQuota} refused, with the current figures.
 * @param what names the write, as the subject of the message
 */
export async function quotaExceeded(database: Database, repository: RepositoryName, what: string): Promise<OciError> {
  const organization = organizationOf(repository);
  const { quota, used } = (await database.first<{ quota: number | null; used: number }>(
    SELECT_LIMIT,
    organization,
  )) ?? {
    quota: null,
    used: 0,
  };
  return new OciError('QUOTA_EXCEEDED', {
    message:
      `${what} would exceed the quota of the organization ${organization}: ` +
      `${inUnits(used)} of ${inUnits(quota ?? 0)} are used. Delete images, or ask for a larger quota`,
    detail: { organization, used, quota },
  });
}

const UNITS = ['kB', 'MB', 'GB', 'TB', 'PB'];

/** Formats bytes for people, in powers of 1000: `9.5 GB`. */
export function inUnits(bytes: number): string {
  if (bytes < 1000) return `${bytes} ${bytes === 1 ? 'byte' : 'bytes'}`;
  const power = Math.min(UNITS.length, Math.floor(Math.log10(bytes) / 3));
  // Cut off, not rounded: 9.999 GB of 10 GB must not read as 10 GB.
  return `${Math.floor((bytes / 1000 ** power) * 100) / 100} ${UNITS[power - 1]}`;
}

/** The usage of an organization at central. */
export interface CentralUsage {
  readonly organization: OrganizationName;
  /** All bytes that count against the quota. */
  readonly bytes: number;
  readonly manifests: number;
  readonly tags: number;
  /** Blobs that count, and open uploads. */
  readonly blobs: number;
  /** Increases with each change. */
  readonly changed: number;
}

const SELECT_CHANGED = sql<CentralUsage>`
  SELECT organization, ${COUNTED()} AS bytes, manifests, tags, blobs + open_uploads AS blobs, changed FROM usage
  WHERE changed > 0 AND changed > CAST(?1 AS INTEGER) ORDER BY changed LIMIT CAST(?2 AS INTEGER)`.reading(paged(2));

/**
 * At central, selects the usage that has changed after `changed`, in the order of change, of organizations with a quota
 * or near a limit.
 */
export function selectChangedUsage(changed: number, limit: number): BoundStatement<CentralUsage> {
  return [SELECT_CHANGED, changed, limit];
}

const SELECT_USAGE_OF = sql<CentralUsage>`
  SELECT u.organization, ${COUNTED('u')} AS bytes, u.manifests, u.tags, u.blobs + u.open_uploads AS blobs, u.changed
  FROM json_each(?1) AS asked CROSS JOIN usage u ON u.organization = asked.value
  WHERE u.changed > 0 OR EXISTS (SELECT 1 FROM organizations o WHERE o.name = u.organization
    AND o.quota_bytes IS NOT NULL)`;

/** At central, selects the usage of those of the repositories' organizations that have a quota or are near a limit. */
export function selectUsageOf(repositories: readonly RepositoryName[]): BoundStatement<CentralUsage> {
  return [SELECT_USAGE_OF, JSON.stringify([...new Set(repositories.map(organizationOf))])];
}

const PUT_CENTRAL_USAGE = sql`
  INSERT INTO usage_at_central (organization, bytes, manifests, tags, blobs, changed)
  SELECT reported.value ->> 'organization', reported.value ->> 'bytes', reported.value ->> 'manifests',
    reported.value ->> 'tags', reported.value ->> 'blobs', reported.value ->> 'changed'
  FROM json_each(?1) AS reported WHERE true
  ON CONFLICT (organization) DO UPDATE SET
    bytes = excluded.bytes, manifests = excluded.manifests, tags = excluded.tags, blobs = excluded.blobs,
    changed = excluded.changed
  WHERE excluded.changed >= usage_at_central.changed`;

/**
 * At a node, stores the usage that central has reported. A report that is older than the stored one changes nothing.
 */
export function putCentralUsage(reported: readonly CentralUsage[]): BoundStatement[] {
  return reported.length === 0 ? [] : [[PUT_CENTRAL_USAGE, JSON.stringify(reported)]];
}

/** SQL that holds if a live manifest of an organization names a blob. */
function isReferenced(organization: string, digest: string): string {
  return `EXISTS (SELECT 1 FROM manifest_references r WHERE r.digest = ${digest}
    AND r.repository >= ${organization} || '/' AND r.repository < ${organization} || '0')`;
}

// The rows that central, as far as the node knows, does not count yet. ?1: live manifests, as JSON; `tags`: the
// parameter with the tags.
const LEFT_BLOBS = `
  SELECT DISTINCT u.organization, u.digest, coalesce(u.size, 0) AS bytes FROM json_each(?1) AS alive
  CROSS JOIN manifests m ON m.repository = alive.value ->> 'repository' AND m.digest = alive.value ->> 'digest'
  CROSS JOIN json_each(${descriptorsOf('m')}) AS d
  CROSS JOIN usage_blobs u ON u.organization = ${ofRepository('m.repository')}
    AND u.digest = d.value ->> 'digest' AND u.known = 0`;
const LEFT_MANIFESTS = `
  SELECT DISTINCT u.organization, u.digest, u.live, u.size FROM json_each(?1) AS alive
  CROSS JOIN usage_manifests u ON u.organization = ${ofRepository("(alive.value ->> 'repository')")}
    AND u.digest = alive.value ->> 'digest' AND u.known = 0`;
const LEFT_TAGS = (tags: string): string => `
  SELECT DISTINCT t.repository, t.name FROM json_each(${tags}) AS tag
  CROSS JOIN tags t ON t.repository = tag.value ->> 'repository' AND t.name = tag.value ->> 'name' AND t.visible = 1
  WHERE NOT EXISTS (SELECT 1 FROM known_tags k WHERE k.repository = t.repository AND k.name = t.name)`;

const perReference: ReadsAtMost = (run) => keyed(run) + 3 * MAX_REFERENCES * run.keys;

// Writes `usage` once for each organization, however many rows are left to central.
const LEAVE_SUMS = sql`
  INSERT INTO usage_added (organization, blobs, bytes, unreferenced, manifests, manifest_bytes, tags)
  SELECT organization, - sum(blobs), - sum(bytes), - sum(unreferenced), - sum(manifests), - sum(manifest_bytes),
    - sum(tags)
  FROM (
    SELECT b.organization, 1 AS blobs, b.bytes, iif(${isReferenced('b.organization', 'b.digest')}, 0, b.bytes)
      AS unreferenced, 0 AS manifests, 0 AS manifest_bytes, 0 AS tags FROM (${LEFT_BLOBS}) AS b
    UNION ALL SELECT organization, 0, 0, 0, live, size, 0 FROM (${LEFT_MANIFESTS})
    UNION ALL SELECT ${ofRepository('repository')}, 0, 0, 0, 0, 0, 1 FROM (${LEFT_TAGS('?2')}))
  GROUP BY organization`.reading(perReference);
const LEAVE_BLOBS = sql`
  UPDATE usage_blobs SET known = 1 WHERE (organization, digest) IN (
    SELECT organization, digest FROM (${LEFT_BLOBS}))`.reading(perReference);
const LEAVE_MANIFESTS = sql`
  UPDATE usage_manifests SET known = 1 WHERE (organization, digest) IN (
    SELECT organization, digest FROM (${LEFT_MANIFESTS}))`;
const LEAVE_TAGS = sql`INSERT INTO known_tags (repository, name) ${LEFT_TAGS('?1')}`;

/**
 * At a node, stops counting the manifests that are alive at central, their blobs, and the tags that central has:
 * central counts all of these.
 */
export function leaveToCentral(
  manifests: readonly {
    readonly repository: RepositoryName;
    readonly digest: string;
    readonly created: number;
    readonly deleted: number;
  }[],
  tags: readonly { readonly repository: RepositoryName; readonly name: Tag; readonly digest: string | null }[],
): BoundStatement[] {
  const alive = manifests
    .filter(({ created, deleted }) => created > deleted)
    .map(({ repository, digest }) => ({ repository, digest }));
  const there = tags.filter(({ digest }) => digest !== null).map(({ repository, name }) => ({ repository, name }));
  if (alive.length + there.length === 0) return [];
  const [manifestList, tagList] = [JSON.stringify(alive), JSON.stringify(there)];
  return [
    [LEAVE_SUMS, manifestList, tagList],
    [LEAVE_BLOBS, manifestList],
    [LEAVE_MANIFESTS, manifestList],
    [LEAVE_TAGS, tagList],
  ];
}

const LEAVE_SUMS_OF_BLOB = sql`
  INSERT INTO usage_added (organization, blobs, bytes, unreferenced)
  SELECT organization, -1, - coalesce(size, 0),
    - iif(${isReferenced('u.organization', 'u.digest')}, 0, coalesce(size, 0))
  FROM usage_blobs u WHERE organization = ?1 AND digest = ?2 AND known = 0`;
const LEAVE_BLOB = sql`UPDATE usage_blobs SET known = 1 WHERE organization = ?1 AND digest = ?2 AND known = 0`;

/** At a node, stops counting a blob that was copied down: central has it in this repository, and counts it. */
export function leaveBlobToCentral(repository: RepositoryName, digest: string): BoundStatement[] {
  const key = [organizationOf(repository), digest] as const;
  return [
    [LEAVE_SUMS_OF_BLOB, ...key],
    [LEAVE_BLOB, ...key],
  ];
}

const SIZE_OF_BLOB_ELSEWHERE = sql`
  UPDATE usage_blobs SET size = CAST(?3 AS INTEGER) WHERE organization = ?1 AND digest = ?2 AND size IS NULL`;

/** At a node, records the size of a blob whose bytes are elsewhere. */
export function sizeOfBlobElsewhere(repository: RepositoryName, digest: string, bytes: number): BoundStatement {
  return [SIZE_OF_BLOB_ELSEWHERE, organizationOf(repository), digest, bytes];
}

const ADVANCE_USAGE = sql`
  UPDATE change_log_positions SET usage_changed = CAST(?2 AS INTEGER) WHERE store = ?1`;

/**
 * At a node, applies a page of usage that has changed at central, and records how far the node has come.
 * @param from the node's position before the page; undefined if it had applied nothing yet
 */
export function applyUsage(
  node: string,
  from: number | undefined,
  reported: readonly CentralUsage[],
): BoundStatement[] {
  const to = reported.at(-1)?.changed ?? from ?? 0;
  return [...putCentralUsage(reported), ...(to === from ? [] : [[ADVANCE_USAGE, node, to] as const])];
}
