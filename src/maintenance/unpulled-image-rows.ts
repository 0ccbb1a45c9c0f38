/** Finds the images of an organization that nobody has pulled for a long time. */
import type { Digest } from '../oci/digest.ts';
import type { OrganizationName, RepositoryName } from '../oci/reference.ts';
import { type Database, sql } from '../stores/database.ts';
import { descriptorsOf } from '../stores/manifests/descriptors.ts';
import { paged } from '../stores/rows-read.ts';
import { hasParent } from './eviction/eviction-rows.ts';

export interface ImagePosition {
  readonly repository: RepositoryName;
  readonly digest: Digest;
}

interface UsedImage extends ImagePosition {
  /** When it was last pulled from this store, or pushed, in milliseconds since the epoch. */
  readonly used_at: number;
  /** 1 if it is there, and nothing else needs it. */
  readonly may_go: number;
}

/** The most tags that a manifest may have. One with more of them stays. */
const TAGS = 100;

// The character after "/" ends the range of the organization's names.
const SELECT_IMAGES = sql<UsedImage>`
  SELECT m.repository, m.digest, m.used_at,
    m.created_version > m.deleted_version AND NOT ${hasParent('m.repository', 'm.digest')} AND (
      SELECT count(*) BETWEEN 1 AND ${String(TAGS)} AND coalesce(min(t.author = ?5), 0) FROM (
        SELECT author FROM tags WHERE repository = m.repository AND digest = m.digest AND visible = 1
        LIMIT ${String(TAGS + 1)}) t) AS may_go
  FROM manifests m WHERE (m.repository, m.digest) > (?2, ?3) AND m.repository < ?1 || '0'
  ORDER BY m.repository, m.digest LIMIT CAST(?4 AS INTEGER)`.reading(paged(4, 2 * TAGS + 8));

/**
 * Returns a page of an organization's manifests. A manifest may go if no index lists it, it has a tag, and all its tags
 * are by `author`.
 * @param author of the tags
 * @param after undefined for the first page
 */
export function imagesAfter(
  database: Database,
  organization: OrganizationName,
  author: string,
  after: ImagePosition | undefined,
  limit: number,
): Promise<UsedImage[]> {
  const { repository, digest } = after ?? { repository: `${organization}/`, digest: '' };
  return database.all(SELECT_IMAGES, organization, repository, digest, limit, author);
}

const SELECT_LISTED = sql<UsedImage>`
  WITH child (digest) AS MATERIALIZED (
    SELECT d.value ->> 'digest' FROM manifests i CROSS JOIN json_each(${descriptorsOf('i')}) AS d
    WHERE i.repository = ?1 AND i.digest = ?2 AND d.value ->> 'kind' = 'child' LIMIT CAST(?3 AS INTEGER))
  SELECT m.repository, m.digest, m.used_at,
    m.created_version > m.deleted_version AND NOT EXISTS (
      SELECT 1 FROM tags t WHERE t.repository = m.repository AND t.digest = m.digest AND t.visible = 1)
    AND NOT EXISTS (SELECT 1 FROM manifest_references r
      WHERE r.digest = m.digest AND r.repository = ?1 AND r.kind = 'child' AND r.manifest <> ?2) AS may_go
  FROM child CROSS JOIN manifests m ON m.repository = ?1 AND m.digest = child.digest`.reading(paged(3, 12));

/** Returns the manifests that an index lists. One that has a tag, or that another index lists, may not go. */
export function listedBy(
  database: Database,
  { repository, digest }: ImagePosition,
  limit: number,
): Promise<UsedImage[]> {
  return database.all(SELECT_LISTED, repository, digest, limit);
}

const SELECT_NEEDED = sql<ImagePosition>`
  SELECT asked.value ->> 'repository' AS repository, asked.value ->> 'digest' AS digest FROM json_each(?1) AS asked
  WHERE EXISTS (SELECT 1 FROM pins p WHERE p.repository = asked.value ->> 'repository')
    OR EXISTS (SELECT 1 FROM manifests m WHERE m.repository = asked.value ->> 'repository'
      AND m.digest = asked.value ->> 'digest' AND m.used_at >= CAST(?2 AS INTEGER))`;

/** Returns the images that were pulled from a store since a time, or whose repository has a pin there. */
export function neededAmong(
  database: Database,
  images: readonly ImagePosition[],
  since: number,
): Promise<ImagePosition[]> {
  return database.all(
    SELECT_NEEDED,
    JSON.stringify(images.map(({ repository, digest }) => ({ repository, digest }))),
    since,
  );
}
