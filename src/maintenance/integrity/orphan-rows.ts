/**
 * Orphans: objects in a store's bucket that no row names. They are kept for as long as a database restore could bring
 * back rows that name them.
 *
 * An orphan is either adopted as a blob's location or deleted, and one transaction decides which: deleting begins with
 * the mark `deleting`, and adopting takes only rows without it.
 */
import type { Algorithm, Digest } from '../../oci/digest.ts';
import { type BoundStatement, type Database, sql } from '../../stores/database.ts';
import { paged } from '../../stores/rows-read.ts';
import type { KeyRange } from './named-keys.ts';

interface Orphan {
  readonly key: string;
  /** Bytes. */
  readonly size: number;
}

/** An orphan that may hold a lost blob's bytes. A digest is null if it has not been computed. */
export interface Candidate extends Orphan {
  readonly sha256: Digest | null;
  readonly sha512: Digest | null;
}

const SELECT_ORPHANS = sql`
  SELECT key, first_seen FROM orphans WHERE key > ?1 AND key <= coalesce(nullif(?2, ''), '~')
  ORDER BY key LIMIT CAST(?3 AS INTEGER)`.reading(paged(3));

/**
 * Reads at most `limit` orphans of a range of keys.
 * @returns `orphans`: when each was first seen, in milliseconds since the epoch. `end`: the end of the range that they
 *   cover, '' for no end
 */
export async function orphansBetween(
  database: Database,
  { after, to }: KeyRange,
  limit: number,
): Promise<{ readonly orphans: ReadonlyMap<string, number>; readonly end: string }> {
  const rows = await database.all<{ key: string; first_seen: number }>(SELECT_ORPHANS, after, to, limit);
  return {
    orphans: new Map(rows.map(({ key, first_seen: firstSeen }) => [key, firstSeen])),
    end: rows.length < limit ? to : (rows.at(-1)?.key ?? to),
  };
}

const INSERT_ORPHANS = sql`
  INSERT INTO orphans (key, size, first_seen)
  SELECT seen.value ->> 'key', seen.value ->> 'size', CAST(?2 AS INTEGER) FROM json_each(?1) AS seen WHERE true
  ON CONFLICT DO NOTHING`;

export function insertOrphans(orphans: readonly Orphan[], now: number): BoundStatement {
  return [INSERT_ORPHANS, JSON.stringify(orphans.map(({ key, size }) => ({ key, size }))), now];
}

const BEGIN_DELETING = sql`
  UPDATE orphans SET deleting = 1
  WHERE key IN (SELECT value FROM json_each(?1)) AND first_seen <= CAST(?2 AS INTEGER) RETURNING key`;

/** Marks orphans first seen by `firstSeenBy`, so that nothing adopts them any more. Returns their keys. */
export async function beginDeleting(
  database: Database,
  keys: readonly string[],
  firstSeenBy: number,
): Promise<string[]> {
  return (await database.all<{ key: string }>(BEGIN_DELETING, JSON.stringify(keys), firstSeenBy)).map(({ key }) => key);
}

const FORGET_ORPHANS = sql`DELETE FROM orphans WHERE key IN (SELECT value FROM json_each(?1))`;

const FORGET_REPAIRS = sql`DELETE FROM repairs WHERE name IN (SELECT value FROM json_each(?1))`;

const FORGET_NAMED = sql`
  DELETE FROM orphans WHERE key IN (
    SELECT l.key FROM json_each(?1) AS blob CROSS JOIN locations l ON l.digest = blob.value
      AND l.store = ?2)`;

/** Removes orphan rows of objects that locations name: an object that is about to be deleted must not be adopted. */
export function forgetNamedOrphans(digests: readonly Digest[], store: string): BoundStatement {
  return [FORGET_NAMED, JSON.stringify(digests), store];
}

/** Removes orphan rows whose object is gone or is named by a row again, and the digests computed for a repair. */
export function forgetOrphans(keys: readonly string[]): BoundStatement[] {
  const parameter = JSON.stringify(keys);
  return [
    [FORGET_ORPHANS, parameter],
    [FORGET_REPAIRS, parameter],
  ];
}

const SELECT_CANDIDATES = sql`
  SELECT key, size, sha256, sha512 FROM orphans
  WHERE (size, key) > (CAST(?1 AS INTEGER), ?2) AND size <= CAST(?3 AS INTEGER) AND deleting = 0
  ORDER BY size, key LIMIT CAST(?4 AS INTEGER)`.reading(paged(4, 3));

/**
 * Returns a page of the orphans of one size.
 * @param size bytes; 0 for any size, smallest first
 * @param after the last orphan of the previous page; undefined for the first page
 */
export function candidates(
  database: Database,
  size: number,
  after: Orphan | undefined,
  limit: number,
): Promise<Candidate[]> {
  const from = after ?? { size, key: '' };
  return database.all<Candidate>(
    SELECT_CANDIDATES,
    from.size,
    from.key,
    size === 0 ? Number.MAX_SAFE_INTEGER : size,
    limit,
  );
}

const SET_SHA256 = sql`UPDATE orphans SET sha256 = ?2 WHERE key = ?1`;
const SET_SHA512 = sql`UPDATE orphans SET sha512 = ?2 WHERE key = ?1`;

/** Saves the digest that was computed for an orphan. */
export function setOrphanDigest(key: string, algorithm: Algorithm, digest: Digest): BoundStatement {
  return [algorithm === 'sha256' ? SET_SHA256 : SET_SHA512, key, digest];
}

const REPAIR_BY_ORPHAN = sql`
  UPDATE locations SET key = ?4, size = (SELECT size FROM orphans WHERE key = ?4), damage = NULL
  WHERE digest = ?1 AND store = ?2 AND key = ?3 AND damage IS NOT NULL
    AND EXISTS (SELECT 1 FROM orphans WHERE key = ?4 AND deleting = 0)`;

const ADD_LOCATION_OF_ORPHAN = sql`
  INSERT INTO locations (digest, store, key, size, created_at, lease_until)
  SELECT ?1, ?2, key, size, CAST(?4 AS INTEGER), CAST(?5 AS INTEGER) FROM orphans
  WHERE key = ?3 AND deleting = 0 AND EXISTS (SELECT 1 FROM links WHERE digest = ?1) ON CONFLICT DO NOTHING`;

const FORGET_ADOPTED = sql<{ key: string }>`
  DELETE FROM orphans WHERE key = ?3
    AND EXISTS (SELECT 1 FROM locations WHERE digest = ?1 AND store = ?2 AND key = ?3) RETURNING key`;

/**
 * Makes an orphan that was hashed to `digest` the location of that blob. Returns whether it did.
 * @param damaged the key of the damaged location that it replaces; undefined if the store has none
 * @param now milliseconds since the epoch
 * @param lease the end of a new location's lease, in milliseconds since the epoch
 */
export async function adoptOrphan(
  { name, database }: { readonly name: string; readonly database: Database },
  digest: Digest,
  damaged: string | undefined,
  key: string,
  now: number,
  lease: number,
): Promise<boolean> {
  const take: BoundStatement =
    damaged === undefined
      ? [ADD_LOCATION_OF_ORPHAN, digest, name, key, now, lease]
      : [REPAIR_BY_ORPHAN, digest, name, damaged, key];
  const { adopted } = await database.batch({ take, adopted: [FORGET_ADOPTED, digest, name, key] });
  return adopted.length > 0;
}
