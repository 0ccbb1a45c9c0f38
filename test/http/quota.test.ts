/**
 * Quotas: a request that would exceed one is 403 with a message that says so, leaves nothing, and succeeds once there
 * is room.
 */
import { env } from 'cloudflare:workers';
import { beforeEach, describe, expect, test } from 'vitest';
import { inUnits } from '../../src/stores/organizations/usage-rows.ts';
import { addUsers } from '../support/client.ts';
import { bytesOf, contentDigest, imageOf, snapshotWithoutUse } from '../support/fixture.ts';
import { askOrganizations, requireRefused, setQuota, usageOf } from '../support/organization-usage.ts';
import { type HostName, ThreeHosts } from '../support/three-hosts.ts';

let hosts: ThreeHosts;

beforeEach(async () => {
  await addUsers();
  hosts = await ThreeHosts.open();
});

const APP = 'alice/app';
const UPLOADS = `/v2/${APP}/blobs/uploads/`;

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
  const setRoom = (bytes: number): Promise<void> => setQuota(hosts, bytes + counted);
  const figures = (bytes: number, room: number): string => `${inUnits(bytes + counted)} of ${inUnits(room + counted)}`;

  beforeEach(async () => {
    counted = (await hosts.push(host, APP, 1, 'latest')).bytes.byteLength;
    await hosts.drain();
    await setRoom(1000);
  });

  test('POST with the digest is refused', async () => {
    const before = await state();
    requireRefused(await hosts.putBlob(host, APP, BIG), '2 kB', figures(100, 1000));
    expect(await state()).toBe(before);
    expect((await hosts.putBlob(host, APP, SMALL)).status).toBe(201);
  });

  test('POST, then PUT is refused, and the session can be closed once there is room', async () => {
    const [location, digest] = [await session(host), await contentDigest(BIG)];
    const before = await state();
    requireRefused(await put(host, location, digest, BIG), '2 kB');
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
    requireRefused(await patch(host, first, BIG), figures(400, 1000));
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
    await setQuota(hosts, 10);
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
      requireRefused(await hosts.call(host, 'POST', `${UPLOADS}?mount=${digest}${from}`), '2 kB');
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
    requireRefused(
      await hosts.putManifest(host, APP, 'again', image),
      'manifest',
      `0 bytes of ${inUnits(99 + counted)}`,
    );
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
        expect([await used(), (await usageOf(hosts))['used']]).toEqual([0, 0]);
      };
      await remove();
      await setQuota(hosts, 69);
      await STORES[host][0].prepare('UPDATE locations SET lease_until = 1').run();
      const before = await state();
      expect(await again()).toBe(refused);
      expect(await state()).toBe(before);
      await setQuota(hosts, 70);
      expect([await again(), await used()]).toEqual([done, 70]);
      expect([await again(), await used()]).toEqual([done, 70]);
      await setRoom(100);
      expect((await hosts.putManifest(host, APP, 'again', image)).status).toBe(201);
      await hosts.drain();
      expect(await usageOf(hosts)).toMatchObject({ used: 100 + counted, in_flight: 0 });
      await remove();
    },
  );

  test('deleting makes room at once', async () => {
    await setRoom(150);
    const other = bytesOf(60, 100);
    requireRefused(await hosts.putBlob(host, APP, other), figures(100, 150));
    const digest = (await hosts.call(host, 'HEAD', `/v2/${APP}/manifests/latest`)).headers.get('Docker-Content-Digest');
    expect((await hosts.call(host, 'DELETE', `/v2/${APP}/manifests/${digest}`)).status).toBe(202);
    expect((await hosts.putBlob(host, APP, other)).status).toBe(201);
  });

  test('if there is room for only one of two uploads, one is stored', async () => {
    const contents = [bytesOf(61, 600), bytesOf(62, 600)];
    const answers = await Promise.all(contents.map((content) => hosts.putBlob(host, APP, content)));
    expect(answers.map(({ status }) => status).toSorted()).toEqual([201, 403]);
    const chunks = await Promise.all(
      [bytesOf(63, 200), bytesOf(64, 200)].map(async (content) => patch(host, await session(host), content)),
    );
    expect(chunks.map(({ status }) => status).toSorted()).toEqual([202, 403]);
  });

  test('a quota of zero refuses every push; without a quota, none is refused', async () => {
    await setQuota(hosts, 0);
    requireRefused(await hosts.putBlob(host, APP, bytesOf(65, 1)));
    await setQuota(hosts, null);
    expect((await hosts.putBlob(host, APP, BIG)).status).toBe(201);
  });
});

describe('the management API', () => {
  test('shows usage, bytes in flight and the quota', async () => {
    const { bytes: manifest } = await hosts.push('central', APP, 1, 'latest');
    await hosts.putBlob('central', APP, bytesOf(9, 50));
    await patch('central', await session(), bytesOf(10, 25));
    await setQuota(hosts, 10_000_000_000);
    expect(await usageOf(hosts)).toEqual({
      repositories: 1,
      manifests: 1,
      tags: 1,
      blobs: 3,
      bytes: 150,
      manifest_bytes: manifest.byteLength,
      used: 175 + manifest.byteLength,
      in_flight: 75,
      quota: 10_000_000_000,
      limits: { manifests: 1_000_000, tags: 1_000_000, blobs: 3_000_000 },
      complete: true,
    });
    expect((await askOrganizations(hosts, 'GET', 'alice')).body).toMatchObject({
      name: 'alice',
      quota: 10_000_000_000,
    });
    expect((await askOrganizations(hosts, 'GET', 'bob')).body).toMatchObject({ quota: null });
    const { bytes } = await hosts.call('central', 'GET', '/api/organizations', { as: 'admin' });
    const { organizations } = JSON.parse(new TextDecoder().decode(bytes)) as { organizations: object[] };
    expect(organizations[0]).toMatchObject({ name: 'alice', quota: 10_000_000_000 });
  });

  test.each([[{ bytes: -1 }], [{ bytes: 1.5 }], [{ bytes: '10' }], [{}], [{ bytes: 1, more: 2 }]])(
    'refuses %j',
    async (body) => {
      expect((await askOrganizations(hosts, 'PUT', 'alice/quota', { body })).status).toBe(400);
      expect((await askOrganizations(hosts, 'GET', 'alice')).body).toMatchObject({ quota: null });
    },
  );

  test("has no quota of an unknown organization, and does not let an organization's admin set its own", async () => {
    expect((await askOrganizations(hosts, 'PUT', 'nobody/quota', { body: { bytes: 1 } })).status).toBe(404);
    expect((await askOrganizations(hosts, 'PUT', 'alice/quota', { as: 'alice', body: { bytes: 1 } })).status).toBe(403);
  });

  test("gives the new owner of a removed organization's name no quota", async () => {
    await setQuota(hosts, 5);
    expect((await hosts.call('central', 'DELETE', '/api/organizations/alice', { as: 'admin' })).status).toBe(204);
    await env.DB_CENTRAL.prepare("UPDATE organizations SET removed_at = 0 WHERE name = 'alice'").run();
    const created = await hosts.call('central', 'POST', '/api/organizations', {
      as: 'admin',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ name: 'alice' }),
    });
    expect(created.status).toBe(201);
    expect((await askOrganizations(hosts, 'GET', 'alice')).body).toMatchObject({ quota: null });
  });
});
