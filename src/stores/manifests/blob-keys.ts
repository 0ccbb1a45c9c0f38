/** The keys under which a store has the blobs of one manifest. */
import { descriptorsOf } from './descriptors.ts';
import type { Digest } from '../../oci/digest.ts';
import type { Reference, RepositoryName } from '../../oci/reference.ts';
import { type Database, sql } from '../database.ts';
import { atMost } from '../rows-read.ts';

/** The most blobs of a manifest whose keys are looked up. Images rarely have more layers. */
const MOST_BLOBS = 128;

export interface BlobKey {
  readonly digest: Digest;
  readonly key: string;
}

// A tag never looks like a digest, so one parameter can be either.
const SELECT_KEYS = sql<BlobKey>`
  SELECT l.digest, l.key
  FROM (
    SELECT d.value ->> 'digest' AS digest, d.value ->> 'kind' AS kind
    FROM manifests m CROSS JOIN json_each(${descriptorsOf('m')}) AS d
    WHERE m.repository = ?1
      AND m.digest = coalesce((SELECT t.digest FROM tags t WHERE t.repository = ?1 AND t.name = ?2), ?2)
    LIMIT ${String(MOST_BLOBS)}
  ) b
  JOIN locations l ON l.digest = b.digest AND l.store = ?3 AND l.damage IS NULL AND l.size > 0
  WHERE b.kind <> 'child'`.reading(atMost(4 * MOST_BLOBS));

/**
 * Returns the keys of a manifest's blobs, at most {@link MOST_BLOBS}. It omits empty blobs, and blobs whose bytes the
 * store lacks. It does not check that the manifest is visible, so a key gives no right to read the blob.
 */
export function keysOfBlobs(
  database: Database,
  repository: RepositoryName,
  reference: Reference,
  store: string,
): Promise<BlobKey[]> {
  return database.all(SELECT_KEYS, repository, reference.kind === 'tag' ? reference.tag : reference.digest, store);
}
