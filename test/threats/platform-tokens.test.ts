/** The platform's tokens, used where they do not belong. */
import { env } from 'cloudflare:workers';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { addUsers, codeOf } from '../support/client.ts';
import { putImage } from '../support/content.ts';
import { bytesOf } from '../support/fixture.ts';
import { applyAtNode1, naming, openWithPlatform, platformToken } from '../support/platform.ts';
import { keepQueuesStill } from '../support/still-queues.ts';

beforeEach(async () => {
  keepQueuesStill();
  await addUsers();
  await applyAtNode1();
});
afterEach(() => vi.restoreAllMocks());

const alice = platformToken('robot$alice.users.kraftcloud', 'platform-secret-of-alice');
const second = platformToken('robot$alice.users.kraftcloud', 'second-platform-secret-of-alice');
const bob = platformToken('robot$bob.users.kraftcloud', 'platform-secret-of-bob');

const organizations = new Map([
  [alice.whole, 'alice'],
  [second.whole, 'alice'],
  [bob.whole, 'bob'],
]);
const open = () =>
  openWithPlatform((token) => (organizations.has(token) ? naming(organizations.get(token)) : undefined));

describe.each(['central', 'node1'] as const)('at %s', (host) => {
  test('a token of one organization cannot touch another', async () => {
    const registry = open();
    const image = await putImage('alice/app', 1, ['latest'], registry.by(host, alice.pair));
    const layer = image.manifest.references.find(({ kind }) => kind === 'layer')?.digest ?? '';
    const query = 'scope=repository:alice/app:pull,push,delete&scope=repository:bob/app:pull,push';
    const granted = await registry.call(host, 'GET', `/token?${query}`, { as: { authorization: bob.pair } });
    const { token } = await granted.json<{ token: string }>();
    expect(JSON.parse(atob((token.split('.')[1] ?? '').replaceAll('-', '+').replaceAll('_', '/')))).toMatchObject({
      scope: 'repository:bob/app:pull,push',
    });
    const attempts: [method: string, path: string, body?: Uint8Array<ArrayBuffer>][] = [
      ['GET', '/v2/alice/app/manifests/latest'],
      ['HEAD', `/v2/alice/app/blobs/${layer}`],
      ['GET', '/v2/alice/app/tags/list'],
      ['POST', '/v2/alice/app/blobs/uploads/'],
      ['PUT', '/v2/alice/app/manifests/latest', image.bytes],
      ['DELETE', '/v2/alice/app/manifests/latest'],
      ['GET', '/api/organizations/alice/repositories/app/images/latest'],
      ['DELETE', '/api/organizations/alice/repositories/app'],
      ['DELETE', '/api/organizations/bob'],
    ];
    for (const authorization of [bob.pair, bob.wholeAs('bob'), bob.bearer]) {
      for (const [method, path, body = null] of attempts) {
        const headers = { 'Content-Type': image.manifest.mediaType };
        const { status } = await registry.call(host, method, path, { as: { authorization }, headers, body });
        expect([method, path, status]).toEqual([method, path, 403]);
      }
      // A mount from an unreadable repository becomes an ordinary upload.
      const mount = `/v2/bob/app/blobs/uploads/?mount=${layer}&from=alice/app`;
      expect((await registry.call(host, 'POST', mount, { as: { authorization } })).status).toBe(202);
      const catalog = await registry.call(host, 'GET', '/v2/_catalog', { as: { authorization } });
      expect(await catalog.text()).not.toContain('alice');
    }
  });

  test('a user name of another organization gets nothing, and reveals nothing', async () => {
    const registry = open();
    for (const authorization of [
      bob.wholeAs('alice'),
      bob.wholeAs('robot$alice.users.kraftcloud'),
      bob.secretAs('alice'),
      alice.wholeAs('bob'),
      alice.wholeAs('administrator'),
      alice.wholeAs(''),
    ]) {
      const response = await registry.call(host, 'GET', '/v2/', { as: { authorization } });
      expect([response.status, await codeOf(response)]).toEqual([401, 'UNAUTHORIZED']);
    }
    // It still fails after the right name has logged in.
    expect((await registry.call(host, 'GET', '/v2/', { as: { authorization: bob.wholeAs('bob') } })).status).toBe(200);
    expect((await registry.call(host, 'GET', '/v2/', { as: { authorization: bob.wholeAs('alice') } })).status).toBe(
      401,
    );
  });

  test("a robot's token for which the platform names another organization is refused", async () => {
    const registry = openWithPlatform(() => naming('alice'));
    for (const authorization of [bob.pair, bob.bearer, bob.wholeAs('alice'), bob.wholeAs('bob')]) {
      expect((await registry.call(host, 'GET', '/v2/', { as: { authorization } })).status).toBe(401);
    }
  });

  test.each(['official', 'admin', 'administrator', 'bootstrap', 'central', 'platform', 'berth'])(
    'the platform cannot name the organization %s, whether it exists or not',
    async (name) => {
      const registry = openWithPlatform(() => naming(name));
      const odd = platformToken('someone', `secret-for-${crypto.randomUUID()}`);
      for (const authorization of [odd.pair, odd.bearer, odd.wholeAs(name)]) {
        const response = await registry.call(host, 'POST', `/v2/${name}/app/blobs/uploads/`, { as: { authorization } });
        expect([response.status, await codeOf(response)]).toEqual([403, 'DENIED']);
      }
      const { results } = await env.DB_CENTRAL.prepare('SELECT name FROM organizations WHERE name = ?1')
        .bind(name)
        .all();
      expect(results).toHaveLength(name === 'official' ? 1 : 0);
    },
  );

  test.each([
    'Alice',
    'alice/app',
    '../alice',
    'alice*',
    '*',
    'alice:pull',
    'alice\r\nX-Evil: 1',
    "alice' OR 1=1 --",
    '<b>',
    '',
  ])('an invalid organization name %j is 503, and never accepted', async (name) => {
    const registry = openWithPlatform(() => naming(name));
    const odd = platformToken('someone', `secret-for-${crypto.randomUUID()}`);
    for (const authorization of [odd.pair, odd.bearer, odd.wholeAs(name)]) {
      const response = await registry.call(host, 'GET', '/v2/', { as: { authorization } });
      expect([401, 503]).toContain(response.status);
      if (authorization !== odd.wholeAs(name)) expect(response.status).toBe(503);
    }
  });

  test('an upload belongs to the token that began it, not to another token of its organization', async () => {
    const registry = open();
    const begun = await registry.call(host, 'POST', '/v2/alice/app/blobs/uploads/', {
      as: { authorization: alice.pair },
    });
    const location = begun.headers.get('Location') ?? '';
    for (const authorization of [second.pair, second.bearer]) {
      const foreign = await registry.call(host, 'PATCH', location, { as: { authorization }, body: bytesOf(1, 10) });
      expect([foreign.status, await codeOf(foreign)]).toEqual([404, 'BLOB_UPLOAD_UNKNOWN']);
    }
    expect((await registry.call(host, 'PATCH', location, { as: 'alice', body: bytesOf(1, 10) })).status).toBe(404);
    // The same token in another form can continue it.
    const own = await registry.call(host, 'PATCH', location, {
      as: { authorization: alice.bearer },
      body: bytesOf(1, 10),
    });
    expect(own.status).toBe(202);
  });
});
