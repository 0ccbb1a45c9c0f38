/**
 * Locations and links. A location says in which store, and under which key, the bytes of a blob lie; a link says that a
 * repository may read it.
 *
 * Invariant 6: knowing a digest gives no access; every read of a blob goes through the repository's link. Invariant 5:
 * the lease keeps every blob that a client was promised. It is renewed to 2 g when less than 1.75 g of it is left, and
 * using a location clears the mark that its bytes are being released. A promised blob counts against the quota and the
 * limit of blobs of the repository's organization. If it had stopped counting, it counts again before it can be used.
 * If there is no room for it, a caller who may push does not find it.
 */
import type { Digest } from '../oci/digest.ts';
import type { RepositoryName } from '../oci/reference.ts';
import { type BoundStatement, type Database, type Sql, sql } from './database.ts';
import { isAliveLink } from './deletion/removals.ts';
import { hasNoRoom } from './organizations/blob-limit.ts';
import type { StoreLimits } from './organizations/limits.ts';
import { counts, ofRepository } from './organizations/usage-rows.ts';

export interface LocationRow {
  readonly store: string;
  readonly key: string;
  /** Bytes. */
  readonly size: number;
  /** Milliseconds since the epoch. */
  readonly lease_until: number;
}

/** A location, and the known damage to its object; null for none. */
export interface CheckedLocationRow extends LocationRow {
  readonly damage: Damage | null;
}

export type Damage = 'missing' | 'wrong bytes';

/** The result of one query about a blob in a repository. */
export interface BlobRows {
  /** Whether anyone may read the repository. */
  readonly public: boolean;
  /** Whether the repository may read the blob, according to this store's rows. */
  readonly linked: boolean;
  /**
   * At a node: bytes of a blob whose link is usable for another g because central promised it; undefined for any other
   * blob, or if the size is unknown. Only {@link findBlobAndPromise} looks for it.
   */
  readonly promised?: number | undefined;
  /** Nearest first; empty if the blob is not linked. */
  readonly locations: readonly LocationRow[];
  /** Locations whose objects cannot be read until they are repaired. */
  readonly damaged: readonly CheckedLocationRow[];
}

/** The times of a lease, in milliseconds since the epoch. */
interface LeaseTimes {
  readonly now: number;
  /** A lease that ends before this is renewed. */
  readonly renewBefore: number;
  readonly until: number;
  /** A promise holds at least until then. */
  readonly promise: number;
}

/** Computes the times of a lease from the grace time g, in milliseconds. */
export function leaseTimes(now: number, grace: number): LeaseTimes {
  return { now, renewBefore: now + 1.75 * grace, until: now + 2 * grace, promise: now + grace };
}

type Joined = { readonly public: number; readonly linked: number; readonly promised: number | null } & (
  | { readonly [Column in keyof CheckedLocationRow]: null }
  | CheckedLocationRow
);

// The clock has exactly one row. The query joins from it, so that it always says whether the repository is public.
const selectBlob = (isLinked: string, promised: string): Sql<Joined> => sql<Joined>`
  SELECT EXISTS (SELECT 1 FROM public_repositories WHERE name = ?1) AS public, k.digest IS NOT NULL AS linked,
    ${promised} AS promised, l.store, l.key, l.size, l.lease_until, l.damage
  FROM clock
  LEFT JOIN links k ON k.repository = ?1 AND k.digest = ?2 AND ${isAliveLink('k')} AND ${isLinked}
  LEFT JOIN locations l ON l.digest = ?2 AND (k.digest IS NOT NULL OR ?4 = 1)
  WHERE clock.id = 1
  ORDER BY l.store = ?3 DESC`;
const COUNTS = counts('?1', '?2');
const SIZE_IF_PROMISED = `(SELECT u.size FROM usage_blobs u WHERE u.organization = ${ofRepository('?1')}
  AND u.digest = ?2 AND k.usable_until >= CAST(?5 AS INTEGER))`;
const SELECT_BLOB = selectBlob('true', 'NULL');
const SELECT_PROMISED = selectBlob(COUNTS, SIZE_IF_PROMISED);

const BYTES = '(SELECT size FROM locations WHERE digest = ?2 AND damage IS NULL LIMIT 1)';
const COUNT_AGAIN = sql`
  UPDATE links SET counts = 1
  WHERE repository = ?1 AND digest = ?2 AND ${isAliveLink('links')} AND NOT ${COUNTS} AND ${BYTES} IS NOT NULL
    AND NOT ${hasNoRoom('?1', '?2', BYTES, '?3')}`;

/**
 * Renews the lease on all locations of the blob. If only a node has the bytes, the lease on that location at central
 * keeps central from releasing them.
 */
const RENEW_LEASE = sql`
  UPDATE locations SET lease_until = CAST(?4 AS INTEGER), releasing = NULL
  WHERE digest = ?2 AND (lease_until < CAST(?3 AS INTEGER) OR releasing IS NOT NULL)
    AND (?5 = 1 OR (${COUNTS} AND EXISTS (SELECT 1 FROM links k WHERE k.repository = ?1 AND k.digest = ?2
      AND ${isAliveLink('k')})))
    AND (?6 = 0 OR EXISTS (SELECT 1 FROM public_repositories WHERE name = ?1))`;

/**
 * Returns what the store knows about a blob in a repository.
 * @param nearest the store whose location comes first
 * @param linkedElsewhere whether another store has said that the repository may read the blob
 */
