/** A node decides by its own copy of the control data, unless that is too old. */
import { env } from 'cloudflare:workers';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { addUsers } from '../support/client.ts';
import { type HostName, ThreeHosts } from '../support/three-hosts.ts';

const HOUR = 3_600_000;
const PATHS = [
  '/v2/',
  '/token',
  '/v2/alice/app/manifests/latest',
  '/v2/_catalog',
  '/api/organizations/alice',
  '/metrics',
];

let hosts: ThreeHosts;

beforeEach(async () => {
  await addUsers();
  hosts = await ThreeHosts.open();
});
afterEach(() => {
  vi.useRealTimers();
});

async function requireRefused(host: HostName): Promise<void> {
  for (const path of PATHS) {
    const { status, code, headers } = await hosts.call(host, 'GET', path);
    expect([path, status, code, Number(headers.get('Retry-After')) > 0]).toEqual([path, 503, 'UNAVAILABLE', true]);
  }
}

const statusOf = async (host: HostName, path = '/v2/alice/app/manifests/latest'): Promise<number> =>
  (await hosts.call(host, 'GET', path)).status;

/** Returns all control data of one store. */
async function controlDataOf(database: D1Database): Promise<unknown> {
  const queries = [
    'SELECT name, created_at, removed_at FROM organizations ORDER BY name',
    `SELECT id, kind, organization, name, rights, repositories, secret_hash, created_at, expires_at, registries
     FROM credentials ORDER BY id`,
    'SELECT name FROM public_repositories ORDER BY name',
  ];
  return (await database.batch(queries.map((query) => database.prepare(query)))).map(({ results }) => results);
}

describe("the age limit of a node's copy", () => {
  test('a node that has never applied the change log answers 503 until it has', async () => {
    await hosts.push('node1', 'alice/app', 1, 'latest');
    await env.DB_NODE1!.prepare('DELETE FROM change_log_positions').run();
    hosts = await ThreeHosts.openWithoutApplying();
    await requireRefused('node1');
    expect(await statusOf('central', '/v2/')).toBe(200);
    expect((await hosts.call('node1', 'GET', '/healthz')).status).toBe(200);
    await hosts.announce();
    expect(await statusOf('node1')).toBe(200);
  });

  test('while central is away, a node decides for a day; after that, it answers 503 until it has applied the change log again', async () => {
    vi.useFakeTimers({ toFake: ['Date'] });
    await hosts.push('node1', 'alice/app', 1, 'latest');
    hosts.takeAway('central D1');
    const start = Date.now();
    vi.setSystemTime(start + 24 * HOUR - 5 * 60_000);
    await hosts.drain();
    expect(await statusOf('node1')).toBe(200);
    vi.setSystemTime(start + 24 * HOUR + 60_000);
    await hosts.drain();
    await requireRefused('node1');
    expect((await hosts.putBlob('node1', 'alice/app', new Uint8Array(10))).status).toBe(503);
    hosts.giveBack();
    await hosts.drain();
    expect(await statusOf('node1')).toBe(200);
  });
});

describe('after the clock was set back by days', () => {
  test('a node does not trust its earlier copy: it answers 503 until it has heard from central again', async () => {
    vi.useFakeTimers({ toFake: ['Date'] });
    await hosts.push('node1', 'alice/app', 1, 'latest');
    const start = Date.now();
    vi.setSystemTime(start + 72 * HOUR);
    await hosts.drain();
    expect(await statusOf('node1')).toBe(200);
    vi.setSystemTime(start);
    hosts.takeAway('central D1');
    await requireRefused('node1');
    hosts.giveBack();
    await hosts.announce();
    expect(await statusOf('node1')).toBe(200);
  });
});

