/**
 * The limits that apply to every organization, even without a quota: on its manifests, tags, repositories, credentials
 * and uploads, on the tags of one manifest, and on the bytes of its manifests in one store's database. The SQL for the
 * limit of blobs is in `blob-limit.ts`.
 *
 * Most counts are columns of `usage`, which triggers maintain (`0001_berth.sql`). The statement that takes the commit's
 * version checks them. So if there is room for only one of two pushes, one is stored. A write that adds nothing is
 * never refused, and merging refuses nothing. For manifests, tags and blobs, a node adds the counts that central last
 * reported. Other counts are those of the node's own database alone.
 */
import type { Digest } from '../../oci/digest.ts';
import { type OrganizationName, organizationOf, type RepositoryName, type Tag } from '../../oci/reference.ts';
import { OciError } from '../../oci/errors.ts';
import { type BoundStatement, type Database, sql } from '../database.ts';
import {
  MAX_CREDENTIALS,
  MAX_OPEN_UPLOADS,
  MAX_REPOSITORIES,
  MAX_TAGS_ON_MANIFEST,
  MAX_UPLOAD_ROWS,
  type StoreLimits,
} from './limits.ts';
import { atMost } from '../rows-read.ts';
import { blobsOf, hasTooManyBlobs, manifestExceedsBlobs } from './blob-limit.ts';
import { inUnits, ofRepository } from './usage-rows.ts';

/** The part of a push to a node that central already counts. */
export interface KnownAtCentral {
  readonly manifest: boolean;
  readonly tags: readonly Tag[];
}

/** Describes a manifest that is about to be written, as JSON for {@link excessOf} and {@link bytesOfManifest}. */
export function addition(
  digest: Digest,
  size: number,
  tags: readonly Tag[],
  limits: StoreLimits,
  known: KnownAtCentral = { manifest: false, tags: [] },
): string {
  const { manifests, tags: maxTags, manifestBytes, blobs } = limits;
  const unknown = tags.filter((tag) => !known.tags.includes(tag));
  return JSON.stringify({
    digest,
    size,
    tags: unknown,
    onManifest: tags,
    known: known.manifest ? 1 : 0,
    limits: [manifests, maxTags, manifestBytes, blobs],
  });
}

/**
 * SQL for the bytes that a manifest itself adds to its organization's usage; 0 if central counts it, or if one of the
 * organization's repositories already holds it alive.
 */
export function bytesOfManifest(repository: string, added: string): string {
  return `iif(${added} ->> 'known' OR EXISTS (SELECT 1 FROM usage_manifests u
    WHERE u.organization = ${ofRepository(repository)} AND u.digest = ${added} ->> 'digest'), 0, ${added} ->> 'size')`;
}

const kept = (column: string, repository: string, table = 'usage'): string =>
  `coalesce((SELECT ${column} FROM ${table} WHERE organization = ${ofRepository(repository)}), 0)`;
const counted = (column: string, repository: string): string =>
  `${kept(column, repository)} + ${kept(column, repository, 'usage_at_central')}`;

/** SQL that holds if the organization of a repository has as many repositories as it may have. */
export function hasTooManyRepositories(repository: string): string {
  return `${kept('repository_rows', repository)} >= ${MAX_REPOSITORIES}`;
}

/** SQL for the number of tags on the manifest of an {@link addition}, at most {@link MAX_TAGS_ON_MANIFEST}. */
const tagsOnManifest = (repository: string, added: string): string => `(SELECT count(*) FROM (
  SELECT 1 FROM tags t INDEXED BY tags_by_digest WHERE t.repository = ${repository}
    AND t.digest = ${added} ->> 'digest' LIMIT ${MAX_TAGS_ON_MANIFEST}))`;
/**
 * SQL for the most rows of tags that an organization may have in one store, deleted and hidden ones included. They stay
 * until they are forgotten, so without this limit pushing and deleting would fill the database.
 */
const maxTagRows = (added: string): string => `2 * (${added} ->> '$.limits[1]')`;

