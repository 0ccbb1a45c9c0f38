/**
 * What lists of images say of a manifest: `manifests.image_size`, the bytes of the distinct blobs of the image, for an
 * index those of all that it lists and the store has; and `manifests.image_kind`, what it boots beside a kernel.
 *
 * Both follow from the manifest's document and references, and are set in the transaction that writes these: NULL says
 * that they were not yet. A manifest that comes after an index that lists it completes the index's. Rows that were written
 * before the columns existed are measured by the first list that shows them.
 *
 * Bounded, since a push waits for it: an index may list indexes, and many indexes one manifest.
 */
import type { Digest } from '../oci/digest.ts';
import type { RepositoryName } from '../oci/reference.ts';
import { type BoundStatement, type Database, sql } from './database.ts';

/** `rom`: a layer is a ROM. `initrd`: a layer is the root file system of a kernel. '': neither is known. */
export type ImageKind = '' | 'initrd' | 'rom';

/** Manifests below one index, and their blobs, that are counted: the size of what has more is too small. */
const MAX_MANIFESTS = 5000;
const MAX_BLOBS = 20_000;
/** Indexes that were pushed before what they list, and are completed by it. */
const MAX_INDEXES = 20;

// A layer says itself what it is: by its media type, or by an annotation that names the path of the file in it.
const KIND_OF_DOCUMENT = `(
  SELECT max(CASE
      WHEN layer.type <> 'object' THEN ''
      WHEN lower(layer.value ->> 'mediaType') = 'application/vnd.unikraft.rom.v1' THEN 'rom'
      WHEN lower(layer.value ->> 'mediaType') = 'application/vnd.unikraft.initrd.v1' THEN 'initrd'
      WHEN layer.value -> 'annotations' ->> 'org.unikraft.kernel.initrd' IS NOT NULL THEN 'initrd'
      ELSE '' END)
  FROM manifest_contents c CROSS JOIN json_each(iif(json_valid(c.content), c.content, '{}'), '$.layers') AS layer
  WHERE c.repository = m.repository AND c.digest = m.digest AND c.part = 0)`;

// An index boots what it lists boots. Old caches of build tools list blobs as if they were manifests: those that the
// repository has count as well.
const SIZE_AND_KIND = `(
  WITH RECURSIVE listed (digest) AS (
    SELECT manifests.digest
    UNION
    SELECT r.digest FROM listed CROSS JOIN manifest_references r
      ON r.repository = manifests.repository AND r.manifest = listed.digest AND r.kind = 'child'
    LIMIT ${MAX_MANIFESTS}
  ), blobs (digest, size) AS (
    SELECT r.digest, r.size FROM listed CROSS JOIN manifest_references r
      ON r.repository = manifests.repository AND r.manifest = listed.digest
    WHERE r.kind IN ('config', 'layer') OR r.kind = 'child' AND EXISTS (
      SELECT 1 FROM links k WHERE k.repository = r.repository AND k.digest = r.digest)
    LIMIT ${MAX_BLOBS}
  )
  SELECT
    (SELECT CAST(min(total(size), ${Number.MAX_SAFE_INTEGER}) AS INTEGER) FROM (SELECT max(size) AS size FROM blobs GROUP BY digest)),
    (SELECT max(coalesce(m.image_kind, ${KIND_OF_DOCUMENT}, '')) FROM listed
      CROSS JOIN manifests m ON m.repository = manifests.repository AND m.digest = listed.digest))`;

const MEASURE = sql`
  WITH RECURSIVE changed (repository, digest) AS (
    SELECT m.repository, m.digest FROM json_each(?1) AS asked
    CROSS JOIN manifests m ON m.repository = asked.value ->> 'repository' AND m.digest = asked.value ->> 'digest'
    WHERE m.image_size IS NULL AND m.media_type <> ''
    UNION
    SELECT r.repository, r.manifest FROM changed CROSS JOIN manifest_references r
      ON r.repository = changed.repository AND r.digest = changed.digest AND r.kind = 'child'
    LIMIT CAST(?2 AS INTEGER)
  )
  UPDATE manifests SET (image_size, image_kind) = ${SIZE_AND_KIND}
  WHERE (repository, digest) IN (SELECT repository, digest FROM changed) AND media_type <> ''`;

export interface Measured {
  readonly repository: RepositoryName;
  readonly digest: Digest;
}

/** Measures manifests that were not yet, and the indexes that wait for them; after their references, contents and links. */
export function measureImages(manifests: readonly Measured[]): BoundStatement[] {
  if (manifests.length === 0) return [];
  const asked = JSON.stringify(manifests.map(({ repository, digest }) => ({ repository, digest })));
  return [[MEASURE, asked, manifests.length + MAX_INDEXES]];
}

/** As {@link measureImages}, for rows that lists have found unmeasured. */
export async function measureFound(database: Database, manifests: readonly Measured[]): Promise<void> {
  await database.batch(measureImages(manifests));
}
