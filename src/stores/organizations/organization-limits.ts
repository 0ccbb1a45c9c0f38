/**
 * The limits that hold for an organization without a quota as well: how many manifests, tags and repositories it has,
 * and how many bytes of manifests one store's database keeps for it.
 *
 * The counts are columns of `usage`, which triggers keep (`0001_berth.sql`). They are judged in the statement that
 * takes the commit's version, so that of two pushes that fit only one by one, one is stored. What adds nothing is never
 * refused, and merging refuses nothing. A node adds what central last told of manifests and tags; repositories and
 * bytes are those of its own database alone.
 */
import type { Digest } from '../../oci/digest.ts';
import { type OrganizationName, organizationOf, type RepositoryName, type Tag } from '../../oci/reference.ts';
import { OciError } from '../../oci/errors.ts';
import { type BoundStatement, type Database, sql } from '../database.ts';
import { DEFAULT_LIMITS, MAX_OPEN_UPLOADS, MAX_REPOSITORIES, type StoreLimits } from './limits.ts';
import { inUnits, ofRepository } from './usage-rows.ts';

/** What central counts already of a manifest that is pushed to a node. */
export interface KnownAtCentral {
  readonly manifest: boolean;
  readonly tags: readonly Tag[];
}

/** A manifest that is about to be written, as JSON for {@link excessOf} and {@link bytesOfManifest}. */
export function addition(
  digest: Digest,
  size: number,
  tags: readonly Tag[],
  limits: StoreLimits = DEFAULT_LIMITS,
  known: KnownAtCentral = { manifest: false, tags: [] },
): string {
  const { manifests, tags: most, manifestBytes } = limits;
  const unknown = tags.filter((tag) => !known.tags.includes(tag));
  return JSON.stringify({
    digest,
    size,
    tags: unknown,
    known: known.manifest ? 1 : 0,
    limits: [manifests, most, manifestBytes],
  });
}

/** SQL for the bytes that a manifest adds to the organization: none if it lives in one of its repositories already. */
export function bytesOfManifest(repository: string, added: string): string {
  return `iif(${added} ->> 'known' OR EXISTS (SELECT 1 FROM usage_manifests u
    WHERE u.organization = ${ofRepository(repository)} AND u.digest = ${added} ->> 'digest'), 0, ${added} ->> 'size')`;
}

const kept = (column: string, repository: string, table = 'usage'): string =>
  `coalesce((SELECT ${column} FROM ${table} WHERE organization = ${ofRepository(repository)}), 0)`;
const counted = (column: string, repository: string): string =>
  `${kept(column, repository)} + ${kept(column, repository, 'usage_at_central')}`;

/** SQL that holds where the organization of a repository may have no repository more. */
export function hasTooManyRepositories(repository: string): string {
  return `${kept('repository_rows', repository)} >= ${MAX_REPOSITORIES}`;
}

/** SQL for the {@link Limit} that an {@link addition} to a repository would exceed; NULL for none. */
export function excessOf(repository: string, added: string): string {
  const row = `FROM manifests m WHERE m.repository = ${repository} AND m.digest = ${added} ->> 'digest'`;
  return `(SELECT CASE
      WHEN ${hasTooManyRepositories(repository)} AND NOT EXISTS (SELECT 1 FROM repositories r
        WHERE r.name = ${repository})
        THEN 'repositories'
      WHEN new.manifests > 0 AND new.manifests + ${counted('manifests', repository)} > ${added} ->> '$.limits[0]'
        THEN 'manifests'
      WHEN new.tags > 0 AND new.tags + ${counted('tags', repository)} > ${added} ->> '$.limits[1]' THEN 'tags'
      WHEN new.bytes > 0 AND new.bytes + ${kept('stored_manifest_bytes', repository)} > ${added} ->> '$.limits[2]'
        THEN 'bytes'
      END
    FROM (SELECT
      NOT (${added} ->> 'known' OR EXISTS (SELECT 1 ${row} AND m.created_version > m.deleted_version)) AS manifests,
      (SELECT count(*) FROM json_each(${added}, '$.tags') AS tag WHERE NOT EXISTS (
        SELECT 1 FROM tags t WHERE t.repository = ${repository} AND t.name = tag.value AND t.visible = 1)) AS tags,
      iif(EXISTS (SELECT 1 ${row} AND m.media_type <> ''), 0, ${added} ->> 'size') AS bytes) AS new)`;
}

