/**
 * The number of manifests that are new to central, hour by hour. A push writes nothing for it: SQLite numbers the rows
 * of `manifest_contents` as they are inserted, and maintenance notes the latest number at the start of each hour. A
 * document above a megabyte has several rows, and so counts as several.
 */
import { HOUR } from '../../durations.ts';
import { type Database, sql } from '../database.ts';
import { paged } from '../rows-read.ts';

/** The number of hours that are kept, the current one included. */
export const HOURS_OF_DOCUMENTS = 90 * 24;
/** The most old rows that a run removes. */
const REMOVED = 100;

const LATEST = '(SELECT coalesce(max(rowid), 0) FROM manifest_contents)';
const NOTE = sql`
  INSERT INTO documents_by_hour (hour, documents) SELECT CAST(?1 AS INTEGER), ${LATEST} WHERE true
  ON CONFLICT (hour) DO NOTHING`;
const DELETE_OLD = sql`
  DELETE FROM documents_by_hour WHERE hour IN (
    SELECT hour FROM documents_by_hour WHERE hour <= CAST(?1 AS INTEGER)
    ORDER BY hour LIMIT CAST(?2 AS INTEGER))`.reading(paged(2, 4));

/** Notes the latest document unless the hour has its note, and removes old notes. @param hour hours since the epoch */
export async function noteDocuments(database: Database, hour: number): Promise<void> {
  await database.batch([
    [NOTE, hour],
    [DELETE_OLD, hour - HOURS_OF_DOCUMENTS, REMOVED],
  ]);
}

export interface HourOfDocuments {
  /** The start of the hour, in milliseconds since the epoch. */
  readonly at: number;
  readonly documents: number;
}

const SELECT_HOURS = sql<{ hour: number; documents: number }>`
  SELECT hour, documents FROM documents_by_hour WHERE hour > CAST(?1 AS INTEGER)
  ORDER BY hour LIMIT CAST(?2 AS INTEGER)`.reading(paged(2));
const SELECT_LATEST = sql<{ documents: number }>`SELECT ${LATEST} AS documents`;

/**
 * Returns how many documents were inserted in each of the last hours, oldest first. An hour is left out unless both its
 * start and its end were noted.
 */
export async function documentsByHour(database: Database, now: number, hours: number): Promise<HourOfDocuments[]> {
  const current = Math.floor(now / HOUR);
  const { noted, latest } = await database.batch(
    { noted: [SELECT_HOURS, current - hours, hours], latest: [SELECT_LATEST] },
    { again: true },
  );
  const ends = new Map(noted.map(({ hour, documents }) => [hour - 1, documents]));
  ends.set(current, latest[0]?.documents ?? 0);
  return noted.flatMap(({ hour, documents }) => {
    const end = ends.get(hour);
    // SQLite reuses the numbers of the latest documents if they are deleted.
    return end === undefined ? [] : [{ at: hour * HOUR, documents: Math.max(0, end - documents) }];
  });
}
