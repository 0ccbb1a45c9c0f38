/** Maintenance, as operators see it over HTTP. */
import { env } from 'cloudflare:workers';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { countMaintenance, saveTask } from '../../../src/maintenance/task-rows.ts';
import { Database } from '../../../src/stores/database.ts';
import { call } from '../../support/client.ts';
import { STOPPED_TASK } from '../../support/maintenance.ts';
import { api, startQueues, stopQueues } from '../../support/queues.ts';
import { workerConfigured } from '../../support/worker-with.ts';

beforeEach(startQueues);
afterEach(stopQueues);

test('lists maintenance tasks: when they ran and will run, what they did, what stopped them', async () => {
  await new Database(env.DB_NODE1!).batch([
    saveTask(STOPPED_TASK),
    // A task of an earlier version of Berth, which the list omits.
    saveTask({ ...STOPPED_TASK, task: 'vacuum' }),
    countMaintenance('collected_bytes', 5),
    countMaintenance('collected_bytes', 6),
  ]);
  const { status, body } = await api('GET', 'maintenance', { as: 'admin' });
  expect(status).toBe(200);
  expect(body).toEqual({
    collects: true,
    scrubs: true,
    stores: [
      { store: 'central', answers: true, tasks: [], counters: {} },
      {
        store: 'node1',
        answers: true,
        tasks: [
          {
            task: 'collect',
            last_slice_at: '2026-01-02T03:04:05.000Z',
            next_at: '2026-01-02T03:05:05.000Z',
            round_started_at: '2026-01-02T03:04:04.000Z',
            round_ended_at: null,
            slices: 3,
            stopped: 'node2 does not answer',
          },
        ],
        counters: { collected_bytes: 11 },
      },
      { store: 'node2', answers: true, tasks: [], counters: {} },
    ],
    damaged: [],
  });
  const metrics = await (await call('GET', '/metrics', { as: 'admin' })).text();
  expect(metrics).toContain('berth_maintenance_stopped{store="node1",task="collect"} 1\n');
  expect(metrics).toContain('berth_maintenance_slices{store="node1",task="collect"} 3\n');
  expect(metrics).toContain('berth_collected_bytes_total{store="node1"} 11\n');
});

test('lists the damaged blobs of all stores, and those that no store has sound', async () => {
  const [twice, once, gone] = ['1', '2', '3'].map((each) => `sha256:${each.repeat(64)}`);
  const location = 'INSERT INTO locations (digest, store, key, size, created_at, lease_until, damage) VALUES';
  await env.DB_CENTRAL.batch(
    [
      `${location} ('${twice}', 'central', 'a', 1, 0, 0, 'missing'), ('${twice}', 'node1', 'b', 1, 0, 0, NULL)`,
      `${location} ('${once}', 'node2', 'c', 1, 0, 0, 'wrong bytes'), ('${gone}', 'central', 'd', 1, 0, 0, 'missing')`,
      `INSERT INTO links (repository, digest, created_at) VALUES ('alice/app', '${twice}', 1), ('alice/app', '${once}', 1)`,
    ].map((statement) => env.DB_CENTRAL.prepare(statement)),
  );
  const { body } = await api('GET', 'maintenance', { as: 'admin' });
  expect((body as { damaged: unknown }).damaged).toEqual([
    { digest: twice, store: 'central', problem: 'missing', lost: false, repository: 'alice/app' },
    { digest: once, store: 'node2', problem: 'wrong bytes', lost: true, repository: 'alice/app' },
    { digest: gone, store: 'central', problem: 'missing', lost: true, repository: null },
  ]);
});

test('says whether collection is on', async () => {
  const fetcher = workerConfigured({ collect: false });
  for (const [collects, as] of [
    [true, { as: 'admin' }],
    [false, { as: 'admin', fetcher }],
  ] as const) {
    expect(await (await call('GET', '/api/maintenance', as)).json()).toMatchObject({ collects });
    expect(await (await call('GET', '/metrics', as)).text()).toContain(
      `\nberth_collection_enabled ${collects ? 1 : 0}\n`,
    );
  }
});

test('says whether the scrub is on', async () => {
  const fetcher = workerConfigured({ scrub_gb_per_day: 0 });
  for (const [scrubs, as] of [
    [true, { as: 'admin' }],
    [false, { as: 'admin', fetcher }],
  ] as const) {
    expect(await (await call('GET', '/api/maintenance', as)).json()).toMatchObject({ scrubs });
    expect(await (await call('GET', '/metrics', as)).text()).toContain(`\nberth_scrub_enabled ${scrubs ? 1 : 0}\n`);
  }
});