describe('a node that is added to a registry with history', () => {
  test('takes a snapshot of the control data, and applies the change log from there', async () => {
    const tables = ['change_log_positions', 'organizations', 'credentials', 'public_repositories'];
    const json = (body: object) => ({ headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) });
    for (const [method, path, body] of [
      ['POST', 'organizations', { name: 'carol' }],
      ['POST', 'organizations/carol/credentials', { name: 'carol', rights: ['pull'], registries: ['node2'] }],
      ['POST', 'organizations/alice/credentials', { name: 'gone', rights: ['pull'] }],
      ['DELETE', 'organizations/alice/credentials/gone', undefined],
      ['POST', 'organizations', { name: 'dave' }],
      ['DELETE', 'organizations/dave', undefined],
      ['POST', 'organizations/alice/repositories', { name: 'open', visibility: 'public' }],
      ['POST', 'organizations/alice/repositories', { name: 'closed', visibility: 'private' }],
      ['POST', 'organizations/alice/repositories', { name: 'was-open', visibility: 'public' }],
      ['PATCH', 'organizations/alice/repositories/was-open', { visibility: 'private' }],
    ] as const) {
      const answer = await hosts.call('central', method, `/api/${path}`, {
        as: 'admin',
        ...(body === undefined ? {} : json(body)),
      });
      expect([path, answer.status < 300]).toEqual([path, true]);
    }
    // Central may have deleted entries that every existing node has applied.
    await env.DB_CENTRAL.prepare('DELETE FROM change_log').run();
    await env.DB_NODE2!.batch(tables.map((table) => env.DB_NODE2!.prepare(`DELETE FROM ${table}`)));
    await env.DB_CENTRAL.prepare("DELETE FROM change_log_positions WHERE store = 'node2'").run();
    expect(await controlDataOf(env.DB_NODE2!)).toEqual([[], [], []]);
    await hosts.announce();
    const central = await controlDataOf(env.DB_CENTRAL);
    expect(await controlDataOf(env.DB_NODE2!)).toEqual(central);
    expect(await controlDataOf(env.DB_NODE1!)).toEqual(central);

    const removed = await hosts.call('central', 'DELETE', '/api/organizations/alice/credentials/reader', {
      as: 'admin',
    });
    expect(removed.status).toBe(204);
    await hosts.announce();
    expect(await controlDataOf(env.DB_NODE2!)).toEqual(await controlDataOf(env.DB_CENTRAL));
    expect(JSON.stringify(await controlDataOf(env.DB_NODE2!))).not.toContain('id-of-reader');
  });

  test('has the images from before it was added', async () => {
    const image = await hosts.push('central', 'alice/app', 1, 'latest');
    await env.DB_NODE2!.prepare('DELETE FROM change_log_positions').run();
    await hosts.drain();
    for (const path of [
      'manifests/latest',
      ...image.manifest.requiredBlobs.map((digest) => `blobs/${digest}`),
      'tags/list',
    ]) {
      expect([path, await statusOf('node2', `/v2/alice/app/${path}`)]).toEqual([path, 200]);
    }
  });
});

describe('a stale copy', () => {
  const json = { 'Content-Type': 'application/json' };

  test('cannot approve a change of control data: central decides, even if the node remembers the login as good', async () => {
    vi.useFakeTimers({ toFake: ['Date'] });
    // Goes past everything that the isolate remembers of earlier tests.
    vi.setSystemTime(Date.now() + 600_000);
    await hosts.announce();
    await hosts.push('central', 'alice/app', 1, 'latest');
    await hosts.announce();
    await env.DB_CENTRAL.prepare("DELETE FROM credentials WHERE id = 'id-of-alice'").run();
    const stale = await hosts.call('node1', 'GET', '/v2/');
    expect(stale.status).toBe(200);
    const requests = [
      ['POST', '/api/organizations/alice/credentials', '{"name":"again","rights":["pull"]}'],
      ['PATCH', '/api/organizations/alice/repositories/app', '{"visibility":"public"}'],
      ['DELETE', '/api/organizations/alice/repositories/app', null],
      ['GET', '/api/organizations/alice/credentials', null],
      ['DELETE', '/api/v2.0/projects/alice/repositories/app', null],
    ] as const;
    for (const [method, path, body] of requests) {
      const { status } = await hosts.call('node1', method, path, { body, ...(body !== null && { headers: json }) });
      expect([method, path, status]).toEqual([method, path, 401]);
    }
    expect((await hosts.call('node1', 'GET', '/v2/')).status).toBe(200);
    expect((await hosts.call('central', 'GET', '/v2/', { as: 'admin' })).status).toBe(200);
    expect((await hosts.call('central', 'GET', '/v2/alice/app/manifests/latest', { as: 'platform' })).status).toBe(200);
  });

  test('still decides at the node: a login that central approved fails there until the node knows the credential', async () => {
    vi.useFakeTimers({ toFake: ['Date'] });
    vi.setSystemTime(Date.now() + 1_200_000);
    await hosts.announce();
    await env.DB_NODE1!.prepare("DELETE FROM credentials WHERE id = 'id-of-alice'").run();
    expect((await hosts.call('node1', 'GET', '/api/organizations/alice')).status).toBe(200);
    expect((await hosts.call('node1', 'GET', '/v2/')).status).toBe(401);
  });
});
