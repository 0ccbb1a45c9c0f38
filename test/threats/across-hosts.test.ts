/** Attacks that need two hosts: they use at one host something that another issued, holds or learned. */
import { env } from 'cloudflare:workers';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { digestOf } from '../../src/oci/digest.ts';
import { addCredentials, addUsers, basic, type CallOptions } from '../support/client.ts';
import { bytesOf, first } from '../support/fixture.ts';
import { type HostName, ORIGINS, ThreeHosts } from '../support/three-hosts.ts';

const MINUTE = 60_000;
const HOST_NAMES = Object.keys(ORIGINS) as HostName[];
const NOBODY = { authorization: '' };

type As = NonNullable<CallOptions['as']>;

let hosts: ThreeHosts;
let tests = 0;

beforeEach(async () => {
  vi.useFakeTimers({ toFake: ['Date'] });
  tests += 1;
  vi.setSystemTime(Date.now() + tests * 10 * MINUTE);
  await addUsers();
  hosts = await ThreeHosts.open();
});
afterEach(() => {
  vi.useRealTimers();
});

const status = async (host: HostName, path: string, as: As): Promise<number> =>
  (await hosts.call(host, 'GET', path, { as })).status;

async function tokenAt(host: HostName, as: As, scope: string): Promise<{ readonly authorization: string }> {
  const { bytes } = await hosts.call(host, 'GET', `/token?scope=${scope}`, { as });
  return { authorization: `Bearer ${(JSON.parse(new TextDecoder().decode(bytes)) as { token: string }).token}` };
}

function api(host: HostName, method: string, path: string, as: As, body?: object) {
  const headers = { 'Content-Type': 'application/json' };
  return hosts.call(host, method, `/api/${path}`, {
    as,
    headers,
    body: body === undefined ? null : JSON.stringify(body),
  });
}

async function linksOf(repository: string): Promise<string[]> {
  const rows = await Promise.all(
    [env.DB_CENTRAL, env.DB_NODE1!, env.DB_NODE2!].map((database) =>
      database.prepare('SELECT digest FROM links WHERE repository = ?1').bind(repository).all<{ digest: string }>(),
    ),
  );
  return rows.flatMap(({ results }) => results.map(({ digest }) => digest));
}

describe.each(HOST_NAMES)('an access token of %s', (host) => {
  test('is valid at that host, and nowhere else', async () => {
    await hosts.push('node1', 'alice/app', 1, 'latest');
    await hosts.drain();
    const token = await tokenAt(host, 'alice', 'repository:alice/app:pull,push,delete');
    for (const other of HOST_NAMES) {
      const expected = other === host ? 200 : 401;
      expect([other, await status(other, '/v2/alice/app/manifests/latest', token)]).toEqual([other, expected]);
      const opened = await hosts.call(other, 'POST', '/v2/alice/app/blobs/uploads/', { as: token });
      expect([other, opened.status]).toEqual([other, other === host ? 202 : 401]);
    }
  });

  test('cannot continue an upload that was opened at another host', async () => {
    const [start, end] = [bytesOf(1, 40), bytesOf(2, 30)];
    const digest = await digestOf('sha256', Uint8Array.from([...start, ...end]));
    const opened = await hosts.call(host, 'POST', '/v2/alice/app/blobs/uploads/');
    const patched = await hosts.call(host, 'PATCH', opened.headers.get('Location') ?? '', { body: start });
    const location = patched.headers.get('Location') ?? '';
    const path = new URL(location, ORIGINS[host]).pathname;
    for (const other of HOST_NAMES.filter((name) => name !== host)) {
      for (const [method, query, body] of [
        ['GET', '', null],
        ['PATCH', '', end],
        ['PUT', `?digest=${digest}`, end],
        ['DELETE', '', null],
      ] as const) {
        const answer = await hosts.call(other, method, `${path}${query}`, { body });
        expect([other, method, answer.status, answer.code]).toEqual([other, method, 404, 'BLOB_UPLOAD_UNKNOWN']);
      }
    }
    expect((await hosts.call(host, 'PUT', `${location}?digest=${digest}`, { body: end })).status).toBe(201);
  });
});

