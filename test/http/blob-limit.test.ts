/** The limit of an organization's blobs, which holds even without a quota, and counts open uploads. */
import { env } from 'cloudflare:workers';
import { beforeEach, describe, expect, test } from 'vitest';
import { addUsers } from '../support/client.ts';
import { bytesOf, contentDigest, imageOf, snapshotWithoutUse } from '../support/fixture.ts';
import { requireRefused, usageOf } from '../support/organization-usage.ts';
import { type Answered, type HostName, ThreeHosts } from '../support/three-hosts.ts';

const APP = 'alice/app';
const UPLOADS = `/v2/${APP}/blobs/uploads/`;
const HOSTS = ['central', 'node1', 'node2'] as const;
const STORES: Readonly<Record<HostName, readonly [D1Database, R2Bucket]>> = {
  central: [env.DB_CENTRAL, env.BLOBS_CENTRAL],
  node1: [env.DB_NODE1!, env.BLOBS_NODE1!],
  node2: [env.DB_NODE2!, env.BLOBS_NODE2!],
};
const REFUSED = ['limit of 2 blobs', 'has 2', 'open uploads', 'Delete images'];

let hosts: ThreeHosts;

beforeEach(async () => {
  await addUsers();
  hosts = await ThreeHosts.open({ organization_blobs: 2 });
});

const content = (seed: number): Uint8Array<ArrayBuffer> => bytesOf(seed, 10);
const put = (host: HostName, seed: number, repository = APP): Promise<Answered> =>
  hosts.putBlob(host, repository, content(seed));
const putStatus = async (...of: Parameters<typeof put>): Promise<number> => (await put(...of)).status;
const locationOf = ({ headers }: Answered): string => headers.get('Location') ?? '';
const session = async (host: HostName): Promise<string> => locationOf(await hosts.call(host, 'POST', UPLOADS));
const patch = (host: HostName, location: string, seed: number): Promise<Answered> =>
  hosts.call(host, 'PATCH', location, { body: content(seed) });
const close = async (host: HostName, location: string, seed: number, body: Uint8Array<ArrayBuffer> | null = null) =>
  hosts.call(host, 'PUT', `${location}?digest=${await contentDigest(content(seed))}`, { body });
const image = async (...seeds: readonly [number, ...number[]]) => {
  const [config, ...layers] = await Promise.all(seeds.map((seed) => contentDigest(content(seed))));
  return imageOf(config!, layers);
};
const pushed = async (host: HostName, tag: string, ...seeds: readonly [number, ...number[]]): Promise<number> => {
  for (const seed of seeds) expect(await putStatus(host, seed)).toBe(201);
  return (await hosts.putManifest(host, APP, tag, await image(...seeds))).status;
};

