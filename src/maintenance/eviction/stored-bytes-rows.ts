/**
 * The bytes that a node holds, to compare with its limit. Triggers add and subtract each location, which costs a
 * written row. So they do that only in a store that counts, and only for digests that the count has reached.
 * Maintenance counts the existing locations in slices, each in one transaction with the step to the next.
 */
import type { Digest } from '../../oci/digest.ts';
import { type Database, sql } from '../../stores/database.ts';
import { atMost } from '../../stores/rows-read.ts';

/** Locations that one slice counts. */
const ROWS_PER_SLICE = 5000;

/** Sorts after every digest. */
const END = '~';

const SELECT_STORED = sql<{ bytes: number; counted_to: string }>`
  SELECT bytes, counted_to FROM stored_bytes WHERE store = ?1`;
const SELECT_SLICE_END = sql<{ digest: Digest }>`
  SELECT digest FROM locations WHERE digest > ?1 ORDER BY digest LIMIT 1 OFFSET ${String(ROWS_PER_SLICE)}`.reading(
  atMost(2 * ROWS_PER_SLICE),
);
const BEGIN = sql`INSERT INTO stored_bytes (store, bytes, counted_to) VALUES (?1, 0, '') ON CONFLICT DO NOTHING`;
const COUNT_SLICE = sql`
  UPDATE stored_bytes SET counted_to = ?3, bytes = bytes + coalesce((SELECT sum(size) FROM locations
    WHERE digest > ?2 AND digest <= ?3 AND store = ?1), 0)
  WHERE store = ?1 AND counted_to = ?2`.reading(atMost(2 * ROWS_PER_SLICE));
const STOP = sql`DELETE FROM stored_bytes WHERE store = ?1`;

interface NodeDatabase {
  readonly name: string;
  readonly database: Database;
}

/** Returns the bytes of a store's blobs, as far as they are counted. */
export async function storedBytes({ name, database }: NodeDatabase): Promise<number> {
  return (await database.first(SELECT_STORED, name))?.bytes ?? 0;
}

/** Returns the bytes of a store's blobs; null unless all of them are counted. */
export async function countedBytes({ name, database }: NodeDatabase): Promise<number | null> {
  const row = await database.first(SELECT_STORED, name);
  return row?.counted_to === END ? row.bytes : null;
}

/** Counts one more slice of a store's locations. Returns whether all of them are counted. */
export async function countStoredBytes({ name, database }: NodeDatabase): Promise<boolean> {
  const from = (await database.first(SELECT_STORED, name))?.counted_to ?? '';
  if (from === END) return true;
  const to = (await database.first(SELECT_SLICE_END, from))?.digest ?? END;
  await database.batch([
    [BEGIN, name],
    [COUNT_SLICE, name, from, to],
  ]);
  return to === END;
}

/** Ends the counting in a store that has no limit of bytes any more. */
export async function stopCountingStoredBytes({ name, database }: NodeDatabase): Promise<void> {
  await database.batch([[STOP, name]]);
}
