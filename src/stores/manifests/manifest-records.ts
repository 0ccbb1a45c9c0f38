/**
 * Reads manifests that are to be sent to another store: first the heads of live ones, then whole manifests with the
 * blobs that they need.
 */
import { descriptorsOf } from './descriptors.ts';
import type { Digest } from '../../oci/digest.ts';
import type { RepositoryName, Tag } from '../../oci/reference.ts';
import { type Database, sql } from '../database.ts';
import { isAliveManifest } from '../deletion/removals.ts';
import type { BlobRecord, ManifestRecord } from '../merge.ts';
import { atMost } from '../rows-read.ts';

/** The most bytes of manifests, and the most manifests, to send in one transaction. One manifest may be larger. */
export const CHUNK_BYTES = 1_000_000;
export const CHUNK_MANIFESTS = 100;
/** The most references in a chunk: as many of the shortest descriptors, of 93 bytes each, as its bytes hold. */
export const CHUNK_REFERENCES = 11_000;

/** Splits manifests into chunks, one for each transaction, and keeps their order. */
export function chunksOf<Manifest extends { readonly size: number }>(manifests: readonly Manifest[]): Manifest[][] {
  const chunks: Manifest[][] = [];
  let bytes = 0;
  for (const manifest of manifests) {
    const chunk = chunks.at(-1);
    if (chunk === undefined || chunk.length >= CHUNK_MANIFESTS || bytes + manifest.size > CHUNK_BYTES) {
      chunks.push([manifest]);
      bytes = manifest.size;
    } else {
      chunk.push(manifest);
      bytes += manifest.size;
    }
  }
  return chunks;
}

const SELECT_HEADS = sql`
  SELECT m.repository, m.digest, m.media_type AS mediaType, m.artifact_type AS artifactType, m.typed,
    m.typed_otherwise AS typedOtherwise, m.subject, m.size,
    m.created_version AS created, m.deleted_version AS deleted
  FROM json_each(?1) AS asked
  CROSS JOIN manifests m ON m.repository = asked.value ->> 'repository' AND m.digest = asked.value ->> 'digest'
  WHERE ${isAliveManifest('m')}`;

/** A manifest without its document. */
export type ManifestHeadRecord = Omit<ManifestRecord, 'contents' | 'descriptors'>;

/** Returns those of the manifests that are alive. */
export function readHeads(
  database: Database,
  wanted: readonly Pick<ManifestRecord, 'repository' | 'digest'>[],
): Promise<ManifestHeadRecord[]> {
  return database.all<ManifestHeadRecord>(SELECT_HEADS, JSON.stringify(wanted));
}

const SELECT_CONTENTS = sql<{ repository: RepositoryName; digest: Digest; content: string }>`
  SELECT c.repository, c.digest, c.content FROM json_each(?1) AS asked
  CROSS JOIN manifest_contents c ON c.repository = asked.value ->> 'repository' AND c.digest = asked.value ->> 'digest'
  ORDER BY c.repository, c.digest, c.part`;
const SELECT_DESCRIPTORS = sql<{ repository: RepositoryName; digest: Digest; descriptors: string | null }>`
  SELECT m.repository, m.digest, ${descriptorsOf('m')} AS descriptors FROM json_each(?1) AS asked
  CROSS JOIN manifests m ON m.repository = asked.value ->> 'repository' AND m.digest = asked.value ->> 'digest'`;
const SELECT_BLOBS = sql<BlobRecord>`
  SELECT m.repository, k.digest, m.digest AS manifest, l.key, coalesce(l.size, d.value ->> 'size') AS size
  FROM json_each(?1) AS asked
  CROSS JOIN manifests m ON m.repository = asked.value ->> 'repository' AND m.digest = asked.value ->> 'digest'
  CROSS JOIN json_each(${descriptorsOf('m')}) AS d
  CROSS JOIN links k ON k.repository = m.repository AND k.digest = d.value ->> 'digest'
  LEFT JOIN locations l ON l.digest = k.digest AND l.store = ?2 AND l.damage IS NULL`.reading(
  atMost(8 * CHUNK_REFERENCES),
);

/**
 * Returns whole manifests, and the blobs that they need. A blob has a `key` if its bytes are in `store`.
 * @param heads one of the chunks that {@link chunksOf} makes, so that all of it fits in memory
 */
export async function readManifests(
  database: Database,
  store: string,
  heads: readonly ManifestHeadRecord[],
): Promise<{ readonly manifests: readonly ManifestRecord[]; readonly blobs: readonly BlobRecord[] }> {
  if (heads.length === 0) return { manifests: [], blobs: [] };
  const asked = JSON.stringify(heads.map(({ repository, digest }) => ({ repository, digest })));
  const { contents, descriptors, blobs } = await database.batch(
    {
      contents: [SELECT_CONTENTS, asked],
      descriptors: [SELECT_DESCRIPTORS, asked],
      blobs: [SELECT_BLOBS, asked, store],
    },
    { again: true },
  );
  const contentsOf = Map.groupBy(contents, ({ repository, digest }) => recordKey(repository, digest));
  const namedBy = new Map(
    descriptors.map(({ repository, digest, descriptors: all }) => [recordKey(repository, digest), all ?? '[]']),
  );
  const manifests = heads.map((head): ManifestRecord => {
    const key = recordKey(head.repository, head.digest);
    return {
      ...head,
      contents: (contentsOf.get(key) ?? []).map(({ content }) => content),
      descriptors: JSON.parse(namedBy.get(key) ?? '[]') as ManifestRecord['descriptors'],
    };
  });
  return { manifests, blobs };
}

/** Returns the key of a manifest or tag in a map. */
export function recordKey(repository: RepositoryName, name: Tag | Digest): string {
  return `${repository}@${name}`;
}
