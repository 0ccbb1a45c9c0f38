/**
 * The delete queue: keys of objects whose locations are removed. The transaction that removes a location queues its
 * key, and the key leaves the queue once the object is deleted. So a run that is killed in between leaks nothing, and
 * no object is deleted before its row.
 */
import { type BoundStatement, type Database, sql } from '../../stores/database.ts';
import { paged } from '../../stores/rows-read.ts';

interface QueuedObject {
  readonly delete_after: number;
  readonly key: string;
  /** Bytes. */
  readonly size: number;
}

const SELECT_DUE = sql`
  SELECT delete_after, key, size FROM delete_queue WHERE delete_after <= CAST(?1 AS INTEGER)
  ORDER BY delete_after, key LIMIT CAST(?2 AS INTEGER)`.reading(paged(2));

/** Returns the objects that are due by `now`, in milliseconds since the epoch. */
export function dueObjects(database: Database, now: number, limit: number): Promise<QueuedObject[]> {
  return database.all<QueuedObject>(SELECT_DUE, now, limit);
}

const FORGET = sql<Pick<QueuedObject, 'size'>>`
  DELETE FROM delete_queue WHERE (delete_after, key) IN (
    SELECT gone.value ->> 'delete_after', gone.value ->> 'key' FROM json_each(?1) AS gone)
  RETURNING size`;

/** Removes keys from the queue. Returns the sizes of those still there: another run may have removed some. */
export function forgetQueuedObjects(gone: readonly QueuedObject[]): BoundStatement<Pick<QueuedObject, 'size'>> {
  return [FORGET, JSON.stringify(gone.map(({ delete_after, key }) => ({ delete_after, key })))];
}