const SELECT_EXCESS = sql`
  SELECT ${excessOf('?1', '?2')} AS excess, ${counted('manifests', '?1')} AS manifests,
    ${counted('tags', '?1')} AS tags,
    ${kept('repository_rows', '?1')} AS repositories, ${kept('stored_manifest_bytes', '?1')} AS bytes`;

type Limit = 'manifests' | 'tags' | 'repositories' | 'bytes';

type Excess = { readonly excess: Limit | null } & Readonly<Record<Limit, number>>;

/**
 * The refusal of an {@link addition} that exceeds a limit, with the figures as they are now; undefined where none is
 * exceeded.
 */
export async function limitExceeded(
  database: Database,
  repository: RepositoryName,
  added: string,
  limits: StoreLimits = DEFAULT_LIMITS,
): Promise<OciError | undefined> {
  const found = await database.first<Excess>(SELECT_EXCESS, repository, added);
  if (found === undefined || found.excess === null) return undefined;
  const organization = organizationOf(repository);
  const used = found[found.excess];
  const { manifests, tags, manifestBytes: bytes } = limits;
  const limit = { manifests, tags, repositories: MAX_REPOSITORIES, bytes }[found.excess];
  return new OciError('QUOTA_EXCEEDED', {
    message: messageOf(organization, found.excess, used, limit),
    detail: { organization, limit: found.excess, used, most: limit },
  });
}

function messageOf(organization: OrganizationName, excess: Limit, used: number, limit: number): string {
  if (excess === 'bytes') {
    return (
      `this manifest would exceed the ${inUnits(limit)} of manifests that a store keeps for the organization ${organization}, ` +
      `deleted ones included until they are collected: ${inUnits(used)} are used. Delete images and try again a day later, ` +
      'or ask the operator for a larger limit'
    );
  }
  const what = { manifests: 'manifest', tags: 'tag', repositories: 'repository' }[excess];
  return (
    `this ${what} would exceed the limit of ${limit} ${excess} of the organization ${organization}, which has ${used}. ` +
    (excess === 'repositories' ? 'Remove others first' : 'Delete images, or ask the operator for a larger limit')
  );
}

/** The refusal of one more repository. */
export function repositoriesExceeded(organization: OrganizationName): OciError {
  return new OciError('QUOTA_EXCEEDED', {
    message: messageOf(organization, 'repositories', MAX_REPOSITORIES, MAX_REPOSITORIES),
    detail: { organization, limit: 'repositories', most: MAX_REPOSITORIES },
  });
}

/** SQL that holds where one more open upload would exceed what the organization of a repository may have. */
export function hasTooManyUploads(repository: string): string {
  return `${kept('open_uploads', repository)} >= ${MAX_OPEN_UPLOADS}`;
}

const SELECT_TOO_MANY_UPLOADS = sql`SELECT 1 WHERE ${hasTooManyUploads('?1')}`;

/** The refusal of one more open upload; undefined where it may be opened. */
export async function uploadsExceeded(database: Database, repository: RepositoryName): Promise<OciError | undefined> {
  if ((await database.first(SELECT_TOO_MANY_UPLOADS, repository)) === undefined) return undefined;
  const organization = organizationOf(repository);
  return new OciError('QUOTA_EXCEEDED', {
    message:
      `this upload would exceed the ${MAX_OPEN_UPLOADS} that the organization ${organization} may have open at once: ` +
      'finish or cancel others, or wait until they expire, a day after they were opened',
    detail: { organization, limit: 'uploads', most: MAX_OPEN_UPLOADS },
  });
}

/** How near to a limit an organization without a quota is before nodes hear how much it has. */
const NEAR = 100_000;

const TELL_OF_FULL = sql`
  UPDATE usage SET changed = max(CAST(unixepoch('subsec') * 1000 AS INTEGER),
    1 + coalesce((SELECT max(changed) FROM usage WHERE changed > 0), 0))
  WHERE organization IN (SELECT value FROM json_each(?1)) AND changed = 0
    AND (manifests > CAST(?2 AS INTEGER) OR tags > CAST(?3 AS INTEGER))`;

/**
 * At central, after manifests or tags were added: from when an organization is near a limit, nodes are told of each
 * change, as they are of organizations with a quota.
 */
export function tellOfFull(
  repositories: readonly RepositoryName[],
  limits: StoreLimits = DEFAULT_LIMITS,
): BoundStatement {
  const organizations = JSON.stringify([...new Set(repositories.map(organizationOf))]);
  return [TELL_OF_FULL, organizations, limits.manifests - NEAR, limits.tags - NEAR];
}
