/**
 * A node's bytes are deleted only after central has released them, in three steps:
 *
 * 1. The node marks rows `releasing`, with a token.
 * 2. Central, in one transaction, decides which bytes the node may delete, and forgets the node's locations of them.
 * 3. The node removes the released rows that still have the mark.
 *
 * Invariant 5: a HEAD from a caller who may push, an upload, a mount, or a manifest that needs the row clears its mark.
 * An earlier release is then void. Central releases a blob for collection under every condition of its own collection.
 * It releases a blob for eviction if it has its own copy, whose lease it renews to 2 g: that copy then keeps the node's
 * promise to a client.
 */
import type { Digest } from '../../oci/digest.ts';
import { BLOB_IS_UNREFERENCED, isReferenced, perBlob } from '../../stores/retention.ts';
import { type Database, sql } from '../../stores/database.ts';
import { forgetNamedOrphans } from '../integrity/orphan-rows.ts';

const NODE_MAY_RELEASE = (now: string): string =>
  `l.lease_until <= CAST(${now} AS INTEGER) AND NOT ${isReferenced('l.digest')}`;

const MARK = sql`
  UPDATE locations AS l SET releasing = ?3 WHERE l.digest IN (SELECT value FROM json_each(?1)) AND l.store = ?2
    AND ${NODE_MAY_RELEASE('?4')} RETURNING digest`.reading(perBlob);

/** Marks those of a node's rows that nothing at the node needs, and returns their digests. */
export async function markReleasing(
  node: { readonly name: string; readonly database: Database },
  digests: readonly Digest[],
  token: string,
  now: number,
): Promise<Digest[]> {
  const rows = await node.database.all<{ digest: Digest }>(MARK, JSON.stringify(digests), node.name, token, now);
  return rows.map(({ digest }) => digest);
}

// ?1: digests. ?2: the node's store. ?3: now. ?4: central's store. ?5: 1 if collecting is allowed. ?6: the new lease.
const MAY_BE_COLLECTED = `(?5 = 1 AND ${BLOB_IS_UNREFERENCED('asked.value', '?3')})`;

const SELECT_COLLECTABLE = sql<{ digest: Digest }>`
  SELECT asked.value AS digest FROM json_each(?1) AS asked WHERE ?5 = 1
    AND ${BLOB_IS_UNREFERENCED('asked.value', '?3')}`.reading(perBlob);
const RENEW_CENTRAL_LEASES = sql<{ digest: Digest }>`
  UPDATE locations SET lease_until = max(lease_until, CAST(?6 AS INTEGER))
  WHERE store = ?4 AND damage IS NULL AND digest IN (SELECT asked.value FROM json_each(?1) AS asked
    WHERE NOT ${MAY_BE_COLLECTED})
  RETURNING digest`.reading(perBlob);
const FORGET_LOCATIONS = sql`
  DELETE FROM locations WHERE store = ?2 AND digest IN (
    SELECT asked.value FROM json_each(?1) AS asked WHERE ${MAY_BE_COLLECTED}
      OR EXISTS (SELECT 1 FROM locations c WHERE c.digest = asked.value AND c.store = ?4
        AND c.damage IS NULL))`.reading(perBlob);

/**
 * Decides at central, in one transaction, which of its bytes a node may delete, and returns their digests.
 * @param mayCollect whether every node's oldest outbox entry is young enough; if not, only blobs that central has its
 *   own copy of are released
 * @param now milliseconds since the epoch
 * @param lease the new end of central's leases, in milliseconds since the epoch
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
    evicted: [RENEW_CENTRAL_LEASES, ...parameters, lease],
    locations: [FORGET_LOCATIONS, ...parameters],
  });
  return [...collected, ...evicted].map(({ digest }) => digest);
}

const IS_RELEASED = (now: string): string => `l.releasing = ?3 AND ${NODE_MAY_RELEASE(now)}`;

const QUEUE_OBJECTS = sql`
  INSERT INTO delete_queue (delete_after, key, size)
  SELECT CAST(?5 AS INTEGER), l.key, l.size FROM json_each(?1) AS released
  CROSS JOIN locations l ON l.digest = released.value AND l.store = ?2 WHERE ${IS_RELEASED('?4')}`.reading(perBlob);
const DELETE_LOCATIONS = sql<RemovedBlob>`
  DELETE FROM locations AS l
  WHERE l.digest IN (SELECT value FROM json_each(?1)) AND l.store = ?2 AND ${IS_RELEASED('?4')}
  RETURNING digest, size`.reading(perBlob);
const CLEAR_MARKS = sql`
  UPDATE locations SET releasing = NULL WHERE digest IN (SELECT value FROM json_each(?1)) AND store = ?2
    AND releasing = ?3`;

export interface RemovedBlob {
  readonly digest: Digest;
  /** Bytes. */
  readonly size: number;
}

/**
 * Removes at the node the rows of released blobs that still have the token, and clears the other marks.
 * @param released those of the marked blobs that central released
 * @param now milliseconds since the epoch
 * @param deleteAfter when their objects may be deleted, in milliseconds since the epoch
 */
export async function removeReleased(
  node: { readonly name: string; readonly database: Database },
  marked: readonly Digest[],
  released: readonly Digest[],
  token: string,
  now: number,
  deleteAfter: number,
): Promise<RemovedBlob[]> {
  const list = JSON.stringify(released);
  const { removed } = await node.database.batch({
    orphans: forgetNamedOrphans(released, node.name),
    queue: [QUEUE_OBJECTS, list, node.name, token, now, deleteAfter],
    removed: [DELETE_LOCATIONS, list, node.name, token, now],
    marks: [CLEAR_MARKS, JSON.stringify(marked), node.name, token],
  });
  return removed;
}
