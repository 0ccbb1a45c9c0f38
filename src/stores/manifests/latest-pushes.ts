/**
 * The latest pushes, in the order in which the store got their documents. A push writes no row for this: SQLite numbers
 * the rows of `manifest_contents` in the order of their insertion, and each manifest's document is inserted once. So a
 * push of a manifest that the store already has, such as one that only sets another tag, is not among them.
 */
import type { RepositoryName, Tag } from '../../oci/reference.ts';
import { type Database, sql } from '../database.ts';
import { isAliveManifest, removedVersion } from '../deletion/removals.ts';
import type { NameRange } from '../name-ranges.ts';
import { paged } from '../rows-read.ts';

export interface LatestPush {
  readonly repository: RepositoryName;
  readonly tag: Tag;
  /** A version: when the tag was written. */
  readonly version: number;
  /** The store that took the push. */
  readonly origin: string;
}

/**
 * The number of documents to look at. Many stand for no push of a tag to these repositories: documents of other
 * repositories, images of an index, signatures, and further parts of a large document.
 */
const DOCUMENTS = 2000;

// A manifest with several tags is listed once, under one of them.
const SELECT_LATEST = sql<LatestPush>`
  SELECT t.repository, t.name AS tag, t.version, t.origin
  FROM manifest_contents c
  CROSS JOIN manifests m ON m.repository = c.repository AND m.digest = c.digest
  CROSS JOIN tags t ON t.repository = c.repository AND t.name = (
    SELECT first.name FROM tags first INDEXED BY tags_by_digest
    WHERE first.repository = c.repository AND first.digest = c.digest AND first.visible = 1 LIMIT 1)
  WHERE c.rowid > (SELECT max(rowid) FROM manifest_contents) - CAST(?1 AS INTEGER) AND c.part = 0
    AND EXISTS (SELECT 1 FROM json_each(?3) AS range
      WHERE c.repository >= range.value ->> 'from' AND c.repository < range.value ->> 'to')
    AND ${isAliveManifest('m')} AND t.version > ${removedVersion('t.repository')}
  ORDER BY c.rowid DESC LIMIT CAST(?2 AS INTEGER)`.reading(paged(1, 10));

/**
 * Returns the latest pushes of tags in the ranges, latest first. It may return fewer than `limit` although there are
 * more.
 */
export function latestPushes(database: Database, ranges: readonly NameRange[], limit: number): Promise<LatestPush[]> {
  return database.all(SELECT_LATEST, DOCUMENTS, limit, JSON.stringify(ranges));
}
