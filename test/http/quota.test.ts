/**
 * Quotas: a request that would exceed one is 403 with a message that says so, leaves nothing, and succeeds once there
 * is room.
 */
import { env } from 'cloudflare:workers';
import { beforeEach, describe, expect, test } from 'vitest';
import type { Digest } from '../../src/oci/digest.ts';
import { inUnits } from '../../src/stores/organizations/usage-rows.ts';
import { addUsers } from '../support/client.ts';
import { bytesOf, contentDigest, imageOf, snapshotWithoutUse } from '../support/fixture.ts';
import { type Answered, type HostName, type NodeName, ThreeHosts } from '../support/three-hosts.ts';

let hosts: ThreeHosts;

beforeEach(async () => {
  await addUsers();
  hosts = await ThreeHosts.open();
});

const APP = 'alice/app';
const UPLOADS = `/v2/${APP}/blobs/uploads/`;

async function setQuota(bytes: number | null, organization = 'alice'): Promise<void> {
  const answered = await api('PUT', `${organization}/quota`, { bytes });
  expect(answered).toMatchObject({ status: 200, body: { name: organization, quota: bytes } });
  await hosts.announce();
}

async function api(method: string, path: string, body?: object, as: 'admin' | 'alice' = 'admin') {
  const headers = body === undefined ? {} : { 'Content-Type': 'application/json' };
  const answered = await hosts.call('central', method, `/api/organizations/${path}`, {
    as,
    headers,
    body: body === undefined ? null : JSON.stringify(body),
  });
  return {
    status: answered.status,
    body: JSON.parse(new TextDecoder().decode(answered.bytes)) as Record<string, unknown>,
  };
}

const usageOf = async (organization = 'alice') => (await api('GET', `${organization}/usage`)).body;

function requireRefused({ status, bytes, headers }: Answered, words: readonly string[] = []): void {
  const { errors } = JSON.parse(new TextDecoder().decode(bytes)) as { errors: { code: string; message: string }[] };
  expect([status, errors[0]?.code, headers.get('Retry-After')]).toEqual([403, 'DENIED', null]);
  for (const word of ['exceed', 'alice', ...words]) expect(errors[0]?.message).toContain(word);
}

/** Opens a session, and returns its location. */
async function session(host: HostName = 'central'): Promise<string> {
  return (await hosts.call(host, 'POST', UPLOADS)).headers.get('Location') ?? '';
}

const patch = (host: HostName, location: string, content: Uint8Array<ArrayBuffer>) =>
  hosts.call(host, 'PATCH', location, { body: content });
const put = (host: HostName, location: string, digest: string, content: Uint8Array<ArrayBuffer> | null = null) =>
  hosts.call(host, 'PUT', `${location}?digest=${digest}`, { body: content });

const STORES: Readonly<Record<HostName, readonly [D1Database, R2Bucket]>> = {
  central: [env.DB_CENTRAL, env.BLOBS_CENTRAL],
  node1: [env.DB_NODE1!, env.BLOBS_NODE1!],
  node2: [env.DB_NODE2!, env.BLOBS_NODE2!],
};

