/** The rows that the Durable Object of a queue writes: they cost as much as D1's. */
import { runDurableObjectAlarm, runInDurableObject } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { queueOf, type ReplicationQueue } from '../../src/replication/durable-object.ts';
import { config, eventually, NODE1, queue, startQueues, stopQueues } from '../support/queues.ts';
import { pushTo, settled } from '../support/replicated-image.ts';

beforeEach(startQueues);
afterEach(stopQueues);

/** Counts what the storage writes: a statement's rows, and one for each alarm that is set and each key. */
async function countWrites(): Promise<() => number> {
  let written = 0;
  await runInDurableObject(queueOf(env, config, 'node1'), (_queue: ReplicationQueue, { storage }) => {
    const { sql } = storage;
    const exec = sql.exec.bind(sql);
    sql.exec = ((...args: Parameters<typeof exec>) => {
      const cursor = exec(...args);
      const rows = cursor.toArray();
      written += cursor.rowsWritten;
      return { toArray: () => rows, one: () => rows[0] };
    }) as typeof sql.exec;
    for (const name of ['put', 'setAlarm'] as const) {
      const call = storage[name].bind(storage) as (...args: unknown[]) => Promise<void>;
      storage[name] = (...args: unknown[]) => (written++, call(...args));
    }
  });
  return () => written;
}

test('a queue that announces an image and copies its blobs sets one alarm and writes one row', async () => {
  const stub = queueOf(env, config, 'node1');
  while (await runDurableObjectAlarm(stub));
  const written = await countWrites();
  await pushTo(NODE1, 1);
  expect((await settled()).body).toMatchObject({ state: 'settled', blobs: { copied: 2, total: 2 } });
  // The figures are written when the alarm ends, which is after the image has settled.
  await eventually(
    async () => written(),
    (rows) => rows >= 2,
  );
  expect(await runDurableObjectAlarm(stub)).toBe(false);
  expect(written()).toBe(2);
  // Reading the figures writes those that have changed since, which are none.
  expect((await queue('GET')).status).toBe(200);
  expect(written()).toBe(2);
});
