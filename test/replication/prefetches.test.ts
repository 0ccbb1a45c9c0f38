/** The number of prefetches that run at once at a node, and the number that may wait. */
import { runInDurableObject } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { afterEach, expect, test } from 'vitest';
import type { OrganizationName, RepositoryName, Tag } from '../../src/oci/reference.ts';
import { type ReplicationQueue, queueOf } from '../../src/replication/durable-object.ts';
import { Prefetches, PREFETCHES_OF_ORGANIZATION } from '../../src/replication/prefetches.ts';
import { config, stopQueues } from '../support/queues.ts';

afterEach(stopQueues);

const ALICE = 'alice' as OrganizationName;
const BOB = 'bob' as OrganizationName;

test('prefetches run one at a time, in the order in which they were requested', async () => {
  const prefetches = new Prefetches();
  let running = 0;
  const started: number[] = [];
  const prefetch = async (i: number): Promise<number> => {
    started.push(i);
    expect(++running).toBe(1);
    await Promise.resolve();
    running--;
    if (i === 1) throw new Error('it failed');
    return i;
  };
  const outcomes = await Promise.allSettled([0, 1, 2].map((i) => prefetches.run(ALICE, () => prefetch(i))));
  expect(started).toEqual([0, 1, 2]);
  expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
});

test('an organization has eight prefetches at most, running or waiting; those of another do not count', async () => {
  const prefetches = new Prefetches();
  const { promise, resolve } = Promise.withResolvers<void>();
  const hold = async (): Promise<string> => {
    await promise;
    return 'copied';
  };
  const waiting = Array.from({ length: PREFETCHES_OF_ORGANIZATION }, () => prefetches.run(ALICE, hold));
  expect(await prefetches.run(ALICE, hold)).toBe('too many');
  const other = prefetches.run(BOB, hold);
  resolve();
  expect(await Promise.all([...waiting, other])).toEqual(Array.from({ length: 9 }, () => 'copied'));
  expect(await prefetches.run(ALICE, hold)).toBe('copied');
});

test("a node's queue refuses more than eight", async () => {
  const [{ store }] = config.nodes as [(typeof config.nodes)[number]];
  await runInDurableObject(queueOf(env, config, store), async (queue: ReplicationQueue) => {
    const absent = { kind: 'tag', tag: 'never' as Tag } as const;
    const outcomes = await Promise.all(
      Array.from({ length: 9 }, () => queue.prefetch(store, 'alice/app' as RepositoryName, absent)),
    );
    expect(outcomes).toEqual([...Array.from({ length: 8 }, () => 'unknown'), 'too many']);
  });
});
