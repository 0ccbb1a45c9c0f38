/**
 * What organizations use of a store, and whether they may use more.
 *
 * The triggers of `0001_berth.sql` keep the rows; here they are only read. A write that adds bytes has
 * {@link exceedsQuota} in its first statement, so that the sum and the write are one transaction: two pushes that fit
 * only one by one never both succeed at one store. What adds nothing is never refused.
 *
 * At a node the sum is its own use of what central is not known to count, and what central last told. Merging refuses
 * nothing: what a node acknowledged, central takes.
 */
import { OciError } from '../../oci/errors.ts';
import { type OrganizationName, organizationOf, type RepositoryName, type Tag } from '../../oci/reference.ts';
import { type BoundStatement, type Database, sql, sqlOfWholeTable } from '../database.ts';
import { asManyAs, keyed, paged } from '../rows-read.ts';

/** SQL for the organization of a repository. */
export function ofRepository(repository: string): string {
  return `substr(${repository}, 1, instr(${repository}, '/') - 1)`;
}

/** SQL for what counts of a row of `usage`, named `alias`. */
export const COUNTED = (alias = 'usage'): string => `${alias}.bytes + ${alias}.uploading + ${alias}.manifest_bytes`;

const USED = `coalesce((SELECT ${COUNTED()} FROM usage WHERE organization = o.name), 0)
  + coalesce((SELECT bytes FROM usage_at_central WHERE organization = o.name), 0)`;

/**
 * SQL that holds where `bytes` more would exceed the quota of a repository's organization, whose row it may call `o`.
 */
export function exceedsQuota(repository: string, bytes: string): string {
  return `EXISTS (SELECT 1 FROM organizations o WHERE o.name = ${ofRepository(repository)} AND o.quota_bytes IS NOT NULL
    AND ${bytes} > 0 AND ${USED} + ${bytes} > o.quota_bytes)`;
}

/**
 * SQL that holds where a blob counts for the organization of a repository. A link whose blob does not is of deleted
 * manifests.
 */
export function counts(repository: string, digest: string): string {
  return `EXISTS (SELECT 1 FROM usage_blobs u WHERE u.organization = ${ofRepository(repository)}
    AND u.digest = ${digest})`;
}

/** SQL for the bytes that a blob adds to the organization `o`: none if it counts already. */
export function addedBy(digest: string, bytes: string): string {
  return `iif(EXISTS (SELECT 1 FROM usage_blobs u WHERE u.organization = o.name
    AND u.digest = ${digest}), 0, ${bytes})`;
}

/**
 * SQL for the bytes that a manifest adds to `o`: of those of its blobs (a JSON array) that the repository has, and that
 * do not count yet.
 */
export function addedByManifest(repository: string, blobs: string): string {
  return `coalesce((SELECT sum((SELECT l.size FROM locations l WHERE l.digest = blob.value LIMIT 1))
    FROM json_each(${blobs}) AS blob CROSS JOIN links k ON k.repository = ${repository} AND k.digest = blob.value
    WHERE NOT EXISTS (SELECT 1 FROM usage_blobs u WHERE u.organization = o.name AND u.digest = blob.value)), 0)`;
}

const SELECT_LIMIT = sql`SELECT o.quota_bytes AS quota, ${USED} AS used FROM organizations o WHERE o.name = ?1`;

/** The refusal of a write that {@link exceedsQuota}, with the figures as they are now. */
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

/** Bytes for a person, in powers of 1000: `9.5 GB`. */
export function inUnits(bytes: number): string {
  if (bytes < 1000) return `${bytes} ${bytes === 1 ? 'byte' : 'bytes'}`;
  const power = Math.min(UNITS.length, Math.floor(Math.log10(bytes) / 3));
  // Cut, not rounded: who has used 9.99 GB of 10 GB does not read that there are 10.
  return `${Math.floor((bytes / 1000 ** power) * 100) / 100} ${UNITS[power - 1]}`;
}

/** What an organization uses at central. */
export interface CentralUsage {
  readonly organization: OrganizationName;
  /** Bytes of all that counts. */
  readonly bytes: number;
  readonly manifests: number;
  readonly tags: number;
  /** Greater with each change. */
  readonly changed: number;
}