/** Bounds a statement that checks an {@link addition}. */
export const readsAddition = atMost(4 * MAX_TAGS_ON_MANIFEST);

/**
 * SQL for the {@link Limit} that an {@link addition} to a repository would exceed; NULL if there is none.
 * @param blobs the blobs that the manifest names, as a JSON array
 */
export function excessOf(repository: string, added: string, blobs: string): string {
  const row = `FROM manifests m WHERE m.repository = ${repository} AND m.digest = ${added} ->> 'digest'`;
  return `(SELECT CASE
      WHEN ${hasTooManyRepositories(repository)} AND NOT EXISTS (SELECT 1 FROM repositories r
        WHERE r.name = ${repository})
        THEN 'repositories'
      WHEN new.manifests > 0 AND new.manifests + ${counted('manifests', repository)} > ${added} ->> '$.limits[0]'
        THEN 'manifests'
      WHEN new.tags > 0 AND new.tags + ${counted('tags', repository)} > ${added} ->> '$.limits[1]' THEN 'tags'
      WHEN new.tag_rows > 0 AND new.tag_rows + ${kept('tag_rows', repository)} > ${maxTagRows(added)} THEN 'tag_rows'
      WHEN new.bytes > 0 AND new.bytes + ${kept('stored_manifest_bytes', repository)} > ${added} ->> '$.limits[2]'
        THEN 'bytes'
      WHEN new.on_manifest > 0 AND new.on_manifest + ${tagsOnManifest(repository, added)} > ${MAX_TAGS_ON_MANIFEST}
        THEN 'tags_on_manifest'
      WHEN ${manifestExceedsBlobs(repository, blobs, `(${added} ->> '$.limits[3]')`)} THEN 'blobs'
      END
    FROM (SELECT
      NOT (${added} ->> 'known' OR EXISTS (SELECT 1 ${row} AND m.created_version > m.deleted_version)) AS manifests,
      (SELECT count(*) FROM json_each(${added}, '$.tags') AS tag WHERE NOT EXISTS (
        SELECT 1 FROM tags t WHERE t.repository = ${repository} AND t.name = tag.value AND t.visible = 1)) AS tags,
      (SELECT count(*) FROM json_each(${added}, '$.onManifest') AS tag WHERE NOT EXISTS (
        SELECT 1 FROM tags t WHERE t.repository = ${repository} AND t.name = tag.value)) AS tag_rows,
      (SELECT count(*) FROM json_each(${added}, '$.onManifest') AS tag WHERE NOT EXISTS (
        SELECT 1 FROM tags t WHERE t.repository = ${repository} AND t.name = tag.value
          AND t.digest = ${added} ->> 'digest')) AS on_manifest,
      iif(EXISTS (SELECT 1 ${row} AND m.media_type <> ''), 0, ${added} ->> 'size') AS bytes) AS new)`;
}

const SELECT_EXCESS = sql`
  SELECT ${excessOf('?1', '?2', '?3')} AS excess, ${blobsOf('?1')} AS blobs, ${counted('manifests', '?1')} AS manifests,
    ${counted('tags', '?1')} AS tags, ${kept('tag_rows', '?1')} AS tag_rows,
    ${kept('repository_rows', '?1')} AS repositories, ${kept('stored_manifest_bytes', '?1')} AS bytes,
    ${tagsOnManifest('?1', '?2')} AS tags_on_manifest`.reading(readsAddition);

type Limit = 'manifests' | 'tags' | 'tag_rows' | 'repositories' | 'bytes' | 'tags_on_manifest' | 'blobs';

type Excess = { readonly excess: Limit | null } & Readonly<Record<Limit, number>>;

/**
 * Returns the error for an {@link addition} that exceeds a limit, with the current figures; undefined if it exceeds
 * none.
 */