describe.each(['central', 'node1'] as const)('at %s', (host) => {
  const [BIG, SMALL] = [bytesOf(50, 2000), bytesOf(51, 300)];
  const state = () => snapshotWithoutUse(...STORES[host]);

  /** Bytes of the manifest of the fixture. */
  let counted: number;
  /** Leaves room for this many bytes of blobs, including those of the fixture. */
  const setRoom = (bytes: number): Promise<void> => setQuota(bytes + counted);
  const figures = (bytes: number, room: number): string => `${inUnits(bytes + counted)} of ${inUnits(room + counted)}`;

  beforeEach(async () => {
    counted = (await hosts.push(host, APP, 1, 'latest')).bytes.byteLength;
    await hosts.drain();
    await setRoom(1000);
  });

  test('POST with the digest is refused', async () => {
    const before = await state();
    requireRefused(await hosts.putBlob(host, APP, BIG), ['2 kB', figures(100, 1000)]);
    expect(await state()).toBe(before);
    expect((await hosts.putBlob(host, APP, SMALL)).status).toBe(201);
  });

  test('POST, then PUT is refused, and the session can be closed once there is room', async () => {
    const [location, digest] = [await session(host), await contentDigest(BIG)];
    const before = await state();
    requireRefused(await put(host, location, digest, BIG), ['2 kB']);
    expect(await state()).toBe(before);
    await setRoom(5000);
    expect((await put(host, location, digest, BIG)).status).toBe(201);
  });

  test.each(['with a length', 'without'])('PATCH %s is refused, and the session keeps its length', async (how) => {
    const location = await session(host);
    const before = await state();
    const body = how === 'without' ? new Blob([BIG]).stream() : BIG;
    requireRefused(await hosts.call(host, 'PATCH', location, { body }));
    expect(await state()).toBe(before);
    const first = (await patch(host, location, SMALL)).headers.get('Location') ?? '';
    const between = await state();
    requireRefused(await patch(host, first, BIG), [figures(400, 1000)]);
    expect(await state()).toBe(between);
    expect((await hosts.call(host, 'GET', first)).headers.get('Range')).toBe('0-299');
    expect((await put(host, first, await contentDigest(SMALL))).status).toBe(201);
  });

  test('the last chunk in the closing PUT is refused, and the earlier chunks stay', async () => {
    const whole = new Uint8Array([...SMALL, ...BIG]);
    const [location, digest] = [await session(host), await contentDigest(whole)];
    const chunk = (await patch(host, location, SMALL)).headers.get('Location') ?? '';
    const before = await state();
    requireRefused(await put(host, chunk, digest, BIG));
    expect(await state()).toBe(before);
    await setRoom(5000);
    expect((await put(host, chunk, digest, BIG)).status).toBe(201);
    expect((await hosts.call(host, 'HEAD', `/v2/${APP}/blobs/${digest}`)).headers.get('Content-Length')).toBe('2300');
  });

  test('closing an upload that already fits is never refused', async () => {
    const chunk = (await patch(host, await session(host), SMALL)).headers.get('Location') ?? '';
    await setQuota(10);
    expect((await put(host, chunk, await contentDigest(SMALL))).status).toBe(201);
  });

  test('mounting from another organization is refused', async () => {
    await hosts.putBlob(host, 'bob/app', BIG, 'bob');
    await hosts.push(host, 'bob/app', 7, 'latest', 'bob');
    await hosts.drain();
    await hosts.call('central', 'PATCH', '/api/organizations/bob/repositories/app', {
      as: 'bob',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ visibility: 'public' }),
    });
    await hosts.drain();
    const before = await state();
    const digest = await contentDigest(BIG);
    for (const from of ['&from=bob/app', '']) {
      requireRefused(await hosts.call(host, 'POST', `${UPLOADS}?mount=${digest}${from}`), ['2 kB']);
    }
    expect(await state()).toBe(before);
    const small = await contentDigest(bytesOf(8, 70));
    expect((await hosts.call(host, 'POST', `${UPLOADS}?mount=${small}&from=bob/app`)).status).toBe(201);
    // A mount must not reveal the size of a blob that the caller cannot read: it becomes an ordinary upload.
    expect((await hosts.call(host, 'POST', `${UPLOADS}?mount=${digest}&from=official/app`)).status).toBe(202);
  });

  test('content that the organization already has adds nothing, in any of its repositories', async () => {
    await setRoom(100);
    for (const content of [bytesOf(1, 30), bytesOf(2, 70)]) {
      expect((await hosts.putBlob(host, 'alice/other', content)).status).toBe(201);
      const digest = await contentDigest(content);
      expect(
        (await hosts.call(host, 'POST', `/v2/alice/third/blobs/uploads/?mount=${digest}&from=${APP}`)).status,
      ).toBe(201);
    }
    const image = await imageOf(await contentDigest(bytesOf(1, 30)), [await contentDigest(bytesOf(2, 70))]);
    expect((await hosts.putManifest(host, 'alice/other', 'latest', image)).status).toBe(201);
  });

  test('a manifest whose blobs no longer counted is refused', async () => {
    const image = await imageOf(await contentDigest(bytesOf(1, 30)), [await contentDigest(bytesOf(2, 70))]);
    await hosts.call(host, 'DELETE', `/v2/${APP}/manifests/${image.digest}`);
    await hosts.drain();
    await setRoom(99);
    const before = await state();
    requireRefused(await hosts.putManifest(host, APP, 'again', image), [
      'manifest',
      `0 bytes of ${inUnits(99 + counted)}`,
    ]);
    expect(await state()).toBe(before);
    await setRoom(100);
    expect((await hosts.putManifest(host, APP, 'again', image)).status).toBe(201);
  });

  test.each([
    ['HEAD', 404, 200],
    ['push', 403, 201],
    ['mount', 403, 201],
  ] as const)(
    'a blob that no longer counted is in flight again by a %s, if there is room',
    async (how, refused, done) => {
      const content = bytesOf(2, 70);
      const digest = await contentDigest(content);
      const image = await imageOf(await contentDigest(bytesOf(1, 30)), [digest]);
      const again = async (): Promise<number> => {
        if (how === 'push') return (await hosts.putBlob(host, APP, content)).status;
        const [method, path] =
          how === 'HEAD' ? ['HEAD', `/v2/${APP}/blobs/${digest}`] : ['POST', `${UPLOADS}?mount=${digest}&from=${APP}`];
        return (await hosts.call(host, method, path)).status;
      };
      const used = (): Promise<number | null> =>
        STORES[host][0]
          .prepare("SELECT bytes + uploading + manifest_bytes AS used FROM usage WHERE organization = 'alice'")
          .first<number>('used');
      const remove = async (): Promise<void> => {
        expect((await hosts.call(host, 'DELETE', `/v2/${APP}/manifests/${image.digest}`)).status).toBe(202);
        await hosts.drain();
        expect([await used(), (await usageOf())['used']]).toEqual([0, 0]);
      };
      await remove();
      await setQuota(69);
      await STORES[host][0].prepare('UPDATE locations SET lease_until = 1').run();
      const before = await state();
      expect(await again()).toBe(refused);
      expect(await state()).toBe(before);
      await setQuota(70);
      expect([await again(), await used()]).toEqual([done, 70]);
      expect([await again(), await used()]).toEqual([done, 70]);
      await setRoom(100);
      expect((await hosts.putManifest(host, APP, 'again', image)).status).toBe(201);
      await hosts.drain();
      expect(await usageOf()).toMatchObject({ used: 100 + counted, in_flight: 0 });
      await remove();
    },
  );

  test('deleting makes room at once', async () => {
    await setRoom(150);
    const other = bytesOf(60, 100);
    requireRefused(await hosts.putBlob(host, APP, other), [figures(100, 150)]);
    const digest = (await hosts.call(host, 'HEAD', `/v2/${APP}/manifests/latest`)).headers.get('Docker-Content-Digest');
    expect((await hosts.call(host, 'DELETE', `/v2/${APP}/manifests/${digest}`)).status).toBe(202);
    expect((await hosts.putBlob(host, APP, other)).status).toBe(201);
  });

  test('of two uploads that fit only one by one, one is stored', async () => {
    const contents = [bytesOf(61, 600), bytesOf(62, 600)];
    const answers = await Promise.all(contents.map((content) => hosts.putBlob(host, APP, content)));
    expect(answers.map(({ status }) => status).toSorted()).toEqual([201, 403]);
    const chunks = await Promise.all(
      [bytesOf(63, 200), bytesOf(64, 200)].map(async (content) => patch(host, await session(host), content)),
    );
    expect(chunks.map(({ status }) => status).toSorted()).toEqual([202, 403]);
  });

  test('a quota of zero refuses every push; without a quota, none is refused', async () => {
    await setQuota(0);
    requireRefused(await hosts.putBlob(host, APP, bytesOf(65, 1)));
    await setQuota(null);
    expect((await hosts.putBlob(host, APP, BIG)).status).toBe(201);
  });
});