describe('a mount across stores takes only blobs that the caller may pull', () => {
  test.each(['pushed to central', 'pushed to the other node', 'held by the node as well'])(
    'a private source, %s, is refused',
    async (where) => {
      const image = await hosts.push(
        where === 'pushed to the other node' ? 'node2' : 'central',
        'bob/secret',
        1,
        'latest',
        'bob',
      );
      await hosts.drain();
      const secret = first(image.manifest.requiredBlobs);
      if (where === 'held by the node as well') {
        expect(await status('node1', `/v2/bob/secret/blobs/${secret}`, 'bob')).toBe(200);
        await hosts.drain();
      }
      const callers: As[] = [
        'alice',
        await tokenAt('node1', 'alice', 'repository:alice/app:pull,push&scope=repository:bob/secret:pull'),
      ];
      for (const as of callers) {
        for (const from of ['&from=bob/secret', '', '&from=bob%2Fsecret&from=alice/app']) {
          const answer = await hosts.call('node1', 'POST', `/v2/alice/app/blobs/uploads/?mount=${secret}${from}`, {
            as,
          });
          expect([from, answer.status]).toEqual([from, 202]);
        }
        expect(await status('node1', `/v2/alice/app/blobs/${secret}`, as)).toBe(404);
      }
      expect(await linksOf('alice/app')).toEqual([]);
    },
  );

  test('a refused mount keeps no blob from being collected, at the node or at central', async () => {
    const image = await hosts.push('node1', 'bob/secret', 1, 'latest', 'bob');
    await hosts.drain();
    const secret = first(image.manifest.requiredBlobs);
    const leases = async (): Promise<unknown[]> =>
      Promise.all(
        [env.DB_CENTRAL, env.DB_NODE1!].map(
          async (database) =>
            (await database.prepare('SELECT store, lease_until, releasing FROM locations ORDER BY digest, store').all())
              .results,
        ),
      );
    for (const database of [env.DB_CENTRAL, env.DB_NODE1!]) {
      await database.prepare("UPDATE locations SET lease_until = 1, releasing = 'token'").run();
    }
    const before = await leases();
    for (const as of ['alice', 'official'] as const) {
      const answer = await hosts.call('node1', 'POST', `/v2/alice/app/blobs/uploads/?mount=${secret}&from=bob/secret`, {
        as,
      });
      expect([as, answer.status]).toEqual([as, as === 'alice' ? 202 : 403]);
    }
    expect(await leases()).toEqual(before);
  });

  test('a mount renews no lease when central has made the source private and the node still believes it public', async () => {
    const image = await hosts.push('central', 'bob/open', 1, 'latest', 'bob');
    await env.DB_NODE1!.prepare("INSERT INTO public_repositories (name) VALUES ('bob/open')").run();
    await env.DB_CENTRAL.prepare('UPDATE locations SET lease_until = 1').run();
    const path = `/v2/alice/app/blobs/uploads/?mount=${first(image.manifest.requiredBlobs)}&from=bob/open`;
    expect((await hosts.call('node1', 'POST', path)).status).toBe(202);
    const { results } = await env.DB_CENTRAL.prepare('SELECT DISTINCT lease_until FROM locations').all();
    expect(results).toEqual([{ lease_until: 1 }]);
    expect(await linksOf('alice/app')).toEqual([]);
  });

  test('a public source is refused once the node knows that it is private', async () => {
    const image = await hosts.push('central', 'bob/open', 1, 'latest', 'bob');
    const [config = '', layer = ''] = image.manifest.requiredBlobs;
    await api('central', 'PATCH', 'organizations/bob/repositories/open', 'bob', { visibility: 'public' });
    await hosts.drain();
    const mount = async (digest: string): Promise<number> =>
      (await hosts.call('node1', 'POST', `/v2/alice/app/blobs/uploads/?mount=${digest}&from=bob/open`)).status;
    expect(await mount(config)).toBe(201);
    await api('central', 'PATCH', 'organizations/bob/repositories/open', 'bob', { visibility: 'private' });
    await hosts.drain();
    expect(await mount(layer)).toBe(202);
    expect(await status('node1', `/v2/alice/app/blobs/${layer}`, 'alice')).toBe(404);
  });
});