export async function limitExceeded(
  database: Database,
  repository: RepositoryName,
  added: string,
  blobs: string,
  limits: StoreLimits,
): Promise<OciError | undefined> {
  const found = await database.first<Excess>(SELECT_EXCESS, repository, added, blobs);
  if (found === undefined || found.excess === null) return undefined;
  const organization = organizationOf(repository);
  const used = found[found.excess];
  const limit = {
    manifests: limits.manifests,
    tags: limits.tags,
    tag_rows: 2 * limits.tags,
    repositories: MAX_REPOSITORIES,
    bytes: limits.manifestBytes,
    blobs: limits.blobs,
    tags_on_manifest: MAX_TAGS_ON_MANIFEST,
  }[found.excess];
  return new OciError('QUOTA_EXCEEDED', {
    message:
      found.excess === 'tags_on_manifest'
        ? messageOfTagsOnManifest(repository, used)
        : messageOf(organization, found.excess, used, limit),
    detail: { organization, limit: found.excess, used, most: limit },
  });
}

function messageOfTagsOnManifest(repository: RepositoryName, used: number): string {
  return (
    `this tag would exceed the limit of ${MAX_TAGS_ON_MANIFEST} tags on one manifest of ${repository}: ` +
    `the manifest has ${used}. Delete some of them first. ` +
    'Tags that a deletion of the manifest has hidden count until they are collected, a day later'
  );
}

/** The subjects of messages, by the limit that a push would exceed. */
const SUBJECTS = {
  manifests: 'this manifest',
  tags: 'this tag',
  repositories: 'this repository',
  blobs: 'this manifest, with the blobs that it uses again,',
};

/** @param subject the subject of the message, if it is not one of {@link SUBJECTS} */
function messageOf(
  organization: OrganizationName,
  excess: Exclude<Limit, 'tags_on_manifest'>,
  used: number,
  limit: number,
  subject?: string,
): string {
  if (excess === 'bytes') {
    return (
      `this manifest would exceed the limit of ${inUnits(limit)} of manifests of the organization ${organization}: ` +
      `${inUnits(used)} are used, and deleted manifests count until they are collected. ` +
      'Delete images and try again a day later, or ask the operator for a larger limit'
    );
  }
  if (excess === 'tag_rows') {
    return (
      `this tag would exceed the limit of ${limit} tags, deleted ones included, of the organization ${organization}: ` +
      `it has ${used}, and deleted tags count until they are forgotten. ` +
      'Try again a day later, or ask the operator for a larger limit'
    );
  }
  return (
    `${subject ?? SUBJECTS[excess]} would exceed the limit of ${limit} ${excess} of the organization ${organization}, ` +
    `which has ${used}${excess === 'blobs' ? ' with its open uploads' : ''}. ` +
    (excess === 'repositories'
      ? 'Remove other repositories first'
      : 'Delete images, or ask the operator for a larger limit')
  );
}

const SELECT_BLOBS = sql<{ blobs: number }>`SELECT ${blobsOf('?1')} AS blobs`;

/** Returns the error for one blob or upload too many; undefined if there is room for one. @param most the limit */
export async function blobsExceeded(
  database: Database,
  repository: RepositoryName,
  what: 'blob' | 'upload',
  most: number,
): Promise<OciError | undefined> {
  const used = (await database.first(SELECT_BLOBS, repository))?.blobs ?? 0;
  if (used < most) return undefined;
  const organization = organizationOf(repository);
  return new OciError('QUOTA_EXCEEDED', {
    message: messageOf(organization, 'blobs', used, most, `this ${what}`),
    detail: { organization, limit: 'blobs', used, most },
  });
}

/** Returns the error for one repository too many. */
export function repositoriesExceeded(organization: OrganizationName): OciError {
  return new OciError('QUOTA_EXCEEDED', {
    message: messageOf(organization, 'repositories', MAX_REPOSITORIES, MAX_REPOSITORIES),
    detail: { organization, limit: 'repositories', most: MAX_REPOSITORIES },
  });
}

/** SQL that holds if an organization has as many credentials as it may have. Reads at most that many rows. */
export function hasTooManyCredentials(organization: string): string {
  return `(SELECT count(*) FROM (SELECT 1 FROM credentials WHERE organization = ${organization}
    LIMIT ${MAX_CREDENTIALS})) >= ${MAX_CREDENTIALS}`;
}

