/** Snapshots of everything that the registry stores, to show that a request changed nothing. */
import { env } from 'cloudflare:workers';
import { expect } from 'vitest';
import { objectKeys, rowsOf } from '../../support/fixture.ts';

/**
 * Columns with the time of last use, which successful requests write after the response, and the numbers of parts,
 * which a request reserves before it is known to succeed.
 */
const NOTES: ReadonlySet<string> = new Set(['last_pull', 'last_used_at', 'next_part']);

/** Tables that a push writes. The tables of users and organizations are not cleared. */
const CONTENT = [
  'repositories',
  'manifests',
  'manifest_contents',
  'manifest_references',
  'tags',
  'tag_history',
  'outbox',
  'locations',
  'links',
  'uploads',
  'upload_chunks',
];
const MANIFESTS = CONTENT.slice(0, 7);

interface State {
  /** All rows, without the times of last use, and the keys of all objects. */
  readonly text: string;
  /** Whether all deletions after responses are done: every object belongs to a blob or to an open session. */
  readonly isSettled: boolean;
}

/**
 * Rows that refused requests write: refused logins are counted, and a session is recorded before the first part of its
 * multipart upload.
 */
const WITHOUT: Readonly<Record<string, string>> = {
  audit: " WHERE action <> 'refuse login'",
  uploads: " WHERE state <> 'open' OR size > 0 OR multipart IS NULL",
};

let query: Promise<string> | undefined;

/** Composes one statement for all tables, because thousands of snapshots are taken. */
async function composeQuery(): Promise<string> {
  const columns = await rowsOf<{ table_name: string; column_name: string }>(
    `SELECT m.name AS table_name, c.name AS column_name FROM sqlite_master m JOIN pragma_table_info(m.name) c
     WHERE m.type = 'table' AND m.name NOT GLOB '_cf*' AND m.name NOT GLOB 'd1_*' AND m.name NOT GLOB 'sqlite_*'`,
  );
  const tables = Map.groupBy(columns, ({ table_name: name }) => name);
  const parts = [...tables].map(([name, of]) => {
    const kept = of.map(({ column_name: column }) => column).filter((column) => !NOTES.has(column));
    return `'${name}', (SELECT json_group_array(json_array(${kept.join(', ')})) FROM ${name}${WITHOUT[name] ?? ''})`;
  });
  return `SELECT json_object(${parts.join(', ')}) AS rows,
    (SELECT json_group_array(key) FROM locations) AS blobs,
    (SELECT json_group_array(c.key) FROM (SELECT id, key FROM uploads UNION ALL SELECT upload, key FROM upload_chunks) c
      JOIN uploads u ON u.id = c.id AND u.state = 'open' WHERE c.key IS NOT NULL) AS chunks,
    (SELECT json_group_array(key) FROM uploads WHERE state = 'open' AND multipart IS NOT NULL) AS parts,
    (SELECT count(*) FROM upload_chunks c WHERE NOT EXISTS (SELECT 1 FROM uploads u WHERE u.id = c.upload
      AND u.state = 'open')) + (SELECT count(*) FROM uploads WHERE leftover = 1
      OR state = 'cancelled' AND key IS NOT NULL) AS ended`;
}

/** The row of the query. The texts are JSON. */
interface Found {
  readonly rows: string;
  readonly blobs: string;
  readonly chunks: string;
  /** The keys of multipart uploads that may be complete. */
  readonly parts: string;
  /** The number of rows of sessions that have ended and whose objects are not deleted yet. */
  readonly ended: number;
}

async function stateNow(): Promise<State> {
  query ??= composeQuery();
  const read = query.then((text) => rowsOf<Found>(text));
  const [[found], keys] = await Promise.all([read, objectKeys()]);
  if (found === undefined) throw new Error('the query must return one row');
  const known = new Set([...(JSON.parse(found.blobs) as string[]), ...(JSON.parse(found.chunks) as string[])]);
  // A refused request may complete a multipart upload.
  const parts = new Set(JSON.parse(found.parts) as string[]);
  return {
    text: JSON.stringify([found.rows, keys.filter((key) => !parts.has(key))]),
    isSettled: found.ended === 0 && keys.every((key) => known.has(key)),
  };
}

/** Returns the state once all deletions after responses are done. */
export async function settledState(): Promise<string> {
  const state = await stateOnce(({ isSettled }) => isSettled);
  expect(state.isSettled, 'some objects belong to nothing').toBe(true);
  return state.text;
}

/** Fails unless the state is unchanged, or becomes so once temporary writes are deleted. */
export async function expectUnchanged(before: string, what: unknown): Promise<void> {
  const { text } = await stateOnce((state) => state.text === before);
  if (text === before) return;
  expect(JSON.parse(text), `${JSON.stringify(what)} has changed the state`).toEqual(JSON.parse(before));
}

/** Work after a response takes milliseconds. */
const PATIENCE_MILLISECONDS = 5000;

async function stateOnce(reached: (state: State) => boolean): Promise<State> {
  const end = Date.now() + PATIENCE_MILLISECONDS;
  let state = await stateNow();
  while (!reached(state) && Date.now() < end) {
    await scheduler.wait(1);
    state = await stateNow();
  }
  return state;
}

/** Deletes all content from the store. */
export async function clearContent(): Promise<void> {
  const uploads = await rowsOf<{ key: string; multipart: string }>(
    'SELECT key, multipart FROM uploads WHERE multipart IS NOT NULL',
  );
  // A complete upload can't be aborted. Its object is deleted below.
  const abort = ({ key, multipart }: (typeof uploads)[number]): Promise<void> =>
    env.BLOBS_CENTRAL.resumeMultipartUpload(key, multipart)
      .abort()
      .catch(() => undefined);
  await Promise.all(uploads.map(abort));
  await clear(CONTENT);
  for (;;) {
    const keys = await objectKeys();
    if (keys.length === 0) return;
    await env.BLOBS_CENTRAL.delete(keys.slice(0, 1000));
  }
}

/** Deletes the manifests and tags from the store; blobs stay. */
export async function clearManifests(): Promise<void> {
  await clear(MANIFESTS);
}

async function clear(tables: readonly string[]): Promise<void> {
  await env.DB_CENTRAL.batch(tables.map((table) => env.DB_CENTRAL.prepare(`DELETE FROM ${table}`)));
}