describe('at nodes', () => {
  const push = async (node: HostName, seed: number, size: number): Promise<Answered> => {
    const content = bytesOf(seed, size);
    const blob = await hosts.putBlob(node, APP, content);
    if (blob.status !== 201) return blob;
    return hosts.putManifest(node, APP, `tag${seed}`, await imageOf(await contentDigest(content), []));
  };
  /** Bytes of the manifest that {@link push} pushes along with a blob of any size. */
  let manifest: number;
  beforeEach(async () => {
    manifest = (await imageOf(await contentDigest(bytesOf(1, 100)), [])).bytes.byteLength;
  });
  const figures = (manifests: number, bytes: number, quota: number): string =>
    `${inUnits(bytes + manifests * manifest)} of ${inUnits(quota)}`;
  const pushed = async (node: NodeName, seed: number, size: number) => (await push(node, seed, size)).status;

  test("what others announced counts, and the node's own images count once", async () => {
    const quota = 1000 + 3 * manifest;
    await setQuota(quota);
    expect(await pushed('node1', 1, 400)).toBe(201);
    await hosts.drain();
    expect(await pushed('node2', 2, 400)).toBe(201);
    await hosts.drain();
    expect(await usageOf()).toMatchObject({ used: 800 + 2 * manifest, in_flight: 0, quota });
    requireRefused(await push('node1', 3, 201 + manifest), [figures(2, 800, quota)]);
    expect(await pushed('node1', 4, 200)).toBe(201);
    await hosts.drain();
    for (const host of ['central', 'node1', 'node2'] as const)
      requireRefused(await push(host, 5, 1), [figures(3, 1000, quota)]);
  });

  test('a blob that no longer counted, and that central keeps for a node, counts there and needs room', async () => {
    const image = await hosts.push('node1', APP, 1, 'latest');
    await hosts.drain();
    const [, digest] = image.manifest.requiredBlobs as [Digest, Digest];
    await hosts.evict('node1', image.manifest.requiredBlobs);
    await hosts.call('node1', 'DELETE', `/v2/${APP}/manifests/${image.digest}`);
    await hosts.drain();
    await setQuota(69);
    await env.DB_CENTRAL.prepare('UPDATE locations SET lease_until = 1').run();
    const promises = (): Promise<unknown> =>
      env.DB_CENTRAL.prepare('SELECT count(*) AS count FROM locations WHERE lease_until > 1').first('count');
    const head = async () => (await hosts.call('node1', 'HEAD', `/v2/${APP}/blobs/${digest}`)).status;
    const mount = async () => (await hosts.call('node1', 'POST', `${UPLOADS}?mount=${digest}&from=${APP}`)).status;
    expect([await head(), await mount()]).toEqual([404, 202]);
    expect(await promises()).toBe(0);
    await setQuota(70);
    expect([await head(), await mount()]).toEqual([200, 201]);
    expect(await promises()).toBe(1);
    expect(await usageOf()).toMatchObject({ used: 70, in_flight: 70 });
    await setQuota(100 + image.bytes.byteLength);
    expect((await hosts.putManifest('node1', APP, 'again', image)).status).toBe(201);
    await hosts.drain();
    expect(await usageOf()).toMatchObject({ used: 100 + image.bytes.byteLength, in_flight: 0 });
  });

  test('while central is away, a node continues with the usage that it last heard', async () => {
    const quota = 1000 + 2 * manifest;
    await setQuota(quota);
    expect((await push('central', 1, 600)).status).toBe(201);
    await hosts.drain();
    hosts.takeAway('central D1', 'central R2');
    requireRefused(await push('node1', 2, 500 + manifest), [figures(1, 600, quota)]);
    expect(await pushed('node1', 3, 300)).toBe(201);
    requireRefused(await push('node1', 4, 101), [figures(2, 900, quota)]);
  });

  test('what nodes acknowledged is announced, even if the sum exceeds the quota', async () => {
    const quota = 1000 + manifest;
    await setQuota(quota);
    hosts.takeAway('central D1', 'central R2');
    // Each node has the room that it last heard of: docs/storage.md states how far this may overshoot.
    expect(await pushed('node1', 1, 900)).toBe(201);
    expect(await pushed('node2', 2, 900)).toBe(201);
    hosts.giveBack();
    await hosts.drain();
    expect(await usageOf()).toMatchObject({ used: 1800 + 2 * manifest, quota });
    for (const tag of ['tag1', 'tag2'])
      expect((await hosts.call('central', 'GET', `/v2/${APP}/manifests/${tag}`)).status).toBe(200);
    for (const host of ['central', 'node1', 'node2'] as const)
      requireRefused(await push(host, 3, 1), [figures(2, 1800, quota)]);
  });

  test('a deletion elsewhere makes room once the node knows of it', async () => {
    await setQuota(1000 + manifest);
    await push('central', 1, 900);
    await hosts.drain();
    requireRefused(await push('node1', 2, 200));
    const { headers } = await hosts.call('central', 'HEAD', `/v2/${APP}/manifests/tag1`);
    await hosts.call('central', 'DELETE', `/v2/${APP}/manifests/${headers.get('Docker-Content-Digest')}`);
    await hosts.announce();
    expect(await pushed('node1', 2, 200)).toBe(201);
  });

  test('a node that begins to count does not count what it announced before', async () => {
    await push('node1', 1, 400);
    await hosts.drain();
    await env.DB_NODE1!.batch([
      ...['usage_blobs', 'usage_manifests'].map((table) => env.DB_NODE1!.prepare(`UPDATE ${table} SET known = 0`)),
      env.DB_NODE1!.prepare('UPDATE change_log_positions SET usage_changed = NULL'),
    ]);
    await setQuota(1000 + 2 * manifest);
    expect(await pushed('node1', 2, 600)).toBe(201);
  });

  test('a node without images knows the usage and the quota', async () => {
    await setQuota(1000 + manifest);
    await push('central', 1, 900);
    await env.DB_NODE2!.batch(
      ['change_log_positions', 'organizations', 'credentials', 'usage_at_central'].map((table) =>
        env.DB_NODE2!.prepare(`DELETE FROM ${table}`),
      ),
    );
    await hosts.announce();
    requireRefused(await push('node2', 2, 200), [figures(1, 900, 1000 + manifest)]);
  });
});

