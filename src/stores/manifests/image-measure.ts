/**
 * Measures manifests for the lists of images. `manifests.image_size` is the number of bytes of the image's distinct
 * blobs; for an index, those of everything that it lists and the store has. `manifests.image_kind` tells what the image
 * boots besides a kernel.
 *
 * Both follow from the manifest's document and descriptors, and are set in the transaction that writes these: when the
 * row is inserted, or for an index in a statement of their own. NULL means not measured. When a manifest arrives after
 * an index that lists it, the index becomes unmeasured again, and the first list that shows the index measures it.
 *
 * The work is bounded, because a push waits for it: an index may list other indexes, and many indexes may list one
 * manifest. How much is read depends on the size of the image's own document, so a small index of large images costs no
 * more than any other small index.
 */
import { descriptorsOf } from './descriptors.ts';
import type { Digest } from '../../oci/digest.ts';
import type { RepositoryName } from '../../oci/reference.ts';
import { committed } from '../clock.ts';
import { type BoundStatement, type Database, sql } from '../database.ts';
import { indexesAbove, reachedFrom } from './listed-manifests.ts';
import { keyed, paged } from '../rows-read.ts';

/** `rom`: a layer is a ROM. `initrd`: a layer is a kernel's root file system. '': no layer is known to be either. */
export type ImageKind = '' | 'initrd' | 'rom';

/**
 * A limit within this range applies to each level of manifests: that many references are read. If an image has more,
 * its measured size is too small.
 */
const LEAST_REFERENCES = 1000;
const MOST_REFERENCES = 25_000;
/**
 * The limit is the size of the image's own document, divided by this. A reference takes some 150 bytes there, and so
 * allows ten.
 */
const BYTES_PER_REFERENCE = 15;
/** The most indexes that become unmeasured again because a manifest that they list was pushed after them. */
const MAX_INDEXES = 20;
/** The most references that one list may read to measure its images. Later lists measure the rest. */
const REFERENCES_PER_LIST = 60_000;

// The media type of a layer shows its kind, or else an annotation with the path of the file in it.
const kindOfDocument = (repository: string, digest: string): string => `(
  SELECT max(CASE
      WHEN layer.type <> 'object' THEN ''
      WHEN lower(layer.value ->> 'mediaType') = 'application/vnd.unikraft.rom.v1' THEN 'rom'
      WHEN lower(layer.value ->> 'mediaType') = 'application/vnd.unikraft.initrd.v1' THEN 'initrd'
      WHEN layer.value -> 'annotations' ->> 'org.unikraft.kernel.initrd' IS NOT NULL THEN 'initrd'
      ELSE '' END)
  FROM manifest_contents c CROSS JOIN json_each(iif(json_valid(c.content), c.content, '{}'), '$.layers') AS layer
  WHERE c.repository = ${repository} AND c.digest = ${digest} AND c.part = 0)`;

const hasChildren = (descriptors: string): string =>
  `EXISTS (SELECT 1 FROM json_each(${descriptors}) AS d WHERE d.value ->> 'kind' = 'child')`;

const total = (sized: string): string =>
  `(SELECT CAST(min(total(size), ${Number.MAX_SAFE_INTEGER}) AS INTEGER)
    FROM (SELECT max(size) AS size FROM ${sized} GROUP BY digest))`;

/**
 * SQL for the `image_size` and `image_kind` of a manifest that is about to be written, after its document: NULL for an
 * index. `descriptors` is SQL for its descriptors.
 */
export function measureOf(repository: string, digest: string, descriptors: string): string {
  const sized = `(
    SELECT d.value ->> 'digest' AS digest, d.value ->> 'size' AS size FROM json_each(${descriptors}) AS d)`;
  return `iif(${hasChildren(descriptors)}, NULL, ${total(sized)}),
    iif(${hasChildren(descriptors)}, NULL, coalesce(${kindOfDocument(repository, digest)}, ''))`;
}

// An index has the kind of the images that it lists. Old caches of build tools list blobs as if they were manifests;
// those that the repository links count as well. Each LIMIT applies to the rows that are read, before they are
// filtered.
const SIZE_AND_KIND = (references: string): string => `(
  WITH ${reachedFrom('manifests.repository', 'manifests.digest', references)}, named AS MATERIALIZED (
    SELECT d.value ->> 'digest' AS digest, d.value ->> 'size' AS size, d.value ->> 'kind' AS kind
    FROM reached CROSS JOIN manifests m ON m.repository = manifests.repository AND m.digest = reached.digest
    CROSS JOIN json_each(${descriptorsOf('m')}) AS d LIMIT ${references}
  ), blobs (digest, size) AS (
    SELECT digest, size FROM named WHERE kind IN ('config', 'layer') OR kind = 'child' AND EXISTS (
      SELECT 1 FROM links k WHERE k.repository = manifests.repository AND k.digest = named.digest)
  )
  SELECT
    ${total('blobs')},
    (SELECT max(coalesce(m.image_kind, iif(${hasChildren(descriptorsOf('m'))}, '',
        ${kindOfDocument('m.repository', 'm.digest')}), '')) FROM reached
      CROSS JOIN manifests m ON m.repository = manifests.repository AND m.digest = reached.digest))`;

