/**
 * The history of tags. It keeps each replaced write of a tag, with the write's version, origin and author, and the time
 * of its replacement. The configuration limits how many entries a tag keeps, and for how long. An organization with
 * very many tags keeps fewer entries of each ({@link MAX_HISTORY}). A push removes entries beyond that number.
 * Maintenance (`maintenance/histories.ts`) removes merged entries beyond that number, and entries that are too old.
 * Readers never see more than the configuration allows.
 */
import type { Digest } from '../../oci/digest.ts';
import type { RepositoryName, Tag } from '../../oci/reference.ts';
import { committed } from '../clock.ts';
import { type BoundStatement, type Database, sql } from '../database.ts';
import { MAX_HISTORY } from '../organizations/limits.ts';
import { ofRepository } from '../organizations/usage-rows.ts';
import { keyed, paged, perTag } from '../rows-read.ts';
import type { AuthoredTag } from '../versions.ts';

/**
 * Keeps the current writes of tags that are about to be written. ?1 repository, ?2 JSON array of tags, ?3 milliseconds
 * since the epoch, ?4 commit id.
 */
export const INSERT_HISTORY = sql`
  INSERT INTO tag_history (repository, name, version, origin, digest, recorded_at, author)
  SELECT t.repository, t.name, t.version, t.origin, t.digest, CAST(?3 AS INTEGER), t.author
  FROM clock CROSS JOIN json_each(?2) AS tag CROSS JOIN tags t ON t.repository = ?1 AND t.name = tag.value
  WHERE ${committed('?4')} ON CONFLICT DO NOTHING`;

/**
 * SQL for the version of the oldest entry that a tag's history keeps; NULL if it has fewer entries than it may keep.
 * `entries` must not refer to columns.
 */
const oldestKept = (repository: string, name: string, entries: string): string => `(
  SELECT x.version FROM tag_history x WHERE x.repository = ${repository} AND x.name = ${name}
  ORDER BY x.version DESC, x.origin DESC LIMIT 1 OFFSET CAST(${entries} AS INTEGER) - 1)`;

/** SQL for the number of `entries` that each tag of an organization may keep. */
const shareOf = (organization: string, entries: string): string => `min(CAST(${entries} AS INTEGER), max(1,
  ${MAX_HISTORY} / max(1, coalesce((SELECT u.tag_rows FROM usage u WHERE u.organization = ${organization}), 0))))`;

/** The most entries that one push removes for each tag. It is more than the push adds. */
const REMOVED_BY_PUSH = 10;

/**
 * Removes entries that exceed the number that each tag keeps; runs between {@link INSERT_HISTORY} and the write of the
 * tags. ?1 repository, ?2 JSON array of tags, ?3 how many entries each keeps, ?4 commit id.
 */
export const TRIM_HISTORY = sql`
  DELETE FROM tag_history WHERE (repository, name, version, origin) IN (
    WITH kept (name, oldest) AS MATERIALIZED (
      SELECT t.name, ${oldestKept('?1', 't.name', shareOf(ofRepository('?1'), '?3'))}
      FROM clock CROSS JOIN json_each(?2) AS tag CROSS JOIN tags t
        ON t.repository = ?1 AND t.name = tag.value WHERE ${committed('?4')})
    SELECT h.repository, h.name, h.version, h.origin FROM kept
    CROSS JOIN tag_history h ON h.repository = ?1 AND h.name = kept.name AND h.version < kept.oldest
    LIMIT (SELECT ${String(REMOVED_BY_PUSH)} * count(*) FROM json_each(?2)))`.reading(
  (run) => keyed(run) + run.keys * (run.asked(3) + 6 * REMOVED_BY_PUSH),
);

/** The part of a tag's history that is kept. */
interface HistoryKept {
  readonly entries: number;
  /** Keeps writes that were replaced at that time or later, in milliseconds since the epoch. */
  readonly since: number;
}

/** A tag with a history; a page starts after one. */
export interface TagPosition {
  readonly repository: string;
  readonly name: string;
}

// Skips from one tag to the next by the index, however long their histories are.
const NEXT_TAG = `coalesce(
  (SELECT json_array(h.repository, h.name) FROM tag_history h
    WHERE h.repository = page.tag ->> 0 AND h.name > page.tag ->> 1 ORDER BY h.name LIMIT 1),
  (SELECT json_array(h.repository, h.name) FROM tag_history h
    WHERE h.repository > page.tag ->> 0 ORDER BY h.repository, h.name LIMIT 1))`;
const SELECT_TAGS_WITH_HISTORY = sql`
  WITH RECURSIVE page (tag, position) AS (
    SELECT json_array(?1, ?2), 0
    UNION ALL
    SELECT ${NEXT_TAG}, position + 1 FROM page WHERE page.tag IS NOT NULL AND position < CAST(?3 AS INTEGER)
  )
  SELECT tag ->> 0 AS repository, tag ->> 1 AS name FROM page WHERE position > 0 AND tag IS NOT NULL
    ORDER BY position`.reading(paged(3, 8));

/** Returns tags that have a history, by repository and name. */
export function tagsWithHistory(database: Database, after: TagPosition, limit: number): Promise<TagPosition[]> {
  return database.all<TagPosition>(SELECT_TAGS_WITH_HISTORY, after.repository, after.name, limit);
}