describe('the management API', () => {
  test('shows usage, bytes in flight and the quota', async () => {
    const { bytes: manifest } = await hosts.push('central', APP, 1, 'latest');
    await hosts.putBlob('central', APP, bytesOf(9, 50));
    await patch('central', await session(), bytesOf(10, 25));
    await setQuota(10_000_000_000);
    expect(await usageOf()).toEqual({
      repositories: 1,
      manifests: 1,
      tags: 1,
      blobs: 3,
      bytes: 150,
      manifest_bytes: manifest.byteLength,
      used: 175 + manifest.byteLength,
      in_flight: 75,
      quota: 10_000_000_000,
      limits: { manifests: 1_000_000, tags: 1_000_000 },
      complete: true,
    });
    expect((await api('GET', 'alice')).body).toMatchObject({ name: 'alice', quota: 10_000_000_000 });
    expect((await api('GET', 'bob')).body).toMatchObject({ quota: null });
    const { bytes } = await hosts.call('central', 'GET', '/api/organizations', { as: 'admin' });
    const { organizations } = JSON.parse(new TextDecoder().decode(bytes)) as { organizations: object[] };
    expect(organizations[0]).toMatchObject({ name: 'alice', quota: 10_000_000_000 });
  });

  test.each([[{ bytes: -1 }], [{ bytes: 1.5 }], [{ bytes: '10' }], [{}], [{ bytes: 1, more: 2 }]])(
    'refuses %j',
    async (body) => {
      expect((await api('PUT', 'alice/quota', body)).status).toBe(400);
      expect((await api('GET', 'alice')).body).toMatchObject({ quota: null });
    },
  );

  test("has no quota of an unknown organization, and does not let an organization's admin set its own", async () => {
    expect((await api('PUT', 'nobody/quota', { bytes: 1 })).status).toBe(404);
    expect((await api('PUT', 'alice/quota', { bytes: 1 }, 'alice')).status).toBe(403);
  });

  test("gives the new owner of a removed organization's name no quota", async () => {
    await setQuota(5);
    expect((await hosts.call('central', 'DELETE', '/api/organizations/alice', { as: 'admin' })).status).toBe(204);
    await env.DB_CENTRAL.prepare("UPDATE organizations SET removed_at = 0 WHERE name = 'alice'").run();
    const created = await hosts.call('central', 'POST', '/api/organizations', {
      as: 'admin',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ name: 'alice' }),
    });
    expect(created.status).toBe(201);
    expect((await api('GET', 'alice')).body).toMatchObject({ quota: null });
  });
});
