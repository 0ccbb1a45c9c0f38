/** The SQL for the state of a whole image: its manifests, the blobs that they need, and the writes of its tag. */
import { descriptorsOf } from '../stores/manifests/descriptors.ts';
import type { Digest } from '../oci/digest.ts';
import type { RepositoryName, Tag } from '../oci/reference.ts';
import { type Database, sql } from '../stores/database.ts';
import { reachedFrom } from '../stores/manifests/listed-manifests.ts';
import type { OutboxEntry } from '../stores/outbox-rows.ts';
import { atMost } from '../stores/rows-read.ts';
import { isAliveManifest } from '../stores/deletion/removals.ts';

// An index and everything that it lists, as far as the store has it. The size of the index's document bounds how many
// references are read on each level.
const MOST_REFERENCES = 25_000;
const MOST = `coalesce((SELECT min(${MOST_REFERENCES}, 5000 + size / 15) FROM manifests WHERE repository = ?1
  AND digest = ?2), 0)`;
const REACHABLE = `WITH ${reachedFrom('?1', '?2', MOST)}`;

const SELECT_BLOBS = sql`${REACHABLE}, named AS MATERIALIZED (
    SELECT d.value ->> 'digest' AS digest, d.value ->> 'size' AS size FROM reached
    CROSS JOIN manifests m ON m.repository = ?1 AND m.digest = reached.digest AND ${isAliveManifest('m')}
    CROSS JOIN json_each(${descriptorsOf('m')}) AS d LIMIT ${MOST}
  )
  SELECT DISTINCT named.digest, coalesce(l.size, named.size) AS size, l.store FROM named
  CROSS JOIN links k ON k.repository = ?1 AND k.digest = named.digest
  LEFT JOIN locations l ON l.digest = named.digest AND l.damage IS NULL`.reading(atMost(16 * MOST_REFERENCES));

export interface BlobOfImage {
  readonly digest: Digest;
  /** Bytes. */
  readonly size: number;
  readonly stores: readonly string[];
}

/** Returns the blobs of an image, and the stores that have their bytes, according to one store's rows. */
export async function blobsOfImage(
  database: Database,
  repository: RepositoryName,
  digest: Digest,
): Promise<BlobOfImage[]> {
  const rows = await database.all<{ digest: Digest; size: number; store: string | null }>(
    SELECT_BLOBS,
    repository,
    digest,
  );
  const blobs = Map.groupBy(rows, (row) => row.digest);
  return [...blobs].map(([blob, locations]) => ({
    digest: blob,
    size: locations[0]?.size ?? 0,
    stores: locations.flatMap(({ store }) => (store === null ? [] : [store])),
  }));
}

const SELECT_OUTBOX_ENTRIES = sql`${REACHABLE}
  SELECT k.kind, k.repository, k.key, k.version, k.written_at FROM reached
  CROSS JOIN outbox k ON k.kind = 'manifest' AND k.repository = ?1 AND k.key = reached.digest
  UNION ALL
  SELECT k.kind, k.repository, k.key, k.version, k.written_at FROM outbox k
  WHERE k.kind = 'tag' AND k.repository = ?1 AND k.key = ?3
  UNION
  SELECT k.kind, k.repository, k.key, k.version, k.written_at FROM tags t
  CROSS JOIN outbox k ON k.kind = 'manifest' AND k.repository = ?1 AND k.key = t.digest AND k.tag = ?3
  WHERE t.repository = ?1 AND t.name = ?3`.reading(atMost(16 * MOST_REFERENCES));

/** Returns the outbox entries of an image: the parts of it that the node has yet to announce. */
export function outboxEntriesOfImage(
  node: Database,
  repository: RepositoryName,
  digest: Digest,
  tag: Tag | undefined,
): Promise<OutboxEntry[]> {
  return node.all<OutboxEntry>(SELECT_OUTBOX_ENTRIES, repository, digest, tag ?? '');
}

const SELECT_WRITE = sql`
  SELECT 1 FROM tag_history WHERE repository = ?1 AND name = ?2 AND version = CAST(?3 AS INTEGER) AND origin = ?4
  UNION ALL
  SELECT 1 FROM tags WHERE repository = ?1 AND name = ?2 AND version = CAST(?3 AS INTEGER) AND origin = ?4`;

/** Returns whether a store knows a write of a tag, given the write's version and the store that made it. */
export async function knowsWrite(
  database: Database,
  repository: RepositoryName,
  tag: Tag,
  version: number,
  origin: string,
): Promise<boolean> {
  return (await database.first(SELECT_WRITE, repository, tag, version, origin)) !== undefined;
}