// Each tag's organization decides how many entries it keeps. That number is a column here, and OFFSET takes no column.
const TRIM_HISTORIES = sql`
  DELETE FROM tag_history WHERE (repository, name, version, origin) IN (
    WITH tag (repository, name, entries) AS MATERIALIZED (
      SELECT each.value ->> 'repository', each.value ->> 'name',
        ${shareOf(ofRepository("(each.value ->> 'repository')"), '?2')}
      FROM json_each(?1) AS each),
    kept (repository, name, oldest) AS MATERIALIZED (
      SELECT tag.repository, tag.name, (
        SELECT placed.version FROM (
          SELECT version, row_number() OVER (ORDER BY version DESC, origin DESC) AS place FROM (
            SELECT x.version, x.origin FROM tag_history x WHERE x.repository = tag.repository AND x.name = tag.name
            ORDER BY x.version DESC, x.origin DESC LIMIT CAST(?2 AS INTEGER))) AS placed
        WHERE placed.place = tag.entries)
      FROM tag)
    SELECT h.repository, h.name, h.version, h.origin FROM kept
    CROSS JOIN tag_history h ON h.repository = kept.repository AND h.name = kept.name
    WHERE h.version < kept.oldest OR h.recorded_at < CAST(?3 AS INTEGER) LIMIT CAST(?4 AS INTEGER))
  RETURNING version`.reading((run) => keyed(run) + 3 * run.keys * run.asked(2) + 6 * run.asked(4));

/** Removes entries that tags no longer keep, at most `limit` in total. Returns how many. */
export async function trimHistories(
  database: Database,
  tags: readonly TagPosition[],
  kept: HistoryKept,
  limit: number,
): Promise<number> {
  return (await database.all(TRIM_HISTORIES, JSON.stringify(tags), kept.entries, kept.since, limit)).length;
}

export interface TagWrite extends AuthoredTag {
  /**
   * When it was replaced, or lost, in milliseconds since the epoch; null if it is the tag's current row in the store.
   */
  readonly recorded_at: number | null;
}

/** The write after which a page of a history starts, latest first. */
export type WritePosition = Pick<TagWrite, 'version' | 'origin'>;

/** The position before all writes: no version is greater. */
export const BEFORE_ALL: WritePosition = { version: Number.MAX_SAFE_INTEGER, origin: '' };

const SELECT_TAG = sql<TagWrite>`SELECT version, origin, digest, author, NULL AS recorded_at FROM tags
  WHERE repository = ?1 AND name = ?2`;
const SELECT_HISTORY = sql<TagWrite>`
  SELECT version, origin, digest, author, recorded_at FROM (
    SELECT version, origin, digest, author, recorded_at FROM tag_history
    WHERE repository = ?1 AND name = ?2 AND (version, origin) < (CAST(?3 AS INTEGER), ?4)
      AND version >= coalesce(${oldestKept('?1', '?2', '?5')}, 0) AND recorded_at >= CAST(?6 AS INTEGER)
    UNION ALL
    SELECT version, origin, digest, author, NULL FROM tags
    WHERE repository = ?1 AND name = ?2 AND (version, origin) < (CAST(?3 AS INTEGER), ?4))
  ORDER BY version DESC, origin DESC LIMIT CAST(?7 AS INTEGER)`.reading((run) => keyed(run) + 3 * run.asked(5));

/** Returns the current write of a tag in a store, and a page of all its writes that the store keeps, latest first. */
export async function historyOfTag(
  database: Database,
  repository: RepositoryName,
  tag: Tag,
  before: WritePosition,
  kept: HistoryKept,
  limit: number,
): Promise<{ readonly current: TagWrite | undefined; readonly writes: readonly TagWrite[] }> {
  const { current, writes } = await database.batch(
    {
      current: [SELECT_TAG, repository, tag],
      writes: [SELECT_HISTORY, repository, tag, before.version, before.origin, kept.entries, kept.since, limit],
    },
    { again: true },
  );
  return { current: current[0], writes };
}

const SELECT_WRITE = sql`
  SELECT version, origin, digest, author, recorded_at FROM tag_history
  WHERE repository = ?1 AND name = ?2 AND version = CAST(?3 AS INTEGER) AND origin = ?4
  UNION ALL
  SELECT version, origin, digest, author, NULL FROM tags
  WHERE repository = ?1 AND name = ?2 AND version = CAST(?3 AS INTEGER) AND origin = ?4`;

/** Returns one write of a tag; undefined if the store does not know it. */
export function writeOfTag(
  database: Database,
  repository: RepositoryName,
  tag: Tag,
  { version, origin }: WritePosition,
): Promise<TagWrite | undefined> {
  return database.first<TagWrite>(SELECT_WRITE, repository, tag, version, origin);
}

const GREATEST_TAG_VERSION = sql<{ version: number }>`
  SELECT coalesce(max(t.version), 0) AS version FROM json_each(?2) AS asked
  CROSS JOIN tags t INDEXED BY tags_by_digest ON t.repository = ?1 AND t.digest = asked.value`.reading(perTag);

/** Selects the greatest version of the tags on some manifests; 0 for none. Their deletion must be later. */
export function selectGreatestTagVersion(
  repository: RepositoryName,
  digests: readonly Digest[],
): BoundStatement<{ version: number }> {
  return [GREATEST_TAG_VERSION, repository, JSON.stringify(digests)];
}
