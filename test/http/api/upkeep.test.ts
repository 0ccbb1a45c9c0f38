/** What operators see of the cron trigger's work, and the audit log; over HTTP. */
import { createExecutionContext, waitOnExecutionContext } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createApp } from '../../../src/app.ts';
import { parseConfig } from '../../../src/config.ts';
import { maintain } from '../../../src/gc/maintenance.ts';
import { audit, BERTH_ITSELF } from '../../../src/stores/audit-rows.ts';
import { Database } from '../../../src/stores/database.ts';
import { countMaintenance, saveTask } from '../../../src/stores/maintenance-rows.ts';
import { call, type UserName } from '../../support/client.ts';
import { putBlob, putImage } from '../../support/content.ts';
import { bytesOf } from '../../support/fixture.ts';
import { api, follow, NODE1, startQueues, stopQueues } from '../../support/queues.ts';

beforeEach(startQueues);
afterEach(stopQueues);

interface Entry {
  readonly at: string;
  readonly action: string;
  readonly organization: string | null;
  readonly repository: string | null;
  readonly key: string | null;
  readonly by: { readonly id: string; readonly name: string | null } | null;
  readonly host: string | null;
  readonly store: string;
}

interface Log {
  readonly entries: readonly Entry[];
  readonly last: string | null;
}

async function log(as: UserName = 'admin', path = 'audit', query = ''): Promise<Log> {
  const { status, body } = await api('GET', `${path}${query}`, { as });
  expect(status).toBe(200);
  return body as Log;
}

const deleted = async (path: string, as: UserName, host?: string): Promise<void> => {
  const response = await call('DELETE', path, { as, ...(host === undefined ? {} : { host }) });
  expect([202, 204]).toContain(response.status);
};

const ALICE = { id: 'id-of-alice', name: 'alice' };

describe('the audit log', () => {
  test('says who deleted what, when, and through which host', async () => {
    const before = Date.now();
    const { digest } = await putImage('alice/app', 1, ['a', 'b']);
    const blob = await putBlob('alice/app', bytesOf(9, 10));
    await deleted('/v2/alice/app/manifests/a', 'alice');
    await deleted(`/v2/alice/app/manifests/${digest}`, 'alice');
    await deleted(`/v2/alice/app/blobs/${blob}`, 'alice');
    await deleted('/api/organizations/alice/repositories/app', 'admin');
    await deleted('/api/organizations/alice/credentials/reader', 'admin');
    await deleted('/api/organizations/official', 'admin');

    const common = { organization: 'alice', repository: 'alice/app', host: 'registry.test:8787', store: 'central' };
    const admin = { id: 'id-of-admin', name: 'admin' };
    const { entries, last } = await log();
    expect(last).toBeNull();
    expect(entries).toMatchObject([
      { ...common, action: 'remove organization', organization: 'official', repository: null, key: null, by: admin },
      { ...common, action: 'remove credential', repository: null, key: 'reader', by: admin },
      { ...common, action: 'delete repository', key: null, by: admin },
      { ...common, action: 'delete blob', key: blob, by: ALICE },
      { ...common, action: 'delete manifest', key: digest, by: ALICE },
      { ...common, action: 'delete tag', key: 'a', by: ALICE },
    ]);
    for (const { at } of entries) {
      expect(Date.parse(at)).toBeGreaterThanOrEqual(before);
      expect(Date.parse(at)).toBeLessThanOrEqual(Date.now());
    }
  });

  test('has what was deleted through a node, which is in the log of central', async () => {
    await follow();
    const { digest } = await putImage('alice/app', 1, ['a', 'b'], { as: 'alice', host: NODE1 });
    await deleted('/v2/alice/app/manifests/a', 'alice', NODE1);
    await deleted(`/v2/alice/app/manifests/${digest}`, 'alice', NODE1);
    const { entries } = await log('alice', 'organizations/alice/audit');
    expect(entries).toMatchObject([
      { action: 'delete manifest', key: digest, by: ALICE, host: 'registry.test:8788', store: 'central' },
      { action: 'delete tag', key: 'a', by: ALICE, host: 'registry.test:8788', store: 'central' },
    ]);
  });

  test('has nothing of what was refused or not there', async () => {
    const { digest, manifest } = await putImage('alice/app', 1, ['a']);
    const statuses = [
      await call('DELETE', '/v2/alice/app/manifests/missing', { as: 'alice' }),
      await call('DELETE', `/v2/alice/app/manifests/${digest}`, { as: 'aliceReader' }),
      await call('DELETE', `/v2/alice/app/blobs/${manifest.requiredBlobs[0]}`, { as: 'alice' }),
      await call('DELETE', '/api/organizations/alice/repositories/other', { as: 'admin' }),
      await call('DELETE', '/api/organizations/alice/credentials/missing', { as: 'admin' }),
      await call('DELETE', '/api/organizations/alice', { as: 'admin' }),
    ].map(({ status }) => status);
    expect(statuses).toEqual([404, 403, 405, 404, 404, 409]);
    expect((await log()).entries).toEqual([]);
  });

  test('an organization sees its own, and an administrator all', async () => {
    await putImage('alice/app', 1, ['a']);
    await putImage('bob/app', 2, ['b'], { as: 'bob' });
    await deleted('/v2/alice/app/manifests/a', 'alice');
    await deleted('/v2/bob/app/manifests/b', 'bob');
    expect((await log('bob', 'organizations/bob/audit')).entries).toMatchObject([{ repository: 'bob/app' }]);
    expect((await log('admin', 'organizations/bob/audit')).entries).toHaveLength(1);
    expect((await log()).entries).toHaveLength(2);
    for (const [path, as] of [
      ['audit', 'alice'],
      ['organizations/bob/audit', 'alice'],
      ['organizations/alice/audit', 'aliceReader'],
      ['organizations/alice/audit', 'platform'],
      ['maintenance', 'alice'],
    ] as const) {
      expect((await api('GET', path, { as })).status).toBe(403);
    }
  });

  test('is one log of all stores, page by page', async () => {
    const stores = [env.DB_CENTRAL, env.DB_NODE1!, env.DB_NODE2!].map((database) => new Database(database));
    for (let i = 0; i < 12; i++) {
      const about = { organization: 'alice', repository: 'alice/app', key: `tag${i}` };
      // Three of each moment, of which two are in the same store.
      await stores[i % 2]?.batch([audit('evict image', about, BERTH_ITSELF, 1_700_000_000_000 + Math.floor(i / 3))]);
    }
    const whole = (await log()).entries;
    expect(new Set(whole.map(({ key }) => key)).size).toBe(12);
    expect(whole.map(({ at }) => at)).toEqual(whole.map(({ at }) => at).toSorted((a, b) => (a < b ? 1 : -1)));
    expect(whole[0]).toMatchObject({ action: 'evict image', by: null, host: null });
    for (const n of [1, 2, 5, 12]) {
      const pages: Entry[] = [];
      let last: string | null = '';
      while (last !== null) {
        const page = await log('alice', 'organizations/alice/audit', `?n=${n}${last === '' ? '' : `&last=${last}`}`);
        expect(page.entries.length).toBeLessThanOrEqual(n);
        pages.push(...page.entries);
        last = page.last;
      }
      expect(pages).toEqual(whole);
    }
    const { status, body } = await api('GET', 'audit?last=yesterday', { as: 'admin' });
    expect([status, body]).toMatchObject([400, { errors: [{ message: 'last: must be what the page before gave' }] }]);
  });

  test('is kept for as long as it is set to', async () => {
    await putImage('alice/app', 1, ['a']);
    await deleted('/v2/alice/app/manifests/a', 'alice');
    const config = parseConfig(env);
    const [entry] = (await log()).entries;
    const end = Date.parse(entry!.at) + 90 * 24 * 3_600_000;
    expect((await maintain(config, env, end)).auditEntries).toBe(0);
    expect((await log()).entries).toHaveLength(1);
    expect((await maintain({ ...config, auditMilliseconds: config.auditMilliseconds - 1 }, env, end)).auditEntries).toBe(1);
    expect((await log()).entries).toEqual([]);
  });
});

