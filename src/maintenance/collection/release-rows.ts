/**
 * A node's bytes go only with central's release, which is three steps:
 *
 * 1. at the node, rows are marked `releasing`, with a token;
 * 2. at central, one transaction releases, and forgets the node's locations;
 * 3. at the node, the rows go that still have the mark.
 *
 * Invariant 5: a HEAD by who may push, an upload, a mount and a manifest that needs the row clear its mark, so a
 * release that was given before is worth nothing after it. Central releases collect under every condition of its own
 * collection; or to evict, where it has the bytes itself, whose lease it renews to 2 g: what the node has promised to a
 * client is then kept there.
 */
import type { Digest } from '../../oci/digest.ts';
import { BLOB_IS_UNREFERENCED, isReferenced, perBlob } from '../../stores/retention.ts';
import { forgetCopiesUp } from './collection-rows.ts';
import { type Database, sql } from '../../stores/database.ts';
import { forgetNamedOrphans } from '../integrity/orphan-rows.ts';

const MAY_LEAVE = (now: string): string =>
  `l.lease_until <= CAST(${now} AS INTEGER) AND NOT ${isReferenced('l.digest')}`;

const MARK = sql`
  UPDATE locations AS l SET releasing = ?3 WHERE l.digest IN (SELECT value FROM json_each(?1)) AND l.store = ?2
    AND ${MAY_LEAVE('?4')} RETURNING digest`.reading(perBlob);

/** At a node: marks those of its rows that nothing there needs. Answers which. */
export async function markReleasing(
  node: { readonly name: string; readonly database: Database },
  digests: readonly Digest[],
  token: string,
  now: number,
): Promise<Digest[]> {
  const rows = await node.database.all<{ digest: Digest }>(MARK, JSON.stringify(digests), node.name, token, now);
  return rows.map(({ digest }) => digest);
}

// ?1 digests, ?2 the node's store, ?3 now, ?4 central's store, ?5 whether collecting is allowed, ?6 the renewed lease.
const MAY_BE_COLLECTED = `(?5 = 1 AND ${BLOB_IS_UNREFERENCED('asked.value', '?3')})`;

const SELECT_COLLECTABLE = sql<{ digest: Digest }>`
  SELECT asked.value AS digest FROM json_each(?1) AS asked WHERE ?5 = 1
    AND ${BLOB_IS_UNREFERENCED('asked.value', '?3')}`.reading(perBlob);
const RENEW_OWN = sql<{ digest: Digest }>`
  UPDATE locations SET lease_until = max(lease_until, CAST(?6 AS INTEGER))
  WHERE store = ?4 AND damage IS NULL AND digest IN (SELECT asked.value FROM json_each(?1) AS asked
    WHERE NOT ${MAY_BE_COLLECTED})
  RETURNING digest`.reading(perBlob);
const FORGET_LOCATIONS = sql`
  DELETE FROM locations WHERE store = ?2 AND digest IN (
    SELECT asked.value FROM json_each(?1) AS asked WHERE ${MAY_BE_COLLECTED}
      OR EXISTS (SELECT 1 FROM locations own WHERE own.digest = asked.value AND own.store = ?4
        AND own.damage IS NULL))`.reading(perBlob);

/**
 * At central, one transaction: which of a node's bytes may go.
 * @param mayCollect whether every node's oldest outbox entry is young enough; otherwise only what central has itself
 *   may go
 * @param lease what central's own leases are renewed to, in milliseconds since the epoch, as `now`
 */
export async function release(
  central: { readonly name: string; readonly database: Database },
  store: string,
  digests: readonly Digest[],
  mayCollect: boolean,
  now: number,
  lease: number,
): Promise<Digest[]> {
  const asked = JSON.stringify(digests);
  const parameters = [asked, store, now, central.name, mayCollect ? 1 : 0] as const;
  const { collected, evicted } = await central.database.batch({
    collected: [SELECT_COLLECTABLE, ...parameters],
    evicted: [RENEW_OWN, ...parameters, lease],
    locations: [FORGET_LOCATIONS, ...parameters],
    copiesUp: forgetCopiesUp(digests.map((digest) => ({ digest, store }))),
  });
  return [...collected, ...evicted].map(({ digest }) => digest);
}

const IS_GIVEN = (now: string): string => `l.releasing = ?3 AND ${MAY_LEAVE(now)}`;

const QUEUE_OBJECTS = sql`
  INSERT INTO delete_queue (delete_after, key, size)
  SELECT CAST(?5 AS INTEGER), l.key, l.size FROM json_each(?1) AS given
  CROSS JOIN locations l ON l.digest = given.value AND l.store = ?2 WHERE ${IS_GIVEN('?4')}`.reading(perBlob);
const DELETE_LOCATIONS = sql<Left>`
  DELETE FROM locations AS l WHERE l.digest IN (SELECT value FROM json_each(?1)) AND l.store = ?2 AND ${IS_GIVEN('?4')}
  RETURNING digest, size`.reading(perBlob);
const CLEAR_MARKS = sql`
  UPDATE locations SET releasing = NULL WHERE digest IN (SELECT value FROM json_each(?1)) AND store = ?2
    AND releasing = ?3`;

export interface Left {
  readonly digest: Digest;
  /** Bytes. */
  readonly size: number;
}

/**
 * At the node: the rows go for which release was given, if they still have the token that it was given for. The other
 * marks go.
 * @param given of those that were marked
 * @param deleteAfter when their objects go, in milliseconds since the epoch, as `now`
 */
export async function leave(
  node: { readonly name: string; readonly database: Database },
  marked: readonly Digest[],
  given: readonly Digest[],
  token: string,
  now: number,
  deleteAfter: number,
): Promise<Left[]> {
  const list = JSON.stringify(given);
  const { left } = await node.database.batch({
    orphans: forgetNamedOrphans(given, node.name),
    queue: [QUEUE_OBJECTS, list, node.name, token, now, deleteAfter],
    left: [DELETE_LOCATIONS, list, node.name, token, now],
    marks: [CLEAR_MARKS, JSON.stringify(marked), node.name, token],
  });
  return left;
}
