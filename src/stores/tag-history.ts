/** A tag write that is replaced is kept, with its version, its origin and when it was replaced. */
import { committed } from './clock.ts';
import { sql } from './database.ts';

/** Where a commit happens: the store's name is the origin of its tag writes, and a node's store marks what it has to announce. */
export interface CommitContext {
  readonly origin: string;
  readonly announces: boolean;
  /** Milliseconds since the epoch. */
  readonly now: number;
}

/** ?1 repository, ?2 JSON array of tags about to be written, ?3 milliseconds, ?4 commit id. */
export const INSERT_HISTORY = sql`
  INSERT INTO tag_history (repository, name, version, origin, digest, recorded_at)
  SELECT t.repository, t.name, t.version, t.origin, t.digest, CAST(?3 AS INTEGER)
  FROM clock CROSS JOIN json_each(?2) AS tag CROSS JOIN tags t ON t.repository = ?1 AND t.name = tag.value
  WHERE ${committed('?4')} ON CONFLICT DO NOTHING`;
