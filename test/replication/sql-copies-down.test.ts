/** The cost of reading the list of copies down, and the limit of its length. */
import { runInDurableObject } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Digest } from '../../src/oci/digest.ts';
import type { RepositoryName } from '../../src/oci/reference.ts';
import { type ReplicationQueue, queueOf } from '../../src/replication/durable-object.ts';
import { MOST_COPIES_DOWN } from '../../src/replication/queue-state.ts';
import { SqlQueueState } from '../../src/replication/sql-queue-state.ts';
import { putImage } from '../support/content.ts';
import { api, config, NODE1, startQueues, stopQueues } from '../support/queues.ts';

const ALICE = 'alice/app' as RepositoryName;
const BOB = 'bob/app' as RepositoryName;
const HALF = MOST_COPIES_DOWN / 2;

beforeEach(startQueues);
afterEach(stopQueues);

const digestNo = (i: number): Digest => `sha256:${i.toString(10).padStart(64, '0')}` as Digest;

function at(store: string, work: (sql: SqlStorage) => void): Promise<void> {
  return runInDurableObject(queueOf(env, config, store), (_queue: ReplicationQueue, { storage }) => work(storage.sql));
}

/** Adds copies down that nobody asked for. */
function fill(sql: SqlStorage, repository: RepositoryName, count: number): void {
  sql.exec(
    `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
     INSERT INTO copies_down (repository, digest) SELECT ?, 'sha256:' || printf('%064d', i) FROM n`,
    count,
    repository,
  );
}

/** Returns a storage that adds up the rows that its statements read. */
function counting(sql: SqlStorage, read: { rows: number }): SqlStorage {
  const exec = (query: string, ...values: (string | number)[]): { toArray: () => unknown[] } => {
    const cursor = sql.exec(query, ...values);
    const rows = cursor.toArray();
    read.rows += cursor.rowsRead;
    return { toArray: () => rows };
  };
  return { exec } as unknown as SqlStorage;
}

test('a look reads about as much as it returns, however long the list is', async () => {
  await at('node1', (sql) => {
    fill(sql, ALICE, HALF);
    fill(sql, BOB, 10);
    const read = { rows: 0 };
    const state = new SqlQueueState(counting(sql, read));
    read.rows = 0;
    const due = state.dueCopiesDown(1000, '', 100);
    expect([due.length, due.filter(({ repository }) => repository === BOB).length]).toEqual([100, 10]);
    expect(read.rows).toBeLessThan(1000);
  });
});

test('an organization has at most as many copies down as stay free', async () => {
  await at('node1', (sql) => {
    fill(sql, ALICE, HALF - 1);
    const state = new SqlQueueState(sql);
    const add = (repository: RepositoryName, i: number): boolean =>
      state.addCopyDown({ repository, digest: digestNo(i) });
    expect([HALF, HALF + 1, 1].map((i) => add(ALICE, i))).toEqual([true, false, true]);
    expect([1, 2].map((i) => add(BOB, i))).toEqual([true, true]);
    expect(state.copyDownCount()).toBe(HALF + 2);
    // Bob's copies are not free any more. A removal counts once.
    const remove = (repository: RepositoryName, i: number): void =>
      state.removeCopyDown({ repository, digest: digestNo(i) });
    for (const i of [1, 1]) remove(ALICE, i);
    expect(add(ALICE, 1)).toBe(false);
    for (const i of [1, 2]) remove(BOB, i);
    expect([1, HALF + 1].map((i) => add(ALICE, i))).toEqual([true, false]);
  });
});

test('a prefetch leaves blobs without room to pulls', async () => {
  const image = await putImage('alice/app', 1, ['latest']);
  await at('node2', (sql) => {
    fill(sql, ALICE, HALF);
    sql.exec("INSERT INTO jobs SELECT 'copy down ' || repository || ' ' || digest, 12, 0, 1, '' FROM copies_down");
  });
  const path = 'organizations/alice/repositories/app/images/latest/prefetch';
  expect(await api('POST', path, { as: 'alice', host: NODE1, body: { node: 'node2' } })).toEqual({
    status: 200,
    body: { node: 'node2', digest: image.digest, blobs: { copied: 0, total: 0 }, done: true, complete: false },
  });
});
