/**
 * The outbox: the changes that a node has yet to announce to central. An entry is written in the transaction of its
 * change and carries the change's version. It is read before or together with the changed row, and removed only while
 * it still has the same version. The outbox is not a log: a tag that was pushed a thousand times has one entry. The
 * entry of a manifest may also stand for a tag (`outbox.tag`), as long as the tag is on that manifest.
 */
import type { Digest } from '../oci/digest.ts';
import type { RepositoryName, Tag } from '../oci/reference.ts';
import { type BoundStatement, type Database, sql } from './database.ts';
import { atMost, paged } from './rows-read.ts';

export type OutboxEntry = {
  readonly repository: RepositoryName;
  readonly version: number;
  /** When it was written, by the wall clock, in milliseconds since the epoch. */
  readonly written_at: number;
} & (
  | { readonly kind: 'tag'; readonly key: Tag }
  | {
      readonly kind: 'manifest';
      readonly key: Digest;
      /** A tag that it also stands for, as long as the tag is on the manifest; '' for none. */
      readonly tag?: Tag | '';
    }
);

/** The entry after which a page starts. */
export type OutboxEntryPosition = Pick<OutboxEntry, 'written_at' | 'kind' | 'repository' | 'key'>;

const COLUMNS = 'kind, repository, key, version, written_at, tag';
const SELECT_OUTBOX_ENTRIES = sql`
  SELECT ${COLUMNS} FROM outbox INDEXED BY outbox_in_order
  WHERE (written_at, kind, repository, key) > (CAST(?1 AS INTEGER), ?2, ?3, ?4)
  ORDER BY written_at, kind, repository, key LIMIT CAST(?5 AS INTEGER)`.reading(paged(5));

/** Returns a page of outbox entries, oldest first. */
export function outboxEntriesAfter(
  database: Database,
  after: OutboxEntryPosition | undefined,
  limit: number,
): Promise<OutboxEntry[]> {
  const { written_at, kind, repository, key } = after ?? { written_at: -1, kind: '', repository: '', key: '' };
  return database.all<OutboxEntry>(SELECT_OUTBOX_ENTRIES, written_at, kind, repository, key, limit);
}

const DELETE_OUTBOX_ENTRIES = sql`
  DELETE FROM outbox WHERE (kind, repository, key, version) IN (
    SELECT done.value ->> 'kind', done.value ->> 'repository', done.value ->> 'key', done.value ->> 'version'
    FROM json_each(?1) AS done)`;

/** Removes outbox entries whose changes were announced. An entry that a later change has rewritten stays. */
export function deleteOutboxEntries(announced: readonly OutboxEntry[]): BoundStatement {
  return [
    DELETE_OUTBOX_ENTRIES,
    JSON.stringify(announced.map(({ kind, repository, key, version }) => ({ kind, repository, key, version }))),
  ];
}

const SELECT_OLDEST = sql`SELECT min(written_at) AS written_at FROM outbox INDEXED BY outbox_in_order`;

/** Returns when the oldest outbox entry was written, in milliseconds since the epoch; undefined if there is none. */
export async function oldestOutboxEntry(database: Database): Promise<number | undefined> {
  return (await database.first<{ written_at: number | null }>(SELECT_OLDEST))?.written_at ?? undefined;
}

/** The most outbox entries that are counted. */
const MOST_COUNTED = 100_000;
const SELECT_DEPTH = sql`
  SELECT (SELECT count(*) FROM (SELECT 1 FROM outbox INDEXED BY outbox_in_order WHERE written_at >= 0
    LIMIT ${String(MOST_COUNTED)})) AS depth,
    (SELECT min(written_at) FROM outbox INDEXED BY outbox_in_order) AS oldest`.reading(atMost(2 * MOST_COUNTED));

interface OutboxDepth {
  /** The number of outbox entries; 100,000 stands for that many or more. */
  readonly depth: number;
  /** When the oldest was written, in milliseconds since the epoch; null if there is none. */
  readonly oldest: number | null;
}

/** Counts the outbox entries. */
export async function outboxDepth(database: Database): Promise<OutboxDepth> {
  return (await database.first<OutboxDepth>(SELECT_DEPTH)) ?? { depth: 0, oldest: null };
}

/** The most manifests or tags that one transaction announces. */
const ROWS_PER_SLICE = 5000;
const WRITTEN_AT = (version: string): string => `min(${version} / 1000, CAST(?1 AS INTEGER))`;
const IN_SLICE = (key: string): string =>
  `WHERE (repository, ${key}) > (?2, ?3) AND (?4 IS NULL OR (repository, ${key}) <= (?4, ?5))`;
const SLICE_END = (table: string, key: string): string =>
  `SELECT repository, ${key} AS key FROM ${table} WHERE (repository, ${key}) > (?1, ?2) ORDER BY repository, ${key}
    LIMIT 1 OFFSET ${ROWS_PER_SLICE}`;
const slice = atMost(16 * ROWS_PER_SLICE);

const ANNOUNCE_ALL = [
  {
    end: sql`${SLICE_END('manifests', 'digest')}`.reading(slice),
    announce: sql`INSERT INTO outbox (kind, repository, key, version, written_at)
      SELECT 'manifest', repository, digest, created_version, ${WRITTEN_AT('created_version')} FROM manifests
      ${IN_SLICE('digest')} AND created_version > deleted_version ON CONFLICT DO NOTHING`.reading(slice),
  },
  {
    end: sql`${SLICE_END('tags', 'name')}`.reading(slice),
    announce: sql`INSERT INTO outbox (kind, repository, key, version, written_at)
      SELECT 'tag', repository, name, version, ${WRITTEN_AT('version')} FROM tags ${IN_SLICE('name')}
        ON CONFLICT DO NOTHING`.reading(slice),
  },
] as const;

interface SliceEnd {
  readonly repository: string;
  readonly key: string;
}

/**
 * Writes an outbox entry for everything that a node holds, for a central whose database was restored to an earlier
 * moment. The entries are as old as the changes that they stand for, so nothing is collected before central has
 * received these changes again. Works in slices; if it is interrupted, it can be repeated.
 * @param now milliseconds since the epoch
 */
export async function announceAll(node: Database, now: number): Promise<void> {
  for (const { end, announce } of ANNOUNCE_ALL) {
    let from: SliceEnd | undefined = { repository: '', key: '' };
    while (from !== undefined) {
      const to: SliceEnd | undefined = await node.first<SliceEnd>(end, from.repository, from.key);
      await node.run(announce, now, from.repository, from.key, to?.repository ?? null, to?.key ?? null);
      from = to;
    }
  }
}
