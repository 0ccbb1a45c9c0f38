/**
 * The keys of objects that rows name, read in pages. No table has an index by key, since every push would write one
 * more row for queries that run once a day. So a range of keys is found by walking whole tables.
 */
import type { Digest } from '../../oci/digest.ts';
import type { Damage } from '../../stores/blob-rows.ts';
import { type Database, type Sql, sql } from '../../stores/database.ts';
import { atMost, paged } from '../../stores/rows-read.ts';

/** A range of keys: after `after`, and up to `to`. An empty `to` has no end. */
export interface KeyRange {
  readonly after: string;
  readonly to: string;
}

/** A location whose key lies in a range. */
export interface NamedKey {
  readonly digest: Digest;
  readonly key: string;
  readonly damage: Damage | null;
}

type KeyRow = NamedKey & { readonly last: 0 };
type LastRow = { readonly last: 1; readonly digest: Digest };

const ROWS_PER_PAGE = 20_000;
const SELECT_LOCATIONS = sql`
  WITH page AS MATERIALIZED (
    SELECT digest AS until FROM locations WHERE digest > ?1 ORDER BY digest LIMIT 1 OFFSET ${String(ROWS_PER_PAGE)})
  SELECT 0 AS last, l.digest, l.key, l.damage FROM locations l
  WHERE l.digest > ?1 AND l.digest <= coalesce((SELECT until FROM page), '~') AND l.store = ?2
    AND l.key > ?3 AND (?4 = '' OR l.key <= ?4)
  UNION ALL
  SELECT 1, until, NULL, NULL FROM page`.reading(atMost(4 * ROWS_PER_PAGE));

/**
 * Returns those locations of a page whose key is in the range, by digest.
 * @param after the digest after which the page starts; '' for the first page
 * @returns `next`: the digest after which the next page starts; undefined after the last page
 */
export async function namedLocations(
  database: Database,
  store: string,
  range: KeyRange,
  after: string,
): Promise<{ readonly rows: readonly NamedKey[]; readonly next: string | undefined }> {
  const found = await database.all<KeyRow | LastRow>(SELECT_LOCATIONS, after, store, range.after, range.to);
  const end = found.at(-1);
  const rows = found.filter((row) => row.last === 0).toSorted((a, b) => (a.digest < b.digest ? -1 : 1));
  return { rows, next: end?.last === 1 ? end.digest : undefined };
}

// Each statement selects the page after a position of three values, in the order of the table's primary key.
const SELECT_SESSION_KEYS = sql<OtherKey>`
  SELECT hour AS first, repository AS second, id AS third, key FROM uploads
    WHERE (hour, repository, id) > (CAST(?1 AS INTEGER), ?2, ?3)
  ORDER BY hour, repository, id LIMIT CAST(?4 AS INTEGER)`.reading(paged(4));
const SELECT_CHUNK_KEYS = sql<OtherKey>`
  SELECT upload AS first, start AS second, '' AS third, key FROM upload_chunks
    WHERE (upload, start) > (?1, CAST(?2 AS INTEGER)) AND ?3 = ''
  ORDER BY upload, start LIMIT CAST(?4 AS INTEGER)`.reading(paged(4));
const SELECT_QUEUED_KEYS = sql<OtherKey>`
  SELECT delete_after AS first, key AS second, '' AS third, key FROM delete_queue
    WHERE (delete_after, key) > (CAST(?1 AS INTEGER), ?2) AND ?3 = ''
  ORDER BY delete_after, key LIMIT CAST(?4 AS INTEGER)`.reading(paged(4));

/** A position in a table: the values of its primary key. */
export type RowPosition = readonly [first: string | number, second: string | number, third: string];

interface OtherKey {
  readonly first: string | number;
  readonly second: string | number;
  readonly third: string;
  readonly key: string | null;
}

/** A table other than `locations` whose rows name objects. A key can move from it to `locations`, or back. */
export type OtherTable = 'uploads' | 'upload_chunks' | 'delete_queue';

const OTHER_TABLES: Readonly<Record<OtherTable, readonly [select: Sql<OtherKey>, start: RowPosition]>> = {
  uploads: [SELECT_SESSION_KEYS, [0, '', '']],
  upload_chunks: [SELECT_CHUNK_KEYS, ['', -1, '']],
  delete_queue: [SELECT_QUEUED_KEYS, [-1, '', '']],
};

/** Returns the keys that a page of a table's rows names. @param after undefined for the first page */
export async function otherKeys(
  database: Database,
  table: OtherTable,
  after: RowPosition | undefined,
): Promise<{ readonly keys: readonly string[]; readonly next: RowPosition | undefined }> {
  const [select, start] = OTHER_TABLES[table];
  const rows = await database.all<OtherKey>(select, ...(after ?? start), ROWS_PER_PAGE);
  const last = rows.length < ROWS_PER_PAGE ? undefined : rows.at(-1);
  return { keys: rows.flatMap(({ key }) => key ?? []), next: last && [last.first, last.second, last.third] };
}
