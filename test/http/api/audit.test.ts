/** The audit log over HTTP: who changed or deleted what. */
import { env } from 'cloudflare:workers';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { parseConfig } from '../../../src/config.ts';
import { MINUTE } from '../../../src/durations.ts';
import { maintain } from '../../../src/maintenance/schedule.ts';
import { audit, BERTH_ITSELF } from '../../../src/stores/organizations/audit-rows.ts';
import { Database } from '../../../src/stores/database.ts';
import { type Entry, log } from '../../support/audit-log.ts';
import { call, type UserName } from '../../support/client.ts';
import { putBlob, putImage } from '../../support/content.ts';
import { bytesOf } from '../../support/fixture.ts';
import { api, applyChangeLog, NODE1, startQueues, stopQueues } from '../../support/queues.ts';

beforeEach(startQueues);
afterEach(stopQueues);

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

    const common = {
      organization: 'alice',
      repository: 'alice/app',
      host: 'registry.localhost:8787',
      store: 'central',
    };
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

  test("lists deletions through a node in central's log", async () => {
    await applyChangeLog();
    const { digest } = await putImage('alice/app', 1, ['a', 'b'], { as: 'alice', host: NODE1 });
    await deleted('/v2/alice/app/manifests/a', 'alice', NODE1);
    await deleted(`/v2/alice/app/manifests/${digest}`, 'alice', NODE1);
    const { entries } = await log('alice', 'organizations/alice/audit');
    expect(entries).toMatchObject([
      { action: 'delete manifest', key: digest, by: ALICE, host: 'registry.localhost:8788', store: 'central' },
      { action: 'delete tag', key: 'a', by: ALICE, host: 'registry.localhost:8788', store: 'central' },
    ]);
  });

  test('lists every change of control data, and every operation on images and queues', async () => {
    const { digest } = await putImage('alice/app', 1, ['a']);
    const image = 'organizations/alice/repositories/app/images';
    const queue = 'replication/queues/node1';
    const changes: readonly (readonly [method: string, path: string, body?: object])[] = [
      ['POST', 'organizations', { name: 'carol' }],
      ['PUT', 'organizations/carol/quota', { bytes: 1000 }],
      ['PUT', 'organizations/carol/quota', { bytes: null }],
      ['POST', 'organizations/carol/credentials', { name: 'ci', rights: ['pull'] }],
      ['POST', 'credentials', { name: 'machines', kind: 'platform' }],
      ['DELETE', 'credentials/machines'],
      ['POST', 'organizations/carol/repositories', { name: 'open', visibility: 'public' }],
      ['PATCH', 'organizations/carol/repositories/open', { visibility: 'private' }],
      ['PUT', `${image}/a/pins/node1`],
      ['DELETE', `${image}/a/pins/node1`],
      ['PATCH', queue, { paused: true }],
      ['PATCH', queue, { paused: false }],
      ['POST', `${queue}/retry`, {}],
      ['POST', `${queue}/announce-all`],
    ];
    for (const [method, path, body] of changes) {
      const { status } = await api(method, path, { as: 'admin', host: NODE1, ...(body !== undefined && { body }) });
      expect([method, path, status < 300]).toEqual([method, path, true]);
    }
    expect((await api('POST', `${image}/a/prefetch`, { as: 'alice', body: { node: 'node2' } })).status).toBe(200);
    await putImage('alice/app', 5, ['a']);
    const { body } = await api('GET', `${image}/a/history`, { as: 'alice' });
    const { history } = body as { history: { version: number; origin: string; digest: string }[] };
    const { version, origin } = history.find((each) => each.digest === digest)!;
    expect((await api('POST', `${image}/a/restore`, { as: 'alice', body: { version, origin } })).status).toBe(200);

    const all = {
      by: { id: 'id-of-admin', name: 'admin' },
      host: 'registry.localhost:8788',
      store: 'central',
      count: 1,
      address: null,
    };
    const ofCarol = { ...all, organization: 'carol', repository: null, key: null };
    const open = { ...ofCarol, repository: 'carol/open' };
    const pinned = { ...all, organization: 'alice', repository: 'alice/app', key: 'a', store: 'node1' };
    const ofQueue = { ...all, organization: null, repository: null, key: 'node1' };
    const byAlice = { ...pinned, by: ALICE, host: 'registry.localhost:8787' };
    const entries = (await log()).entries.toSorted((a, b) => Date.parse(a.at) - Date.parse(b.at));
    const wanted = [
      { ...ofCarol, action: 'create organization' },
      { ...ofCarol, action: 'set quota', key: '1000' },
      { ...ofCarol, action: 'set quota' },
      { ...ofCarol, action: 'create credential', key: 'ci' },
      { ...ofCarol, action: 'create credential', organization: null, key: 'machines' },
      { ...ofCarol, action: 'remove credential', organization: null, key: 'machines' },
      { ...open, action: 'create repository' },
      { ...open, action: 'publish repository' },
      { ...open, action: 'hide repository' },
      { ...pinned, action: 'pin image' },
      { ...pinned, action: 'unpin image' },
      { ...ofQueue, action: 'pause queue' },
      { ...ofQueue, action: 'resume queue' },
      { ...ofQueue, action: 'retry jobs' },
      { ...ofQueue, action: 'announce all' },
      { ...byAlice, action: 'prefetch image', store: 'node2' },
      { ...byAlice, action: 'restore tag', store: 'central' },
    ];
    const key = ({ action, key: about }: { action: string; key: string | null }): string => `${action} ${about ?? ''}`;
    const sorted = <Item extends { action: string; key: string | null }>(items: readonly Item[]): Item[] =>
      items.toSorted((a, b) => (key(a) < key(b) ? -1 : 1));
    expect(sorted(entries)).toMatchObject(sorted(wanted));
    expect(entries).toHaveLength(wanted.length);
  });

  test('counts repeated prefetches of an image', async () => {
    await putImage('alice/app', 1, ['a']);
    const path = 'organizations/alice/repositories/app/images/a/prefetch';
    for (let i = 0; i < 5; i++)
      expect((await api('POST', path, { as: 'alice', body: { node: 'node2' } })).status).toBe(200);
    const entries = (await log()).entries.filter(({ action }) => action === 'prefetch image');
    // The hour may end between two of them.
    expect(entries.length).toBeLessThanOrEqual(2);
    expect(entries.reduce((sum, { count }) => sum + count, 0)).toBe(5);
  });

  test('omits requests that changed nothing', async () => {
    await putImage('alice/app', 1, ['a']);
    const publish = { as: 'alice', body: { visibility: 'private' } } as const;
    expect((await api('PATCH', 'organizations/alice/repositories/app', publish)).status).toBe(200);
    const requests: readonly (readonly [method: string, path: string, status: number, body?: object])[] = [
      ['POST', 'organizations', 409, { name: 'alice' }],
      ['PUT', 'organizations/nobody/quota', 404, { bytes: 1 }],
      ['POST', 'organizations/alice/credentials', 409, { name: 'reader', rights: ['pull'] }],
      ['POST', 'organizations/nobody/credentials', 404, { name: 'reader', rights: ['pull'] }],
      ['POST', 'organizations/alice/repositories', 409, { name: 'app' }],
      ['PATCH', 'organizations/alice/repositories/other', 404, { visibility: 'public' }],
      ['PATCH', 'replication/queues/nowhere', 404, { paused: true }],
      ['POST', 'replication/queues/nowhere/retry', 404, {}],
      ['DELETE', 'replication/stores/node1/locations', 409],
      ['DELETE', 'organizations/alice/repositories/app/images/a/pins/node1', 404],
    ];
    for (const [method, path, status, body] of requests) {
      const answer = await api(method, path, { as: 'admin', ...(body !== undefined && { body }) });
      expect([method, path, answer.status]).toEqual([method, path, status]);
    }
    expect((await log()).entries).toEqual([]);
  });

  test('omits requests that were refused or named nothing that exists', async () => {
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

  test('shows an organization its own entries, and an administrator all', async () => {
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

  test("of a name with a new owner begins with that owner, even if the node's copy is of the previous owner", async () => {
    await putImage('alice/app', 1, ['a']);
    await deleted('/v2/alice/app/manifests/a', 'alice');
    await applyChangeLog();
    // Only central knows the new owner: the node has not applied that change yet.
    await env.DB_CENTRAL.prepare("UPDATE organizations SET created_at = ?1 WHERE name = 'alice'")
      .bind(Date.now() + 1)
      .run();
    for (const copy of ['is older', 'is missing']) {
      if (copy === 'is missing') await env.DB_NODE1!.prepare("DELETE FROM organizations WHERE name = 'alice'").run();
      for (const as of ['alice', 'admin'] as const) {
        const { status, body } = await api('GET', 'organizations/alice/audit', { as, host: NODE1 });
        expect([copy, as, status, body]).toEqual([copy, as, 200, { entries: [], last: null }]);
      }
    }
  });

  test('of a removed organization is for administrators only', async () => {
    await putImage('alice/app', 1, ['a']);
    await deleted('/v2/alice/app/manifests/a', 'alice');
    await deleted('/api/organizations/alice/repositories/app', 'admin');
    // The isolate remembers alice's password.
    expect((await api('GET', 'organizations/alice/audit', { as: 'alice' })).status).toBe(200);
    await deleted('/api/organizations/alice', 'admin');
    const { status, body } = await api('GET', 'organizations/alice/audit', { as: 'alice' });
    expect([status, body]).toMatchObject([404, { errors: [{ message: 'there is no organization alice' }] }]);
    expect((await log('admin', 'organizations/alice/audit')).entries.length).toBeGreaterThan(0);
  });

  test('merges the logs of all stores, page by page', async () => {
    const stores = [env.DB_CENTRAL, env.DB_NODE1!, env.DB_NODE2!].map((database) => new Database(database));
    for (let i = 0; i < 12; i++) {
      const about = { organization: 'alice', repository: 'alice/app', key: `tag${i}` };
      // Three entries of each moment, two of them in the same store.
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
    expect([status, body]).toMatchObject([
      400,
      { errors: [{ message: 'last: must be the value that the previous page returned' }] },
    ]);
  });

  test('keeps entries for the configured time', async () => {
    await putImage('alice/app', 1, ['a']);
    await deleted('/v2/alice/app/manifests/a', 'alice');
    const config = parseConfig(env);
    const [entry] = (await log()).entries;
    const end = Date.parse(entry!.at) + 90 * 24 * 3_600_000;
    expect((await maintain(config, env, end - MINUTE)).auditEntries).toBe(0);
    expect((await log()).entries).toHaveLength(1);
    expect(
      (await maintain({ ...config, auditMilliseconds: config.auditMilliseconds - 1 }, env, end)).auditEntries,
    ).toBe(1);
    expect((await log()).entries).toEqual([]);
  });
});