const SELECT_CHANGED = sql<CentralUsage>`
  SELECT organization, ${COUNTED()} AS bytes, manifests, tags, changed FROM usage
  WHERE changed > 0 AND changed > CAST(?1 AS INTEGER) ORDER BY changed LIMIT CAST(?2 AS INTEGER)`.reading(paged(2));

/**
 * At central: the use of organizations with a quota, or near a limit, that has changed after `changed`, in the order of
 * change.
 */
export function selectChangedUsage(changed: number, limit: number): BoundStatement<CentralUsage> {
  return [SELECT_CHANGED, changed, limit];
}

const SELECT_USAGE_OF = sql<CentralUsage>`
  SELECT u.organization, ${COUNTED('u')} AS bytes, u.manifests, u.tags, u.changed FROM json_each(?1) AS asked
  CROSS JOIN usage u ON u.organization = asked.value
  WHERE u.changed > 0 OR EXISTS (SELECT 1 FROM organizations o WHERE o.name = u.organization
    AND o.quota_bytes IS NOT NULL)`;

/** At central: the use of those of the repositories' organizations that have a quota, or are near a limit. */
export function selectUsageOf(repositories: readonly RepositoryName[]): BoundStatement<CentralUsage> {
  return [SELECT_USAGE_OF, JSON.stringify([...new Set(repositories.map(organizationOf))])];
}

const PUT_CENTRAL_USAGE = sql`
  INSERT INTO usage_at_central (organization, bytes, manifests, tags, changed)
  SELECT told.value ->> 'organization', told.value ->> 'bytes', told.value ->> 'manifests', told.value ->> 'tags',
    told.value ->> 'changed' FROM json_each(?1) AS told WHERE true
  ON CONFLICT (organization) DO UPDATE SET
    bytes = excluded.bytes, manifests = excluded.manifests, tags = excluded.tags, changed = excluded.changed
  WHERE excluded.changed >= usage_at_central.changed`;

/** At a node: what central has told; older than what is known, it changes nothing. */
export function putCentralUsage(told: readonly CentralUsage[]): BoundStatement[] {
  return told.length === 0 ? [] : [[PUT_CENTRAL_USAGE, JSON.stringify(told)]];
}

/** A manifest of 4 MiB has no more references. */
const MOST_REFERENCES = 30_000;

const LEAVE_TO_CENTRAL = sql`
  UPDATE usage_blobs SET known = 1 WHERE known = 0 AND (organization, digest) IN (
    SELECT ${ofRepository('r.repository')}, r.digest FROM json_each(?1) AS alive
    CROSS JOIN manifest_references r INDEXED BY manifest_references_by_manifest
      ON r.repository = alive.value ->> 'repository' AND r.manifest = alive.value ->> 'digest'
    WHERE r.kind <> 'subject')`.reading((run) => keyed(run) + 3 * MOST_REFERENCES * run.keys);

const LEAVE_MANIFESTS_TO_CENTRAL = sql`
  UPDATE usage_manifests SET known = 1 WHERE known = 0 AND (organization, digest) IN (
    SELECT ${ofRepository("(alive.value ->> 'repository')")}, alive.value ->> 'digest' FROM json_each(?1) AS alive)`;

/** At a node: manifests that live at central, and their blobs, count there, and not a second time here. */
export function leaveToCentral(
  manifests: readonly {
    readonly repository: RepositoryName;
    readonly digest: string;
    readonly created: number;
    readonly deleted: number;
  }[],
): BoundStatement[] {
  const alive = manifests.filter(({ created, deleted }) => created > deleted);
  if (alive.length === 0) return [];
  const list = JSON.stringify(alive.map(({ repository, digest }) => ({ repository, digest })));
  return [
    [LEAVE_TO_CENTRAL, list],
    [LEAVE_MANIFESTS_TO_CENTRAL, list],
  ];
}

const LEAVE_TAGS_TO_CENTRAL = sql`
  INSERT INTO known_tags (repository, name)
  SELECT t.repository, t.name FROM json_each(?1) AS tag
  CROSS JOIN tags t ON t.repository = tag.value ->> 'repository' AND t.name = tag.value ->> 'name' AND t.visible = 1
  WHERE true ON CONFLICT DO NOTHING`;

