/**
 * Orphans: objects of a store's bucket that no row names. They are kept for as long as the database can be restored to
 * an earlier moment, which may name them again.
 *
 * An orphan becomes a blob's location, or is deleted, and one transaction decides which: adopting takes the row of one
 * that is not `deleting`, deleting begins with that mark.
 */
import type { Algorithm, Digest } from '../../oci/digest.ts';
import { type BoundStatement, type Database, sql } from '../../stores/database.ts';
import { paged, inFull } from '../../stores/rows-read.ts';

export interface Orphan {
  readonly key: string;
  /** Bytes. */
  readonly size: number;
}

/** An orphan that may have some bytes, and what is known of its digests. */
export interface Candidate extends Orphan {
  readonly sha256: Digest | null;
  readonly sha512: Digest | null;
}

const SELECT_ORPHANS = sql`
  SELECT key, first_seen FROM orphans WHERE key > ?1 AND key <= coalesce(nullif(?2, ''), '~')`.reading(inFull());

/** Those with a key after `after` and up to `to`, and when they were first seen, in milliseconds since the epoch. */
export async function orphansBetween(
  database: Database,
  after: string,
  to: string,
): Promise<ReadonlyMap<string, number>> {
  const rows = await database.all<{ key: string; first_seen: number }>(SELECT_ORPHANS, after, to);
  return new Map(rows.map(({ key, first_seen: firstSeen }) => [key, firstSeen]));
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

/** Marks those that were first seen by `firstSeenBy`: nothing adopts them from here on. Answers their keys. */
export async function beginDeleting(
  database: Database,
  keys: readonly string[],
  firstSeenBy: number,
): Promise<string[]> {
  return (await database.all<{ key: string }>(BEGIN_DELETING, JSON.stringify(keys), firstSeenBy)).map(({ key }) => key);
}

const FORGET_ORPHANS = sql`DELETE FROM orphans WHERE key IN (SELECT value FROM json_each(?1))`;

const FORGET_NAMED = sql`
  DELETE FROM orphans WHERE key IN (
    SELECT l.key FROM json_each(?1) AS releasing CROSS JOIN locations l ON l.digest = releasing.value
      AND l.store = ?2)`;

/** Objects that rows name are no orphans, whatever was seen before: what is about to go must not be adopted. */
export function forgetNamedOrphans(digests: readonly Digest[], store: string): BoundStatement {
  return [FORGET_NAMED, JSON.stringify(digests), store];
}

/** Removes rows of orphans that are gone, or that a row names again. */
export function forgetOrphans(keys: readonly string[]): BoundStatement {
  return [FORGET_ORPHANS, JSON.stringify(keys)];
}

const SELECT_CANDIDATES = sql`
  SELECT key, size, sha256, sha512 FROM orphans
  WHERE (size, key) > (CAST(?1 AS INTEGER), ?2) AND size <= CAST(?3 AS INTEGER) AND deleting = 0
  ORDER BY size, key LIMIT CAST(?4 AS INTEGER)`.reading(paged(4, 3));

/**
 * A page of the orphans of a size.
 * @param size 0 for any, the smallest first
 * @param after the last of the page before; undefined for the beginning
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

/** Keeps what an orphan was hashed to. */
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
 * Makes an orphan, which was hashed to `digest`, the location of that blob: in place of a damaged one under the key
 * `damaged`, or where the store has none. Answers whether it did.
 * @param lease of a new location, in milliseconds since the epoch, as `now`
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