export async function findBlob(
  database: Database,
  repository: RepositoryName,
  digest: Digest,
  nearest: string,
  linkedElsewhere = false,
): Promise<BlobRows> {
  return blobRows(await database.all(SELECT_BLOB, repository, digest, nearest, linkedElsewhere ? 1 : 0));
}

interface PromiseOptions {
  /** As for {@link findBlob}. If true, the other store counts the blob. */
  readonly linkedElsewhere?: boolean;
  /**
   * The organization's limits. If given, a blob that has stopped counting counts again, if there is room. Give them
   * only for a caller who may push to the repository.
   */
  readonly limits?: StoreLimits;
  /** If true, promises the blob only if anyone may read the repository. Not to be combined with `limits`. */
  readonly onlyIfPublic?: boolean;
}

/**
 * Does the same as {@link findBlob}, and in the same round trip renews the locations' leases that are due. Treats a
 * blob as not linked if it does not count for the organization and the organization has no room for it.
 */
export async function findBlobAndPromise(
  database: Database,
  repository: RepositoryName,
  digest: Digest,
  nearest: string,
  lease: LeaseTimes,
  options: PromiseOptions = {},
): Promise<BlobRows> {
  const { found } = await database.batch(promiseAndSelect(repository, digest, nearest, lease, options), {
    again: true,
  });
  return blobRows(found);
}

function promiseAndSelect(
  repository: RepositoryName,
  digest: Digest,
  nearest: string,
  lease: LeaseTimes,
  { linkedElsewhere = false, limits, onlyIfPublic = false }: PromiseOptions,
): { countAgain: BoundStatement[]; renew: BoundStatement; found: BoundStatement<Joined> } {
  const elsewhere = linkedElsewhere ? 1 : 0;
  return {
    countAgain: limits === undefined ? [] : [[COUNT_AGAIN, repository, digest, limits.blobs]],
    renew: [RENEW_LEASE, repository, digest, lease.renewBefore, lease.until, elsewhere, onlyIfPublic ? 1 : 0],
    found: [SELECT_PROMISED, repository, digest, nearest, elsewhere, lease.promise],
  };
}

function blobRows(rows: readonly Joined[]): BlobRows {
  const found = rows.flatMap((row): CheckedLocationRow[] =>
    row.key === null
      ? []
      : [{ store: row.store, key: row.key, size: row.size, lease_until: row.lease_until, damage: row.damage }],
  );
  return {
    public: rows[0]?.public === 1,
    linked: rows[0]?.linked === 1,
    promised: rows[0]?.promised ?? undefined,
    locations: found.filter(({ damage }) => damage === null),
    damaged: found.filter(({ damage }) => damage !== null),
  };
}

const SELECT_LOCATION_AND_DAMAGE = sql`
  SELECT store, key, size, lease_until, damage FROM locations WHERE digest = ?1 AND store = ?2`;

/** Returns a store's own location of a blob, damaged or not. */
export function localLocation(
  database: Database,
  digest: Digest,
  store: string,
): Promise<CheckedLocationRow | undefined> {
  return database.first<CheckedLocationRow>(SELECT_LOCATION_AND_DAMAGE, digest, store);
}

const SELECT_LINKED_AMONG = sql`
  SELECT k.digest FROM json_each(?2) AS asked CROSS JOIN links k ON k.repository = ?1 AND k.digest = asked.value
  WHERE ${isAliveLink('k')} AND ${counts('?1', 'k.digest')}`;

/**
 * Returns the digests of blobs that count and that the repository may read by this store's rows. Their bytes may be in
 * any store.
 */
export async function linkedAmong(
  database: Database,
  repository: RepositoryName,
  digests: readonly Digest[],
): Promise<Set<Digest>> {
  const rows = await database.all<{ digest: Digest }>(SELECT_LINKED_AMONG, repository, JSON.stringify(digests));
  return new Set(rows.map(({ digest }) => digest));
}

/** Does the same as {@link findBlobAndPromise}, for several blobs of one repository. */
export async function findBlobsAndPromise(
  database: Database,
  repository: RepositoryName,
  blobs: readonly { readonly digest: Digest; readonly linkedElsewhere: boolean }[],
  nearest: string,
  lease: LeaseTimes,
  limits: StoreLimits,
): Promise<BlobRows[]> {
  const promises = blobs.map(
    ({ digest, linkedElsewhere }) =>
      [digest, promiseAndSelect(repository, digest, nearest, lease, { linkedElsewhere, limits })] as const,
  );
  const byDigest = await database.batch(Object.fromEntries(promises), { again: true });
  return blobs.map(({ digest }) => blobRows(byDigest[digest]?.found ?? []));
}

/** A blob that is being committed to a store. */
export interface BlobCommit {
  readonly repository: RepositoryName;
  readonly digest: Digest;
  readonly store: string;
  readonly lease: LeaseTimes;
  readonly limits: StoreLimits;
}

/**
 * Promises the blob again, if the repository has it and it counts: renews those leases of its locations that are due.
 */
export function renewLease(blob: BlobCommit): BoundStatement {
  return [RENEW_LEASE, blob.repository, blob.digest, blob.lease.renewBefore, blob.lease.until, 0, 0];
}

/** Counts a blob of the repository against its organization again, if it had stopped counting and there is room. */
export function countAgain(blob: BlobCommit): BoundStatement {
  return [COUNT_AGAIN, blob.repository, blob.digest, blob.limits.blobs];
}
