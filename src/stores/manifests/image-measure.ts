/**
 * What lists of images say of a manifest: `manifests.image_size`, the bytes of the distinct blobs of the image, for an
 * index those of all that it lists and the store has; and `manifests.image_kind`, what it boots beside a kernel.
 *
 * Both follow from the manifest's document and references, and are set in the transaction that writes these: NULL says
 * that they are not known. A manifest that comes after an index that lists it makes the index's unknown again, and the
 * first list that shows the index measures it.
 *
 * Bounded, since a push waits for it: an index may list indexes, and many indexes one manifest. What is read of an
 * image follows from the size of its own document, so that a small index of large ones costs no more than other small
 * ones.
 */
import type { Digest } from '../../oci/digest.ts';
import type { RepositoryName } from '../../oci/reference.ts';
import { type BoundStatement, type Database, sql } from '../database.ts';
import { indexesAbove, reachedFrom } from './listed-manifests.ts';
import { keyed, paged } from '../rows-read.ts';

/** `rom`: a layer is a ROM. `initrd`: a layer is the root file system of a kernel. '': neither is known. */
export type ImageKind = '' | 'initrd' | 'rom';

/** References at and below a manifest that are read, of each level: the size of what has more is too small. */
const LEAST_REFERENCES = 1000;
const MOST_REFERENCES = 25_000;
/** Bytes of a document for each of them: ten for every reference of its own, which has some 150 bytes. */
const BYTES_PER_REFERENCE = 15;
/** Indexes that were pushed before what they list, and are measured anew because of it. */
const MAX_INDEXES = 20;
/** References that one list may read to measure what it shows; the rest is left to later lists. */
const REFERENCES_PER_LIST = 60_000;

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

const HAS_CHILDREN = `EXISTS (SELECT 1 FROM manifest_references r INDEXED BY manifest_references_by_manifest
  WHERE r.repository = m.repository AND r.manifest = m.digest AND r.kind = 'child')`;

// An index boots what it lists boots. Old caches of build tools list blobs as if they were manifests: those that the
// repository has count as well. Each LIMIT is of rows that are read, not of those that are left of them.
const SIZE_AND_KIND = (references: string): string => `(
  WITH ${reachedFrom('manifests.repository', 'manifests.digest', references)}, named AS MATERIALIZED (
    SELECT r.digest, r.size, r.kind FROM reached CROSS JOIN manifest_references r INDEXED BY manifest_references_by_manifest
      ON r.repository = manifests.repository AND r.manifest = reached.digest
    LIMIT ${references}
  ), blobs (digest, size) AS (
    SELECT digest, size FROM named WHERE kind IN ('config', 'layer') OR kind = 'child' AND EXISTS (
      SELECT 1 FROM links k WHERE k.repository = manifests.repository AND k.digest = named.digest)
  )
  SELECT
    (SELECT CAST(min(total(size), ${Number.MAX_SAFE_INTEGER}) AS INTEGER) FROM (SELECT max(size) AS size FROM blobs GROUP BY digest)),
    (SELECT max(coalesce(m.image_kind, iif(${HAS_CHILDREN}, '', ${KIND_OF_DOCUMENT}), '')) FROM reached
      CROSS JOIN manifests m ON m.repository = manifests.repository AND m.digest = reached.digest))`;

const ASKED = `json_each(?1) AS asked
  CROSS JOIN manifests m ON m.repository = asked.value ->> 'repository' AND m.digest = asked.value ->> 'digest'`;
const IS_UNMEASURED = "m.image_size IS NULL AND m.media_type <> ''";

const FORGET_INDEXES = sql`
  WITH ${indexesAbove(`SELECT m.repository, m.digest FROM ${ASKED} WHERE ${IS_UNMEASURED}`, 'CAST(?2 AS INTEGER)')}
  UPDATE manifests SET image_size = NULL, image_kind = NULL
  WHERE (repository, digest) IN (SELECT repository, digest FROM above) AND image_size IS NOT NULL`.reading(
  paged(2, 24),
);

const MEASURE = sql`
  UPDATE manifests SET (image_size, image_kind) = ${SIZE_AND_KIND('CAST(?2 AS INTEGER)')}
  WHERE (repository, digest) IN (SELECT m.repository, m.digest FROM ${ASKED} WHERE ${IS_UNMEASURED})`.reading(
  (run) => keyed(run) + 30 * run.keys * run.asked(2),
);

export interface Measured {
  readonly repository: RepositoryName;
  readonly digest: Digest;
  /** Bytes of its document. */
  readonly bytes: number;
}

/**
 * Measures manifests that were not yet; after their references, contents and links. Indexes that wait for them are
 * measured later.
 */
export function measureImages(manifests: readonly Measured[]): BoundStatement[] {
  if (manifests.length === 0) return [];
  return [[FORGET_INDEXES, keysOf(manifests), manifests.length - 1 + MAX_INDEXES], ...measure(manifests)];
}

/**
 * As {@link measureImages}, for rows that lists have found unmeasured: as many as one list may read, and one at least.
 */
export async function measureFound(database: Database, manifests: readonly Measured[]): Promise<void> {
  let left = REFERENCES_PER_LIST;
  const measured = manifests.filter((manifest, i) => (left -= referencesOf(manifest)) >= 0 || i === 0);
  await database.batch(measure(measured));
}

/** Those of about the same size together. */
function measure(manifests: readonly Measured[]): BoundStatement[] {
  const groups = Map.groupBy(manifests, (manifest) => 2 ** Math.ceil(Math.log2(referencesOf(manifest))));
  return [...groups].map(([references, group]) => [MEASURE, keysOf(group), Math.min(references, MOST_REFERENCES)]);
}

function referencesOf({ bytes }: Measured): number {
  return Math.min(MOST_REFERENCES, LEAST_REFERENCES + Math.ceil(bytes / BYTES_PER_REFERENCE));
}

function keysOf(manifests: readonly Measured[]): string {
  return JSON.stringify(manifests.map(({ repository, digest }) => ({ repository, digest })));
}
