/** Finds the images that share blobs with an image, among the repositories that the caller may pull. */
import type { Digest } from '../../oci/digest.ts';
import type { RepositoryName, Tag } from '../../oci/reference.ts';
import { type Database, sql } from '../database.ts';
import { isAliveManifest } from '../deletion/removals.ts';
import type { NameRange } from '../name-ranges.ts';
import { paged } from '../rows-read.ts';
import { descriptorsOf } from './descriptors.ts';

/** An image that shares a blob. */
export interface SharedBlob {
  readonly blob: Digest;
  readonly repository: RepositoryName;
  readonly manifest: Digest;
  /** One of its tags; null if it has none. */
  readonly tag: Tag | null;
}

/**
 * The number of references to look at for each blob, besides the image's own. Among them are those of deleted manifests
 * until a sweep, and those of indexes that list the blob as a child.
 */
const EXAMINED = 10;
/** The number of the image's blobs to look up. */
const MOST_BLOBS = 100;

const SELECT_SHARED = sql<SharedBlob>`
  WITH asked AS MATERIALIZED (
    SELECT d.value ->> 'digest' AS blob FROM manifests image CROSS JOIN json_each(${descriptorsOf('image')}) AS d
    WHERE image.repository = ?1 AND image.digest = ?2 AND d.value ->> 'kind' <> 'child' LIMIT CAST(?4 AS INTEGER)
  ), found AS MATERIALIZED (
    SELECT asked.blob, (
      SELECT json_group_array(json_array(other.repository, other.manifest)) FROM (
        SELECT * FROM (
          SELECT r.repository, r.kind, r.manifest FROM json_each(?3) AS range CROSS JOIN manifest_references r
            ON r.digest = asked.blob AND r.repository >= range.value ->> 'from' AND r.repository < range.value ->> 'to'
          LIMIT CAST(?5 AS INTEGER) + 1)
        WHERE kind <> 'child' AND (repository <> ?1 OR manifest <> ?2) LIMIT CAST(?5 AS INTEGER)
      ) AS other) AS others
    FROM asked
  )
  SELECT found.blob, m.repository, m.digest AS manifest, (
    SELECT t.name FROM tags t INDEXED BY tags_by_digest
    WHERE t.repository = m.repository AND t.digest = m.digest AND t.visible = 1 LIMIT 1) AS tag
  FROM found CROSS JOIN json_each(found.others) AS other
  CROSS JOIN manifests m ON m.repository = other.value ->> 0 AND m.digest = other.value ->> 1
    AND ${isAliveManifest('m')}`.reading(paged(4, 8 * EXAMINED));

/**
 * Returns other images that have the config or a layer of this one, up to ten for each blob.
 * @param ranges the repositories that the caller may pull
 * @throws OciError UNAVAILABLE
 */
export function sharedBlobs(
  database: Database,
  repository: RepositoryName,
  manifest: Digest,
  ranges: readonly NameRange[],
): Promise<SharedBlob[]> {
  return database.all(SELECT_SHARED, repository, manifest, JSON.stringify(ranges), MOST_BLOBS, EXAMINED);
}
