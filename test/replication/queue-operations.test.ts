/** Questions to a queue whose Durable Object fails, or says nothing. */
import { env } from 'cloudflare:workers';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { parseConfig } from '../../src/config.ts';
import { Replication } from '../../src/replication/queue-operations.ts';

beforeEach(() => {
  vi.useFakeTimers();
});

afterEach(() => {
  vi.useRealTimers();
});

test.each([
  ['fails', () => Promise.reject(new Error('Network connection lost.'))],
  ['is silent', () => new Promise<never>(() => undefined)],
])('the hours and the parked jobs of a queue are UNAVAILABLE if it %s', async (_, answer) => {
  const stub = { hours: answer, parkedJobs: answer };
  const REPLICATION_QUEUE = { idFromName: (name: string) => name, get: () => stub };
  const replication = new Replication(parseConfig(env), { ...env, REPLICATION_QUEUE });
  for (const ask of [() => replication.series('node1', 24), () => replication.parked('node1', '', 10)]) {
    const refused = expect(ask()).rejects.toMatchObject({ kind: 'UNAVAILABLE' });
    await vi.advanceTimersByTimeAsync(5000);
    await refused;
  }
});