describe.each(['central', 'node1'] as const)('at %s', (host) => {
  const state = (): Promise<string> => snapshotWithoutUse(...STORES[host]);

  test('a blob beyond the limit is refused and leaves nothing, and one that is there is not refused', async () => {
    expect([await putStatus(host, 1), await putStatus(host, 2)]).toEqual([201, 201]);
    const before = await state();
    requireRefused(await put(host, 3), 'this blob', ...REFUSED);
    requireRefused(await put(host, 3, 'alice/other'), ...REFUSED);
    requireRefused(await close(host, await session(host), 3, content(3)), 'this blob', ...REFUSED);
    expect(await state()).toBe(before);
    expect([await putStatus(host, 1), await putStatus(host, 2, 'alice/other')]).toEqual([201, 201]);
    const manifest = await image(1, 2);
    expect((await hosts.putManifest(host, APP, 'latest', manifest)).status).toBe(201);
    await hosts.drain();
    requireRefused(await put(host, 3), ...REFUSED);
    await hosts.call(host, 'DELETE', `/v2/${APP}/manifests/${manifest.digest}`);
    await hosts.call(host, 'DELETE', `/v2/alice/other/blobs/${await contentDigest(content(2))}`);
    await hosts.drain();
    expect(await putStatus(host, 3)).toBe(201);
  });

  test('open uploads count: no new one begins beyond the limit, and each that began is closed', async () => {
    const open = await session(host);
    const [first, second] = [await patch(host, await session(host), 1), await patch(host, await session(host), 2)];
    expect([first.status, second.status]).toEqual([202, 202]);
    const before = await state();
    requireRefused(await patch(host, open, 3), 'this upload', ...REFUSED);
    const large = bytesOf(4, 5 * 1024 ** 2);
    const headers = { 'Content-Range': `0-${large.byteLength - 1}` };
    requireRefused(await hosts.call(host, 'PATCH', open, { headers, body: large }), 'this upload', ...REFUSED);
    requireRefused(await put(host, 3), 'this blob', ...REFUSED);
    expect(await state()).toBe(before);
    expect((await close(host, locationOf(first), 1)).status).toBe(201);
    requireRefused(await put(host, 3), ...REFUSED);
    const whole = new Uint8Array([...content(2), ...content(4)]);
    const last = `${locationOf(second)}?digest=${await contentDigest(whole)}`;
    expect((await hosts.call(host, 'PUT', last, { body: content(4) })).status).toBe(201);
    requireRefused(await put(host, 3), ...REFUSED);
  });

  test('a cancelled upload makes room', async () => {
    const first = await patch(host, await session(host), 1);
    expect(await putStatus(host, 2)).toBe(201);
    requireRefused(await put(host, 3));
    expect((await hosts.call(host, 'DELETE', locationOf(first))).status).toBe(204);
    expect(await putStatus(host, 3)).toBe(201);
  });

  test("mounting another organization's blob is refused, and mounting one's own is not", async () => {
    expect((await hosts.putBlob(host, 'bob/app', content(3), 'bob')).status).toBe(201);
    const theirs = await imageOf(await contentDigest(content(3)), []);
    expect((await hosts.putManifest(host, 'bob/app', 'latest', theirs, 'bob')).status).toBe(201);
    await hosts.drain();
    await hosts.call('central', 'PATCH', '/api/organizations/bob/repositories/app', {
      as: 'bob',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ visibility: 'public' }),
    });
    await hosts.drain();
    expect([await putStatus(host, 1), await putStatus(host, 2)]).toEqual([201, 201]);
    const mount = async (seed: number, from: string): Promise<Answered> =>
      hosts.call(host, 'POST', `/v2/alice/other/blobs/uploads/?mount=${await contentDigest(content(seed))}${from}`);
    const before = await state();
    for (const from of ['&from=bob/app', '']) requireRefused(await mount(3, from), 'this blob', ...REFUSED);
    expect(await state()).toBe(before);
    expect((await mount(1, `&from=${APP}`)).status).toBe(201);
  });

  test('a blob that had stopped counting needs room: for a HEAD, a push, and a manifest', async () => {
    const old = await image(1, 2);
    expect(await pushed(host, 'old', 1, 2)).toBe(201);
    await hosts.drain();
    await hosts.call(host, 'DELETE', `/v2/${APP}/manifests/${old.digest}`);
    await hosts.drain();
    expect(await pushed(host, 'three', 3)).toBe(201);
    const head = async (seed: number): Promise<number> =>
      (await hosts.call(host, 'HEAD', `/v2/${APP}/blobs/${await contentDigest(content(seed))}`)).status;
    requireRefused(await hosts.putManifest(host, APP, 'old', old), 'this manifest', 'uses again', 'limit of 2 blobs');
    expect(await head(1)).toBe(200);
    expect((await hosts.putManifest(host, APP, 'one', await image(1))).status).toBe(201);
    await hosts.drain();
    requireRefused(await hosts.putManifest(host, APP, 'old', old), 'this manifest', 'uses again', 'limit of 2 blobs');
    requireRefused(await put(host, 2), ...REFUSED);
    expect(await head(2)).toBe(404);
  });

  test('if there is room for only one of two blobs, one is stored', async () => {
    expect(await putStatus(host, 1)).toBe(201);
    const answers = await Promise.all([put(host, 2), put(host, 3)]);
    expect(answers.map(({ status }) => status).toSorted()).toEqual([201, 403]);
  });
});

describe('at nodes', () => {
  test("blobs that central counts are counted, and the node's own blobs once", async () => {
    expect(await pushed('central', 'one', 1)).toBe(201);
    await hosts.drain();
    expect(await pushed('node1', 'two', 2)).toBe(201);
    hosts.takeAway('central D1', 'central R2');
    requireRefused(await put('node1', 3), ...REFUSED);
    hosts.giveBack();
    await hosts.drain();
    for (const host of HOSTS) requireRefused(await put(host, 3), ...REFUSED);
    expect(await usageOf(hosts)).toMatchObject({ blobs: 2, limits: { blobs: 2 } });
  });

  test("central's open uploads count as well, once central reports", async () => {
    expect(await pushed('central', 'one', 1)).toBe(201);
    expect((await patch('central', await session('central'), 2)).status).toBe(202);
    expect((await hosts.putManifest('central', APP, 'again', await image(1))).status).toBe(201);
    await hosts.drain();
    requireRefused(await put('node2', 3), ...REFUSED);
  });

  test('blobs that nodes acknowledged are announced, even if the sum exceeds the limit', async () => {
    hosts.takeAway('central D1', 'central R2');
    expect([await pushed('node1', 'one', 1, 2), await pushed('node2', 'two', 3, 4)]).toEqual([201, 201]);
    hosts.giveBack();
    await hosts.drain();
    expect(await usageOf(hosts)).toMatchObject({ manifests: 2, blobs: 4 });
    for (const tag of ['one', 'two'])
      expect((await hosts.call('central', 'GET', `/v2/${APP}/manifests/${tag}`)).status).toBe(200);
    for (const host of HOSTS) requireRefused(await put(host, 5), 'limit of 2 blobs', 'has 4');
  });

  test('an image that central counts may be pushed to a node that never had it', async () => {
    expect(await pushed('central', 'one', 1, 2)).toBe(201);
    await hosts.drain();
    for (const seed of [1, 2]) {
      const digest = await contentDigest(content(seed));
      expect((await hosts.call('node1', 'HEAD', `/v2/${APP}/blobs/${digest}`)).status).toBe(200);
    }
    expect((await hosts.putManifest('node1', APP, 'one', await image(1, 2))).status).toBe(201);
    expect((await hosts.putManifest('node1', APP, 'two', await image(2, 1))).status).toBe(201);
  });
});
