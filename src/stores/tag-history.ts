/** A tag write that is replaced is kept, with its version, its origin and when it was replaced. */
import type { Digest } from '../oci/digest.ts';
import type { RepositoryName } from '../oci/reference.ts';
import type { Actor } from './audit-rows.ts';
import { committed } from './clock.ts';
import { type Database, sql } from './database.ts';
import { asManyAs } from './rows-read.ts';

/** Where a commit happens: the store's name is the origin of its tag writes, and a node's store marks what it has to announce. */
export interface CommitContext {
  readonly origin: string;
  readonly announces: boolean;
  /** Milliseconds since the epoch. */
  readonly now: number;
  /** Who asks for a deletion: Berth itself, unless told. */
  readonly by?: Actor;
}

/** ?1 repository, ?2 JSON array of tags about to be written, ?3 milliseconds, ?4 commit id. */
export const INSERT_HISTORY = sql`
  INSERT INTO tag_history (repository, name, version, origin, digest, recorded_at)
  SELECT t.repository, t.name, t.version, t.origin, t.digest, CAST(?3 AS INTEGER)
  FROM clock CROSS JOIN json_each(?2) AS tag CROSS JOIN tags t ON t.repository = ?1 AND t.name = tag.value
  WHERE ${committed('?4')} ON CONFLICT DO NOTHING`;

const GREATEST_TAG_VERSION = sql`
  SELECT coalesce(max(t.version), 0) AS version FROM json_each(?2) AS asked
  CROSS JOIN tags t INDEXED BY tags_by_digest ON t.repository = ?1 AND t.digest = asked.value`.reading(
  asManyAs('tags on the manifests'),
);

/** Of the tags on manifests: what deletes these must be later than all of them. 0 for none. */
export async function greatestTagVersion(
  database: Database,
  repository: RepositoryName,
  digests: readonly Digest[],
): Promise<number> {
  return (await database.first<{ version: number }>(GREATEST_TAG_VERSION, repository, JSON.stringify(digests)))?.version ?? 0;
}
