/** The limit of an upload session's chunks. */
import { OciError } from '../../oci/errors.ts';
import { type Database, sql } from '../database.ts';
import { atMost } from '../rows-read.ts';

/**
 * The most chunks of a session. Closing it reads one object for each, and a request may call R2 and D1 10,000 times.
 * The first chunk is not checked: one body that is written in several objects needs 5 GB to exceed this.
 */
export const MAX_CHUNKS = 9900;

/** SQL that holds if a session has no room for more chunks. */
export const hasTooManyChunks = (upload: string, more: string): string => `(SELECT count(*) FROM (
  SELECT 1 FROM upload_chunks WHERE upload = ${upload} LIMIT ${MAX_CHUNKS})) + ${more} > ${MAX_CHUNKS}`;
/** Rows read by a statement that looks at all chunks of a session. */
export const readsChunks = atMost(2 * MAX_CHUNKS);

const SELECT_TOO_MANY_CHUNKS = sql`SELECT 1 WHERE ${hasTooManyChunks('?1', '?2')}`.reading(readsChunks);

/** Returns the error for a session that has no room for `more` chunks; undefined if it has. */
export async function chunksExceeded(database: Database, id: string, more: number): Promise<OciError | undefined> {
  if ((await database.first(SELECT_TOO_MANY_CHUNKS, id, more)) === undefined) return undefined;
  return new OciError('TOO_MANY_CHUNKS', {
    message:
      `an upload has at most ${MAX_CHUNKS} chunks: send the rest in the PUT that closes it, ` +
      'or start it again with larger chunks',
    detail: { limit: MAX_CHUNKS },
  });
}
