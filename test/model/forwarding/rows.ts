/** The rows of a mirror's pushes, as `OutgoingState` itself changes them, in SQLite in memory. */
import { DatabaseSync, type StatementSync } from 'node:sqlite';
import { OutgoingState, type Stage } from '../../../src/mirror/outgoing-state.ts';
import type { Digest } from '../../../src/oci/digest.ts';
import type { MediaType } from '../../../src/oci/media-type.ts';
import type { RepositoryName, Tag } from '../../../src/oci/reference.ts';

const REPOSITORY = 'acme/app' as RepositoryName;
const TAG = 'v1' as Tag;

export interface Row {
  readonly id: number;
  readonly digest: Digest;
  readonly stage: Stage;
  readonly version: number;
}

export type Rows = readonly Row[];

const database = new DatabaseSync(':memory:');
const statements = new Map<string, StatementSync>();
const state = new OutgoingState({
  exec: (query: string, ...values: (string | number)[]) => {
    const isScript = query.includes(';');
    const rows = isScript ? (database.exec(query), []) : statementOf(query).all(...values);
    return { toArray: () => rows };
  },
} as unknown as SqlStorage);
const write = database.prepare(`
  INSERT INTO outgoing (id, repository, tag, digest, media_type, size, stage, version, noted_at, due_at)
    VALUES (?, '${REPOSITORY}', '${TAG}', ?, '', 1, ?, ?, 0, 0)`);
const read = database.prepare('SELECT id, digest, stage, version FROM outgoing ORDER BY id');
const results = new Map<string, Rows>();

function statementOf(query: string): StatementSync {
  const statement = statements.get(query) ?? database.prepare(query);
  statements.set(query, statement);
  return statement;
}

/**
 * Returns the rows after a call.
 * @param name of the call and its arguments: a call has the same result for the same rows, and is made once for them
 */
function after(rows: Rows, name: string, call: (state: OutgoingState) => void): Rows {
  const key = `${name} ${JSON.stringify(rows)}`;
  const known = results.get(key);
  if (known !== undefined) return known;
  database.exec('DELETE FROM outgoing');
  for (const { id, digest, stage, version } of rows) write.run(id, digest, stage, version);
  call(state);
  const found = read.all() as unknown as Rows;
  results.set(key, found);
  return found;
}

/** Returns the rows after a push was noted, whose row gets this id. */
export function noted(rows: Rows, id: number, digest: Digest): Rows {
  return after(rows, `note ${id} ${digest}`, (outgoing) => {
    database.exec(`DELETE FROM sqlite_sequence; INSERT INTO sqlite_sequence VALUES ('outgoing', ${id - 1})`);
    outgoing.note(REPOSITORY, { digest, mediaType: '' as MediaType, size: 1 }, [TAG], 0);
  });
}

export function confirmed(rows: Rows, id: number, version: number): Rows {
  return after(rows, `confirm ${id} ${version}`, (outgoing) => outgoing.confirm(id, version, 0));
}

export function passed(rows: Rows, id: number, version: number): Rows {
  return after(rows, `pass ${id} ${version}`, (outgoing) => outgoing.pass(id, version));
}

export function withdrawn(rows: Rows, id: number): Rows {
  return after(rows, `withdraw ${id}`, (outgoing) => outgoing.withdraw(id));
}

/** @param of the tag, or the digest that is deleted */
export function deleted(rows: Rows, of: 'tag' | Digest): Rows {
  const reference = of === 'tag' ? TAG : of;
  return after(rows, `delete ${of}`, (outgoing) => outgoing.dropReference(REPOSITORY, reference));
}

export function retried(rows: Rows): Rows {
  return after(rows, 'retry', (outgoing) => outgoing.retry(0));
}

export function begunAgain(rows: Rows): Rows {
  return after(rows, 'begin again', (outgoing) => outgoing.beginAgain(0));
}

export function parked(rows: Rows, id: number): Rows {
  return after(rows, `park ${id}`, (outgoing) => outgoing.park({ id }, 'refused'));
}

export function announced(rows: Rows, id: number): Rows {
  return after(rows, `announce ${id}`, (outgoing) => outgoing.announce({ id }, 0));
}

export function settled(rows: Rows, id: number): Rows {
  return after(rows, `settle ${id}`, (outgoing) => outgoing.settle({ id }));
}

export function dropped(rows: Rows, id: number): Rows {
  return after(rows, `drop ${id}`, (outgoing) => outgoing.drop({ id }));
}
