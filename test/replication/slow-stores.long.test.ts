/** Stores that do not answer: a page of the console waits a second for them, and says so. */
import { env } from 'cloudflare:workers';
import { beforeEach, expect, test } from 'vitest';
import { parseConfig } from '../../src/config.ts';
import { maintenanceForPage } from '../../src/maintenance/report.ts';
import { Replication } from '../../src/replication/queue-operations.ts';
import { REPOSITORY } from '../support/away.ts';
import { addUsers } from '../support/client.ts';
import { faulty } from '../support/faults.ts';
import { ThreeHosts } from '../support/three-hosts.ts';

const never = new Promise<never>(() => undefined);
const config = parseConfig(env);

beforeEach(addUsers);

/** Requires that it takes a second, not the time that a store has for other requests. */
async function inASecond<Answer>(ask: () => Promise<Answer>): Promise<Answer> {
  const start = Date.now();
  const answer = await ask();
  const took = Date.now() - start;
  expect(took).toBeGreaterThanOrEqual(990);
  expect(took).toBeLessThan(5000);
  return answer;
}

test('the states of tags', async () => {
  const hosts = await ThreeHosts.open();
  await hosts.push('node2', REPOSITORY, 1, 'latest');
  await hosts.drain();
  hosts.stall('node1 D1');
  const path = '/api/organizations/alice/repositories/app/tags';
  const { status, bytes } = await inASecond(() => hosts.call('central', 'GET', path));
  expect(status).toBe(200);
  const page = JSON.parse(new TextDecoder().decode(bytes)) as { tags: { states: object[] }[]; stores: object[] };
  expect(page.tags[0]?.states).toEqual([
    { store: 'central', state: 'settled' },
    { store: 'node1', state: 'unknown' },
    { store: 'node2', state: 'settled' },
  ]);
  expect(page.stores).toContainEqual({ store: 'node1', answers: false });
});

test('maintenance', async () => {
  const stalled = faulty(env, ({ store }) => (store === 'node1' ? { until: never } : 'ok'));
  const stores = await inASecond(() => maintenanceForPage(config, stalled));
  expect(stores.map(({ store, known }) => [store, known !== undefined])).toEqual([
    ['central', true],
    ['node1', false],
    ['node2', true],
  ]);
});

test('queues', async () => {
  const REPLICATION_QUEUE = { idFromName: (name: string) => name, get: () => ({ status: () => never }) };
  const reports = await inASecond(() => new Replication(config, { ...env, REPLICATION_QUEUE }).glance());
  const none = { blobs: 0, bytes: 0, isWhole: true };
  expect(reports.map(({ store, status, copiesUp }) => ({ store, status, copiesUp }))).toEqual([
    { store: 'node1', status: undefined, copiesUp: none },
    { store: 'node2', status: undefined, copiesUp: none },
  ]);
});

test('queues, by the rows of central', async () => {
  const stalled = faulty(env, ({ store }) => (store === 'central' ? { until: never } : 'ok'));
  const reports = await inASecond(() => new Replication(config, stalled).glance());
  expect(reports.map(({ copiesUp, changeLog }) => [copiesUp, changeLog])).toEqual([
    [undefined, []],
    [undefined, []],
  ]);
});