const ASKED = `json_each(?1) AS asked
  CROSS JOIN manifests m ON m.repository = asked.value ->> 'repository' AND m.digest = asked.value ->> 'digest'`;
const IS_UNMEASURED = "m.image_size IS NULL AND m.media_type <> ''";

const NEW = `
  SELECT asked.value ->> 'repository', asked.value ->> 'digest' FROM json_each(?1) AS asked
  WHERE NOT EXISTS (SELECT 1 FROM manifests m WHERE m.repository = asked.value ->> 'repository'
    AND m.digest = asked.value ->> 'digest' AND m.created_version > m.deleted_version AND m.image_size IS NOT NULL)`;
const FORGET_INDEXES = sql`
  WITH ${indexesAbove(NEW, 'CAST(?2 AS INTEGER)')}
  UPDATE manifests SET image_size = NULL, image_kind = NULL
  WHERE (repository, digest) IN (SELECT repository, digest FROM above) AND image_size IS NOT NULL
    AND (?3 IS NULL OR EXISTS (SELECT 1 FROM clock WHERE ${committed('?3')}))`.reading(paged(2, 24));

const MEASURE = sql`
  UPDATE manifests SET (image_size, image_kind) = ${SIZE_AND_KIND('CAST(?2 AS INTEGER)')}
  WHERE (repository, digest) IN (SELECT m.repository, m.digest FROM ${ASKED} WHERE ${IS_UNMEASURED})`.reading(
  (run) => keyed(run) + 30 * run.keys * run.asked(2),
);

interface Described {
  readonly descriptors: readonly { readonly kind: string }[];
}

export interface Measured {
  readonly repository: RepositoryName;
  readonly digest: Digest;
  /** The size of its document, in bytes. */
  readonly bytes: number;
}

/** SQL for an upsert of manifests: one that is alive keeps its measure. */
export const KEEPS_MEASURE = `
    image_size = iif(manifests.created_version > manifests.deleted_version, manifests.image_size, excluded.image_size),
    image_kind = iif(manifests.created_version > manifests.deleted_version, manifests.image_kind, excluded.image_kind)`;

/**
 * Returns the statement after which the indexes that list some manifests are measured anew. It must come before the
 * manifests are written, and does nothing for those that are alive already.
 * @param commit the commit id of the transaction, if it depends on one
 */
export function forgetIndexesAbove(
  manifests: readonly Pick<Measured, 'repository' | 'digest'>[],
  commit: string | null = null,
): BoundStatement {
  return [FORGET_INDEXES, keysOf(manifests), manifests.length - 1 + MAX_INDEXES, commit];
}

/**
 * Returns the statements that measure the indexes among the manifests, if they are unmeasured. In a batch, they must
 * come after the statements that write the indexes and their links.
 */
export function measureIndexes(manifests: readonly (Measured & Described)[]): BoundStatement[] {
  return measure(manifests.filter(({ descriptors }) => descriptors.some(({ kind }) => kind === 'child')));
}

/**
 * Measures the manifests that a list found unmeasured. It measures at least one, and leaves out the rest once they have
 * more references than one list may read.
 */
export async function measureFound(database: Database, manifests: readonly Measured[]): Promise<void> {
  let left = REFERENCES_PER_LIST;
  const measured = manifests.filter((manifest, i) => (left -= referencesOf(manifest)) >= 0 || i === 0);
  await database.batch(measure(measured));
}

/** Groups the manifests by about how many references each may have, and measures each group in one statement. */
function measure(manifests: readonly Measured[]): BoundStatement[] {
  const groups = Map.groupBy(manifests, (manifest) => 2 ** Math.ceil(Math.log2(referencesOf(manifest))));
  return [...groups].map(([references, group]) => [MEASURE, keysOf(group), Math.min(references, MOST_REFERENCES)]);
}

function referencesOf({ bytes }: Measured): number {
  return Math.min(MOST_REFERENCES, LEAST_REFERENCES + Math.ceil(bytes / BYTES_PER_REFERENCE));
}

function keysOf(manifests: readonly Pick<Measured, 'repository' | 'digest'>[]): string {
  return JSON.stringify(manifests.map(({ repository, digest }) => ({ repository, digest })));
}
