/** Which images of an organization nobody has pulled for long. */
import type { Digest } from '../oci/digest.ts';
import type { OrganizationName, RepositoryName } from '../oci/reference.ts';
import { type Database, sql } from '../stores/database.ts';
import { paged } from '../stores/rows-read.ts';
import { hasParent } from './eviction/eviction-rows.ts';

export interface ImagePosition {
  readonly repository: RepositoryName;
  readonly digest: Digest;
}

interface UsedImage extends ImagePosition {
  /** When it was last pulled from this store, or pushed, in milliseconds since the epoch. */
  readonly used_at: number;
  /** 1 if it is there, and no index lists it. */
  readonly is_root: number;
}

// The character after "/" ends the range of the organization's names.
const SELECT_IMAGES = sql<UsedImage>`
  SELECT m.repository, m.digest, m.used_at,
    m.created_version > m.deleted_version AND NOT ${hasParent('m.repository', 'm.digest')} AS is_root
  FROM manifests m WHERE (m.repository, m.digest) > (?2, ?3) AND m.repository < ?1 || '0'
  ORDER BY m.repository, m.digest LIMIT CAST(?4 AS INTEGER)`.reading(paged(4, 4));

/** Returns a page of an organization's manifests. @param after '' twice for the first page */
export function imagesAfter(
  database: Database,
  organization: OrganizationName,
  after: ImagePosition | undefined,
  limit: number,
): Promise<UsedImage[]> {
  return database.all(SELECT_IMAGES, organization, after?.repository ?? `${organization}/`, after?.digest ?? '', limit);
}

const SELECT_NEEDED = sql<ImagePosition>`
  SELECT asked.value ->> 'repository' AS repository, asked.value ->> 'digest' AS digest FROM json_each(?1) AS asked
  WHERE EXISTS (SELECT 1 FROM pins p WHERE p.repository = asked.value ->> 'repository')
    OR EXISTS (SELECT 1 FROM manifests m WHERE m.repository = asked.value ->> 'repository'
      AND m.digest = asked.value ->> 'digest' AND m.used_at >= CAST(?2 AS INTEGER))`;

/** Returns those of the images that were pulled from a store since, or whose repository has a pin there. */
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
