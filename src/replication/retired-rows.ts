/**
 * Makes central forget a store that no node uses any more: its locations, and its position in the change log. It works
 * in slices by digest, because locations have no index by store. A node reads the change log before it announces
 * anything, so every store with locations has a position.
 *
 * Invariants 1 and 5: if central lacks a blob itself, its row for the store's location stays while a live manifest
 * needs the blob or a client was promised it. The transaction that deletes checks this, because a manifest that relies
 * on the location may be committed until then.
 */
import type { Digest } from '../oci/digest.ts';
import { BLOB_IS_UNREFERENCED, LINKS_PER_BLOB } from '../stores/retention.ts';
import { type Database, sql, sqlOfWholeTable } from '../stores/database.ts';
import { atMost, configured } from '../stores/rows-read.ts';
import type { Store } from '../stores/store.ts';

/** The most locations, of any store, that one transaction reads. */
const ROWS_PER_SLICE = 5000;

/** Sorts after every digest. */
const END = '~';

const SELECT_SLICE_END = sql`
  SELECT digest FROM locations WHERE digest > ?1 ORDER BY digest LIMIT 1 OFFSET ${String(ROWS_PER_SLICE)}`.reading(
  atMost(2 * ROWS_PER_SLICE),
);

const IN_SLICE = (digest: string): string => `${digest} > ?2 AND ${digest} <= ?3`;

// Invariant 5: a lease on any location is a promise to keep the blob. Move the lease to central's own location.
const KEEP_PROMISES = sql`
  UPDATE locations AS central SET lease_until = (SELECT r.lease_until FROM locations r
    WHERE r.digest = central.digest AND r.store = ?1)
  WHERE ${IN_SLICE('central.digest')} AND central.store = ?4 AND EXISTS (
    SELECT 1 FROM locations r WHERE r.digest = central.digest AND r.store = ?1
      AND r.lease_until > central.lease_until)`.reading(atMost(8 * ROWS_PER_SLICE));

// Forgetting a damaged location loses nothing, because it cannot be read.
const IS_LOST_WITH_IT = `c.damage IS NULL
  AND NOT EXISTS (SELECT 1 FROM locations central
    WHERE central.digest = c.digest AND central.store = ?4 AND central.damage IS NULL)
  AND NOT (${BLOB_IS_UNREFERENCED('c.digest', '?5')})`;

const DELETE_LOCATIONS = sql<{ digest: Digest }>`
  DELETE FROM locations AS c WHERE ${IN_SLICE('c.digest')} AND c.store = ?1 AND (?6 = 1 OR NOT (${IS_LOST_WITH_IT}))
  RETURNING digest`.reading(atMost(4 * (LINKS_PER_BLOB + 4) * ROWS_PER_SLICE));
const SELECT_KEPT = sql<ForgottenSlice['kept']>`
  SELECT count(*) AS blobs, coalesce(sum(size), 0) AS bytes FROM locations WHERE ${IN_SLICE('digest')}
    AND store = ?1`.reading(atMost(2 * ROWS_PER_SLICE));

const DELETE_POSITION = sql`
  DELETE FROM change_log_positions WHERE store = ?1
    AND NOT EXISTS (SELECT 1 FROM locations WHERE ${IN_SLICE('digest')} AND store = ?1)`.reading(
  atMost(2 * ROWS_PER_SLICE),
);

const SELECT_KNOWN = sql`SELECT EXISTS (SELECT 1 FROM change_log_positions WHERE store = ?1) AS known`;
const SELECT_STORES = sqlOfWholeTable`SELECT store FROM change_log_positions ORDER BY store`.reading(configured);

/** Returns whether central knows a store of a node. */
export async function isKnownStore(central: Database, store: string): Promise<boolean> {
  return (await central.first<{ known: number }>(SELECT_KNOWN, store))?.known === 1;
}

/** Returns the names of the nodes' stores that central knows. */
export async function knownStores(central: Database): Promise<string[]> {
  return (await central.all<{ store: string }>(SELECT_STORES)).map(({ store }) => store);
}

/** The result of forgetting one slice. */
interface ForgottenSlice {
  /** The number of locations that were deleted. */
  readonly locations: number;
  /** The blobs of the slice whose locations stay, and their bytes. */
  readonly kept: { readonly blobs: number; readonly bytes: number };
  /** The start of the next slice; undefined after the last. */
  readonly end: string | undefined;
}

export interface ForgetOptions {
  /** Milliseconds since the epoch. A lease that ends later is a promise. */
  readonly now: number;
  /** Whether to forget also the locations of blobs that central lacks. */
  readonly lost: boolean;
  /** Whether the slices before this one were done lately, so that they have no new locations. */
  readonly forgetsStore: boolean;
}

/**
 * Forgets, at central, one slice of a store's locations, in one transaction. It can be repeated. The last slice also
 * forgets the store, if `forgetsStore`. If a slice keeps any locations, the caller must not go on.
 * @param after the digest after which the slice starts; '' for the first slice
 */
export async function forgetStoreSlice(
  { name, database }: Pick<Store, 'name' | 'database'>,
  store: string,
  after: string,
  { now, lost, forgetsStore }: ForgetOptions,
): Promise<ForgottenSlice> {
  const end = (await database.first<{ digest: string }>(SELECT_SLICE_END, after))?.digest;
  const until = end ?? END;
  const { gone, kept } = await database.batch({
    promises: [KEEP_PROMISES, store, after, until, name],
    gone: [DELETE_LOCATIONS, store, after, until, name, now, lost ? 1 : 0],
    kept: [SELECT_KEPT, store, after, until],
    last: end === undefined && forgetsStore ? [[DELETE_POSITION, store, after, until]] : [],
  });
  return { locations: gone.length, kept: kept[0] ?? { blobs: 0, bytes: 0 }, end };
}