describe('a change at central reaches a node', () => {
  test('a repository that is made private again at central is private at the node', async () => {
    const image = await hosts.push('node1', 'bob/open', 1, 'latest', 'bob');
    await hosts.drain();
    const paths = [
      'manifests/latest',
      `manifests/${image.digest}`,
      `blobs/${first(image.manifest.requiredBlobs)}`,
      'tags/list',
    ].map((path) => `/v2/bob/open/${path}`);
    const asked = async (as: As): Promise<number[]> => Promise.all(paths.map((path) => status('node1', path, as)));
    await api('central', 'PATCH', 'organizations/bob/repositories/open', 'bob', { visibility: 'public' });
    expect([await asked(NOBODY), await asked('alice')]).toEqual([paths.map(() => 200), paths.map(() => 200)]);
    await api('central', 'PATCH', 'organizations/bob/repositories/open', 'bob', { visibility: 'private' });
    expect([await asked(NOBODY), await asked('alice')]).toEqual([paths.map(() => 401), paths.map(() => 403)]);
    expect(await asked('bob')).toEqual(paths.map(() => 200));
  });

  test('a credential that is removed at central works at the node for a minute, and its tokens for five', async () => {
    await hosts.push('node1', 'alice/app', 1, 'latest');
    const token = await tokenAt('node1', 'aliceReader', 'repository:alice/app:pull');
    const path = '/v2/alice/app/manifests/latest';
    expect((await api('central', 'DELETE', 'organizations/alice/credentials/reader', 'alice')).status).toBe(204);
    vi.setSystemTime(Date.now() + MINUTE);
    expect(await status('node1', path, 'aliceReader')).toBe(401);
    expect(await status('node1', '/token', 'aliceReader')).toBe(401);
    vi.setSystemTime(Date.now() + 4 * MINUTE);
    expect(await status('node1', path, token)).toBe(401);
    const { results } = await env.DB_NODE1!.prepare("SELECT id FROM credentials WHERE name = 'reader'").all();
    expect(results).toEqual([]);
  });

  test('a credential for one registry works only there', async () => {
    const body = { name: 'boot', rights: ['pull', 'push'], registries: ['node1'] };
    const created = await api('central', 'POST', 'organizations/alice/credentials', 'alice', body);
    const { secret } = JSON.parse(new TextDecoder().decode(created.bytes)) as { secret: string };
    await hosts.announce();
    const as = { authorization: basic({ name: 'boot', password: secret }) };
    for (const [host, expected] of [
      ['central', 401],
      ['node1', 200],
      ['node2', 401],
    ] as const) {
      expect([host, await status(host, '/v2/', as)]).toEqual([host, expected]);
      expect([host, await status(host, '/token?scope=repository:alice/app:pull', as)]).toEqual([host, expected]);
    }
    // Its token is valid nowhere else either.
    const token = await tokenAt('node1', as, 'repository:alice/app:pull,push');
    expect([await status('central', '/v2/', token), await status('node2', '/v2/', token)]).toEqual([401, 401]);
  });

  test('a credential ends when its organization is removed at central', async () => {
    await addCredentials([{ kind: 'organization', name: 'carol', password: 'carol-secret', organization: 'carol' }]);
    const as = { authorization: basic({ name: 'carol', password: 'carol-secret' }) };
    await env.DB_NODE1!.prepare('DELETE FROM change_log_positions').run();
    await hosts.announce();
    expect(await status('node1', '/v2/', as)).toBe(200);
    expect((await api('central', 'DELETE', 'organizations/carol', 'admin')).status).toBe(204);
    vi.setSystemTime(Date.now() + MINUTE);
    expect(await status('node1', '/v2/', as)).toBe(401);
  });
});

describe('a pull through a node creates nothing that the caller could not create', () => {
  const contents = async (): Promise<unknown> => {
    const tables = [
      'repositories',
      'manifests',
      'tags',
      'links',
      'locations',
      'outbox',
      'public_repositories',
      'tag_history',
    ];
    return Promise.all(
      [env.DB_CENTRAL, env.DB_NODE1!, env.DB_NODE2!].map(async (database) =>
        Promise.all(
          tables.map(
            async (table) => (await database.prepare(`SELECT count(*) AS n FROM ${table}`).first<{ n: number }>())?.n,
          ),
        ),
      ),
    );
  };

  test.each(['alice', 'aliceReader', 'platform', 'admin', 'official'] as const)('by %s', async (as) => {
    const image = await hosts.push('central', 'bob/app', 1, 'latest', 'bob');
    const blob = first(image.manifest.requiredBlobs);
    await hosts.drain();
    const before = await contents();
    for (const name of [
      'alice/new',
      'alice/app',
      'bob/new',
      'official/new',
      'nobody/new',
      ...(as === 'platform' ? [] : ['bob/app']),
    ]) {
      for (const path of [
        'manifests/latest',
        `manifests/${image.digest}`,
        `blobs/${blob}`,
        'tags/list',
        `referrers/${image.digest}`,
      ]) {
        for (const method of ['GET', 'HEAD']) {
          const answer = await hosts.call('node1', method, `/v2/${name}/${path}`, { as });
          expect([401, 403, 404, ...(path.startsWith('referrers') ? [200] : [])]).toContain(answer.status);
        }
      }
    }
    await hosts.drain();
    expect(await contents()).toEqual(before);
  });

  test('an image that a reader pulls is copied to the node, and nothing of it is announced', async () => {
    const image = await hosts.push('central', 'alice/app', 1, 'latest');
    await hosts.drain();
    for (const path of ['manifests/latest', ...image.manifest.requiredBlobs.map((digest) => `blobs/${digest}`)]) {
      expect(await status('node1', `/v2/alice/app/${path}`, 'aliceReader')).toBe(200);
    }
    const [central] = (await contents()) as unknown[];
    await hosts.drain();
    expect(((await contents()) as unknown[])[0]).toEqual(central);
    const { results } = await env.DB_NODE1!.prepare('SELECT key FROM outbox').all();
    expect(results).toEqual([]);
  });
});