/** Returns the error for one credential too many. */
export function credentialsExceeded(organization: OrganizationName): OciError {
  return new OciError('QUOTA_EXCEEDED', {
    message:
      `this credential would exceed the limit of ${MAX_CREDENTIALS} credentials of the organization ${organization}: ` +
      'remove others first, such as those that have expired',
    detail: { organization, limit: 'credentials', most: MAX_CREDENTIALS },
  });
}

/** SQL that holds if the organization of a repository has as many rows of uploads as it may have. */
export function hasTooManyUploadRows(repository: string): string {
  return `${kept('upload_rows', repository)} >= ${MAX_UPLOAD_ROWS}`;
}

/** SQL that holds if the organization of a repository may not open another upload. @param blobs the limit of blobs */
export function hasTooManyUploads(repository: string, blobs: string): string {
  const hasTooMany = `open_uploads >= ${MAX_OPEN_UPLOADS} OR upload_rows >= ${MAX_UPLOAD_ROWS}`;
  return `(${kept(hasTooMany, repository)} OR ${hasTooManyBlobs(repository, blobs)})`;
}

const SELECT_UPLOADS = sql<{ open: number; rows: number }>`
  SELECT ${kept('open_uploads', '?1')} AS open, ${kept('upload_rows', '?1')} AS rows`;

/**
 * Returns the error for one chunk or open upload too many; undefined if there is room.
 * @param isNew whether it is the first chunk, which opens the upload
 * @param blobs the limit of blobs
 */
export async function uploadsExceeded(
  database: Database,
  repository: RepositoryName,
  isNew: boolean,
  blobs: number,
): Promise<OciError | undefined> {
  const { open, rows } = (await database.first(SELECT_UPLOADS, repository)) ?? { open: 0, rows: 0 };
  const organization = organizationOf(repository);
  if (isNew && open >= MAX_OPEN_UPLOADS) {
    return new OciError('QUOTA_EXCEEDED', {
      message:
        `this upload would exceed the limit of ${MAX_OPEN_UPLOADS} open uploads of the organization ${organization}: ` +
        'finish or cancel other uploads, or wait until they expire, a day after they were opened',
      detail: { organization, limit: 'uploads', most: MAX_OPEN_UPLOADS },
    });
  }
  if (rows < MAX_UPLOAD_ROWS) return isNew ? blobsExceeded(database, repository, 'upload', blobs) : undefined;
  return new OciError('QUOTA_EXCEEDED', {
    message:
      `this chunk would exceed the limit of ${MAX_UPLOAD_ROWS} uploads and chunks of the organization ` +
      `${organization}, open or ended in the last three hours: try again later, or send larger chunks`,
    detail: { organization, limit: 'upload_rows', most: MAX_UPLOAD_ROWS },
  });
}

/**
 * Central reports the counts of an organization without a quota to nodes once it comes this close to a limit, in
 * manifests or tags.
 */
const NEAR = 100_000;

const REPORT_NEAR_LIMITS = sql`
  UPDATE usage SET changed = max(CAST(unixepoch('subsec') * 1000 AS INTEGER),
    1 + coalesce((SELECT max(changed) FROM usage WHERE changed > 0), 0))
  WHERE organization IN (SELECT value FROM json_each(?1)) AND changed = 0
    AND (manifests > CAST(?2 AS INTEGER) OR tags > CAST(?3 AS INTEGER) OR blobs + open_uploads > CAST(?4 AS INTEGER))`;

/**
 * At central, starts reporting the usage of organizations that are near a limit. From then on nodes hear of each
 * change, as for organizations with a quota. Runs after manifests or tags were added.
 */
export function reportNearLimits(repositories: readonly RepositoryName[], limits: StoreLimits): BoundStatement {
  const organizations = JSON.stringify([...new Set(repositories.map(organizationOf))]);
  const { manifests, tags, blobs } = limits;
  return [REPORT_NEAR_LIMITS, organizations, manifests - NEAR, tags - NEAR, blobs - NEAR];
}
