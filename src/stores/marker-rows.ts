/**
 * Markers: what a node has yet to announce to central. A marker is written in the transaction of the change and carries
 * its stamp; it is read before or with the row, and goes only while it has the same stamp. It is no log: a tag that was
 * pushed a thousand times has one.
 */
import type { Digest } from '../oci/digest.ts';
import type { RepositoryName, Tag } from '../oci/reference.ts';
import { type BoundStatement, type Database, sql, sqlOfWholeTable } from './database.ts';

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
  ORDER BY written_at, kind, repository, key LIMIT CAST(?5 AS INTEGER)`;

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

const SELECT_LEAST_STAMP = sqlOfWholeTable`SELECT min(stamp) AS stamp FROM markers`;

/** Of the change that was made first, of those that wait. */
export async function leastStamp(database: Database): Promise<number | undefined> {
  return (await database.first<{ stamp: number | null }>(SELECT_LEAST_STAMP))?.stamp ?? undefined;
}

const SELECT_DEPTH = sqlOfWholeTable`
  SELECT count(*) AS depth, min(written_at) AS oldest FROM markers`;

export interface Waiting {
  /** Markers. */
  readonly depth: number;
  /** When the oldest was written, in milliseconds since the epoch; null for none. */
  readonly oldest: number | null;
}

export async function waitingMarkers(database: Database): Promise<Waiting> {
  return (await database.first<Waiting>(SELECT_DEPTH)) ?? { depth: 0, oldest: null };
}

const MARK_ALL = [
  sqlOfWholeTable`INSERT INTO markers (kind, repository, key, stamp, written_at)
    SELECT 'manifest', repository, digest, created_version, min(created_version / 1000, CAST(?1 AS INTEGER)) FROM manifests
    WHERE created_version > deleted_version ON CONFLICT DO NOTHING`,
  sqlOfWholeTable`INSERT INTO markers (kind, repository, key, stamp, written_at)
    SELECT 'tag', repository, name, version, min(version / 1000, CAST(?1 AS INTEGER)) FROM tags WHERE true ON CONFLICT DO NOTHING`,
];

/**
 * Marks everything that a node holds, for a central whose database was restored to an earlier moment. Markers are as old as
 * the changes that they stand for: so nothing is collected before central has heard of them again.
 */
export function markEverything(now: number): BoundStatement[] {
  return MARK_ALL.map((statement): BoundStatement => [statement, now]);
}
