/** A run of a queue stays below the statements that D1 allows an invocation, and the next run does the rest. */
import { runInDurableObject } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { expect, test } from 'vitest';
import { parseConfig } from '../../src/config.ts';
import type { Digest } from '../../src/oci/digest.ts';
import { queueOf, ReplicationQueue } from '../../src/replication/durable-object.ts';
import { REPOSITORY } from '../support/fixture.ts';
import { countStatements, type StatementCount } from '../support/statements.ts';

const BLOBS = 500;

test('many copies down take several runs', async () => {
  const count: StatementCount = { statements: 0 };
  const digests = Array.from({ length: BLOBS }, (_, i) => `sha256:${String(i).padStart(64, '0')}` as Digest);
  const runs: number[] = [];
  await runInDurableObject(queueOf(env, parseConfig(env), 'node1'), async (_queue: ReplicationQueue, state) => {
    const queue = new ReplicationQueue(state, countStatements(env, count));
    await queue.copyBlobsDown('node1', REPOSITORY, digests);
    while ((await state.storage.getAlarm()) !== null && runs.length < 20) {
      await state.storage.deleteAlarm();
      count.statements = 0;
      await queue.alarm();
      runs.push(count.statements);
    }
    expect((await queue.status('node1')).copiesDown).toBe(0);
    await state.storage.deleteAlarm();
  });
  expect(runs.length).toBeGreaterThan(1);
  expect(Math.max(...runs)).toBeLessThan(900);
});
