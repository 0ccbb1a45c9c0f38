/**
 * Markers: what a node has yet to announce to central. A marker is written in the transaction of the change and carries
 * its stamp; it is read before or with the row, and goes only while it has the same stamp. It is no log: a tag that was
 * pushed a thousand times has one.
 */
import type { Digest } from '../oci/digest.ts';
import type { RepositoryName, Tag } from '../oci/reference.ts';
import { stampOf } from './clock.ts';
import { type BoundStatement, type Database, sql } from './database.ts';
import { atMost, paged } from './rows-read.ts';

export type Marker = {
  readonly repository: RepositoryName;
  readonly stamp: number;
  /** The wall clock at which it was written, in milliseconds since the epoch. */
  readonly written_at: number;
} & ({ readonly kind: 'tag'; readonly key: Tag } | { readonly kind: 'manifest'; readonly key: Digest });

/** Where a page of markers starts: after this one. */
export type MarkerPosition = Pick<Marker, 'written_at' | 'kind' | 'repository' | 'key'>;

const COLUMNS = 'kind, repository, key, stamp, written_at';
const SELECT_MARKERS = sql`
  SELECT ${COLUMNS} FROM markers INDEXED BY markers_in_order
  WHERE (written_at, kind, repository, key) > (CAST(?1 AS INTEGER), ?2, ?3, ?4)
  ORDER BY written_at, kind, repository, key LIMIT CAST(?5 AS INTEGER)`.reading(paged(5));

/** The oldest first. */
export function markersAfter(database: Database, after: MarkerPosition | undefined, limit: number): Promise<Marker[]> {
  const { written_at, kind, repository, key } = after ?? { written_at: -1, kind: '', repository: '', key: '' };
  return database.all<Marker>(SELECT_MARKERS, written_at, kind, repository, key, limit);
}

const DELETE_MARKERS = sql`
  DELETE FROM markers WHERE (kind, repository, key, stamp) IN (
    SELECT done.value ->> 'kind', done.value ->> 'repository', done.value ->> 'key', done.value ->> 'stamp'
    FROM json_each(?1) AS done)`;

/** Removes markers whose change was announced; one that a later change has written anew stays. */
export function deleteMarkers(announced: readonly Marker[]): BoundStatement {
  return [
    DELETE_MARKERS,
    JSON.stringify(announced.map(({ kind, repository, key, stamp }) => ({ kind, repository, key, stamp }))),
  ];
}

const SELECT_OLDEST = sql`SELECT min(written_at) AS written_at FROM markers INDEXED BY markers_in_order`;

/** When the oldest marker was written, in milliseconds since the epoch. */
export async function oldestMarker(database: Database): Promise<number | undefined> {
  return (await database.first<{ written_at: number | null }>(SELECT_OLDEST))?.written_at ?? undefined;
}

/**
 * A stamp that is not greater than those of the changes that wait. No stamp is less than the time at which its marker was
 * written: so the oldest marker tells, by its index.
 */
export async function leastStamp(database: Database): Promise<number | undefined> {
  const oldest = await oldestMarker(database);
  return oldest === undefined ? undefined : stampOf(oldest);
}

/** Markers that are counted. */
const MOST_COUNTED = 100_000;
const SELECT_DEPTH = sql`
  SELECT (SELECT count(*) FROM (SELECT 1 FROM markers INDEXED BY markers_in_order WHERE written_at >= 0 LIMIT ${String(MOST_COUNTED)})) AS depth,
    (SELECT min(written_at) FROM markers INDEXED BY markers_in_order) AS oldest`.reading(atMost(2 * MOST_COUNTED));

export interface OutboxDepth {
  /** Markers; 100,000 for more. */
  readonly depth: number;
  /** When the oldest was written, in milliseconds since the epoch; null for none. */
  readonly oldest: number | null;
}

export async function waitingMarkers(database: Database): Promise<OutboxDepth> {
  return (await database.first<OutboxDepth>(SELECT_DEPTH)) ?? { depth: 0, oldest: null };
}

/** Manifests, or tags, that one transaction marks. */
const ROWS_PER_SLICE = 5000;
const WRITTEN_AT = (version: string): string => `min(${version} / 1000, CAST(?1 AS INTEGER))`;
const IN_SLICE = (key: string): string =>
  `WHERE (repository, ${key}) > (?2, ?3) AND (?4 IS NULL OR (repository, ${key}) <= (?4, ?5))`;
const SLICE_END = (table: string, key: string): string =>
  `SELECT repository, ${key} AS key FROM ${table} WHERE (repository, ${key}) > (?1, ?2) ORDER BY repository, ${key} LIMIT 1 OFFSET ${ROWS_PER_SLICE}`;
const slice = atMost(16 * ROWS_PER_SLICE);

const MARK_ALL = [
  {
    end: sql`${SLICE_END('manifests', 'digest')}`.reading(slice),
    mark: sql`INSERT INTO markers (kind, repository, key, stamp, written_at)
      SELECT 'manifest', repository, digest, created_version, ${WRITTEN_AT('created_version')} FROM manifests
      ${IN_SLICE('digest')} AND created_version > deleted_version ON CONFLICT DO NOTHING`.reading(slice),
  },
  {
    end: sql`${SLICE_END('tags', 'name')}`.reading(slice),
    mark: sql`INSERT INTO markers (kind, repository, key, stamp, written_at)
      SELECT 'tag', repository, name, version, ${WRITTEN_AT('version')} FROM tags ${IN_SLICE('name')} ON CONFLICT DO NOTHING`.reading(
      slice,
    ),
  },
] as const;

interface SliceEnd {
  readonly repository: string;
  readonly key: string;
}

/**
 * Marks everything that a node holds, for a central whose database was restored to an earlier moment. Markers are as old as
 * the changes that they stand for: so nothing is collected before central has heard of them again. In slices: interrupted, it can be
 * repeated.
 */
export async function markEverything(node: Database, now: number): Promise<void> {
  for (const { end, mark } of MARK_ALL) {
    let from: SliceEnd | undefined = { repository: '', key: '' };
    while (from !== undefined) {
      const to: SliceEnd | undefined = await node.first<SliceEnd>(end, from.repository, from.key);
      await node.run(mark, now, from.repository, from.key, to?.repository ?? null, to?.key ?? null);
      from = to;
    }
  }
}