/** At a node: tags that central has count there. */
export function leaveTagsToCentral(
  tags: readonly { readonly repository: RepositoryName; readonly name: Tag; readonly digest: string | null }[],
): BoundStatement[] {
  const there = tags.filter(({ digest }) => digest !== null).map(({ repository, name }) => ({ repository, name }));
  return there.length === 0 ? [] : [[LEAVE_TAGS_TO_CENTRAL, JSON.stringify(there)]];
}

const LEAVE_BLOB_TO_CENTRAL = sql`
  UPDATE usage_blobs SET known = 1 WHERE organization = ?1 AND digest = ?2 AND known = 0`;

/** At a node: a blob that was fetched because central has it in this repository. */
export function leaveBlobToCentral(repository: RepositoryName, digest: string): BoundStatement {
  return [LEAVE_BLOB_TO_CENTRAL, organizationOf(repository), digest];
}

const SIZE_OF_BLOB_ELSEWHERE = sql`
  UPDATE usage_blobs SET size = CAST(?3 AS INTEGER) WHERE organization = ?1 AND digest = ?2 AND size IS NULL`;

/** At a node: the size of a blob whose bytes lie elsewhere. */
export function sizeOfBlobElsewhere(repository: RepositoryName, digest: string, bytes: number): BoundStatement {
  return [SIZE_OF_BLOB_ELSEWHERE, organizationOf(repository), digest, bytes];
}

const NEVER_APPLIED = '(SELECT usage_changed FROM change_log_positions WHERE store = ?1) IS NULL';
// Once, at a node that held images before it counted: all that it does not have to announce is known at central.
const LEAVE_ALL_TO_CENTRAL = [
  sqlOfWholeTable`
  UPDATE usage_blobs SET known = 1 WHERE known = 0 AND ${NEVER_APPLIED} AND (organization, digest) IN (
      SELECT ${ofRepository('r.repository')}, r.digest FROM manifests m
      CROSS JOIN manifest_references r INDEXED BY manifest_references_by_manifest ON r.repository = m.repository
        AND r.manifest = m.digest
      WHERE m.created_version > m.deleted_version AND r.kind <> 'subject' AND NOT EXISTS (
        SELECT 1 FROM outbox k WHERE k.kind = 'manifest' AND k.repository = m.repository AND k.key = m.digest))`,
  sqlOfWholeTable`
  UPDATE usage_manifests SET known = 1 WHERE known = 0 AND ${NEVER_APPLIED} AND (organization, digest) IN (
    SELECT ${ofRepository('m.repository')}, m.digest FROM manifests m
    WHERE m.created_version > m.deleted_version AND NOT EXISTS (
      SELECT 1 FROM outbox k WHERE k.kind = 'manifest' AND k.repository = m.repository AND k.key = m.digest))`,
  sqlOfWholeTable`
  INSERT INTO known_tags (repository, name)
  SELECT t.repository, t.name FROM tags t WHERE t.visible = 1 AND ${NEVER_APPLIED} AND NOT EXISTS (
    SELECT 1 FROM outbox k WHERE k.kind = 'tag' AND k.repository = t.repository AND k.key = t.name)
  ON CONFLICT DO NOTHING`,
].map((statement) => statement.reading(asManyAs('what a node held before it first heard of use at central')));

const ADVANCE_USAGE = sql`
  UPDATE change_log_positions SET usage_changed = CAST(?2 AS INTEGER) WHERE store = ?1`;

/**
 * At a node: a page of what has changed at central, and that it has come so far.
 * @param from how far it had come; undefined for never
 */
export function applyUsage(node: string, from: number | undefined, told: readonly CentralUsage[]): BoundStatement[] {
  const to = told.at(-1)?.changed ?? from ?? 0;
  return [
    ...(from === undefined ? LEAVE_ALL_TO_CENTRAL.map((statement): BoundStatement => [statement, node]) : []),
    ...putCentralUsage(told),
    ...(to === from ? [] : [[ADVANCE_USAGE, node, to] as const]),
  ];
}
