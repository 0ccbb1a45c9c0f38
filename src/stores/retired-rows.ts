/**
 * Forgetting, at central, what a store had that is no node's any more: its locations, the copies that were due from it, and
 * how far it had followed. In slices by digest, since locations have no index by store.
 */
import { type BoundStatement, sql } from './database.ts';
import type { Store } from './store.ts';

/** Locations, of any store, that one transaction walks over. */
const ROWS_PER_SLICE = 5000;

/** After every digest. */
const END = '~';

const SELECT_SLICE_END = sql`
  SELECT digest FROM locations WHERE digest > ?1 ORDER BY digest LIMIT 1 OFFSET ${String(ROWS_PER_SLICE)}`;

const IN_SLICE = (digest: string): string => `${digest} > ?2 AND ${digest} <= ?3`;

// Invariant 5: a lease on any location is a promise to keep the blob. What central has itself keeps it from now on.
const KEEP_PROMISES = sql`
  UPDATE locations AS own SET lease_until = (SELECT r.lease_until FROM locations r WHERE r.digest = own.digest AND r.store = ?1)
  WHERE ${IN_SLICE('own.digest')} AND own.store = ?4 AND EXISTS (
    SELECT 1 FROM locations r WHERE r.digest = own.digest AND r.store = ?1 AND r.lease_until > own.lease_until)`;

const DELETE_LOCATIONS = sql`DELETE FROM locations WHERE ${IN_SLICE('digest')} AND store = ?1 RETURNING digest`;
const DELETE_COPIES = sql`DELETE FROM copies WHERE store = ?1 AND ${IN_SLICE('digest')}`;
const DELETE_SUM = sql`DELETE FROM stored_bytes WHERE store = ?1`;
const DELETE_FOLLOWER = sql`DELETE FROM followers WHERE store = ?1`;

/** What a slice has done. */
export interface ForgottenSlice {
  readonly locations: number;
  /** Where the next slice starts; undefined after the last. */
  readonly end: string | undefined;
}

/** At central: one slice, in one transaction. It can be repeated. @param after a digest; '' to start */
export async function forgetSlice(
  { name, database }: Pick<Store, 'name' | 'database'>,
  store: string,
  after: string,
): Promise<ForgottenSlice> {
  const end = (await database.first<{ digest: string }>(SELECT_SLICE_END, after))?.digest;
  const until = end ?? END;
  const last: BoundStatement[] = [
    [DELETE_SUM, store],
    [DELETE_FOLLOWER, store],
  ];
  const [, gone] = await database.batch<[object, object, ...object[]]>([
    [KEEP_PROMISES, store, after, until, name],
    [DELETE_LOCATIONS, store, after, until],
    [DELETE_COPIES, store, after, until],
    ...(end === undefined ? last : []),
  ]);
  return { locations: gone.length, end };
}