test('tasks of the cron trigger: when they ran and will run, what they did, what stopped them', async () => {
  const at = Date.UTC(2026, 0, 2, 3, 4, 5);
  const task = {
    task: 'collect',
    position: 'sha256:1',
    round_started_at: at - 1000,
    round_ended_at: null,
    last_slice_at: at,
    next_at: at + 60_000,
    slices: 3,
    stopped: 'node1 does not answer',
  };
  await new Database(env.DB_NODE1!).batch([
    saveTask(task),
    countMaintenance('collected_bytes', 5),
    countMaintenance('collected_bytes', 6),
  ]);
  const { status, body } = await api('GET', 'maintenance', { as: 'admin' });
  expect(status).toBe(200);
  expect(body).toEqual({
    collects: true,
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
            stopped: 'node1 does not answer',
          },
        ],
        counters: { collected_bytes: 11 },
      },
      { store: 'node2', answers: true, tasks: [], counters: {} },
    ],
  });
  const metrics = await (await call('GET', '/metrics', { as: 'admin' })).text();
  expect(metrics).toContain('berth_maintenance_stopped{store="node1",task="collect"} 1\n');
  expect(metrics).toContain('berth_maintenance_slices{store="node1",task="collect"} 3\n');
  expect(metrics).toContain('berth_collected_bytes_total{store="node1"} 11\n');
});

test('whether anything is collected', async () => {
  const { REGISTRY } = env;
  const fetcher = async (request: Request): Promise<Response> => {
    const context = createExecutionContext();
    const response = await createApp().fetch(request, { ...env, REGISTRY: { ...REGISTRY, collect: false } }, context);
    await waitOnExecutionContext(context);
    return response;
  };
  for (const [collects, as] of [
    [true, { as: 'admin' }],
    [false, { as: 'admin', fetcher }],
  ] as const) {
    expect(await (await call('GET', '/api/maintenance', as)).json()).toMatchObject({ collects });
    expect(await (await call('GET', '/metrics', as)).text()).toContain(`\nberth_collection_enabled ${collects ? 1 : 0}\n`);
  }
});
