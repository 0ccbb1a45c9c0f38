/** Quotas at nodes, which count their own content and the usage that central last reported. */
import { env } from 'cloudflare:workers';
import { beforeEach, describe, expect, test } from 'vitest';
import type { Digest } from '../../src/oci/digest.ts';
import { inUnits } from '../../src/stores/organizations/usage-rows.ts';
import { addUsers } from '../support/client.ts';
import { bytesOf, contentDigest, imageOf } from '../support/fixture.ts';
import { requireRefused, setQuota, usageOf } from '../support/organization-usage.ts';
import { type Answered, type HostName, type NodeName, ThreeHosts } from '../support/three-hosts.ts';

let hosts: ThreeHosts;

beforeEach(async () => {
  await addUsers();
  hosts = await ThreeHosts.open();
});

const APP = 'alice/app';
const UPLOADS = `/v2/${APP}/blobs/uploads/`;

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

  test("images that others announced count, and the node's own images count once", async () => {
    const quota = 1000 + 3 * manifest;
    await setQuota(hosts, quota);
    expect(await pushed('node1', 1, 400)).toBe(201);
    await hosts.drain();
    expect(await pushed('node2', 2, 400)).toBe(201);
    await hosts.drain();
    expect(await usageOf(hosts)).toMatchObject({ used: 800 + 2 * manifest, in_flight: 0, quota });
    requireRefused(await push('node1', 3, 201 + manifest), figures(2, 800, quota));
    expect(await pushed('node1', 4, 200)).toBe(201);
    await hosts.drain();
    for (const host of ['central', 'node1', 'node2'] as const)
      requireRefused(await push(host, 5, 1), figures(3, 1000, quota));
  });

  test('a blob that no longer counted, and that central keeps for a node, counts there and needs room', async () => {
    const image = await hosts.push('node1', APP, 1, 'latest');
    await hosts.drain();
    const [, digest] = image.manifest.requiredBlobs as [Digest, Digest];
    await hosts.evict('node1', image.manifest.requiredBlobs);
    await hosts.call('node1', 'DELETE', `/v2/${APP}/manifests/${image.digest}`);
    await hosts.drain();
    await setQuota(hosts, 69);
    await env.DB_CENTRAL.prepare('UPDATE locations SET lease_until = 1').run();
    const promises = (): Promise<unknown> =>
      env.DB_CENTRAL.prepare('SELECT count(*) AS count FROM locations WHERE lease_until > 1').first('count');
    const head = async () => (await hosts.call('node1', 'HEAD', `/v2/${APP}/blobs/${digest}`)).status;
    const mount = async () => (await hosts.call('node1', 'POST', `${UPLOADS}?mount=${digest}&from=${APP}`)).status;
    expect([await head(), await mount()]).toEqual([404, 202]);
    expect(await promises()).toBe(0);
    await setQuota(hosts, 70);
    expect([await head(), await mount()]).toEqual([200, 201]);
    expect(await promises()).toBe(1);
    expect(await usageOf(hosts)).toMatchObject({ used: 70, in_flight: 70 });
    await setQuota(hosts, 100 + image.bytes.byteLength);
    expect((await hosts.putManifest('node1', APP, 'again', image)).status).toBe(201);
    await hosts.drain();
    expect(await usageOf(hosts)).toMatchObject({ used: 100 + image.bytes.byteLength, in_flight: 0 });
  });

  test('while central is away, a node continues with the usage that it last heard', async () => {
    const quota = 1000 + 2 * manifest;
    await setQuota(hosts, quota);
    expect((await push('central', 1, 600)).status).toBe(201);
    await hosts.drain();
    hosts.takeAway('central D1', 'central R2');
    requireRefused(await push('node1', 2, 500 + manifest), figures(1, 600, quota));
    expect(await pushed('node1', 3, 300)).toBe(201);
    requireRefused(await push('node1', 4, 101), figures(2, 900, quota));
  });

  test('blobs that nodes acknowledged are announced, even if the sum exceeds the quota', async () => {
    const quota = 1000 + manifest;
    await setQuota(hosts, quota);
    hosts.takeAway('central D1', 'central R2');
    // Each node has the room that it last heard of: docs/storage.md states how far this may overshoot.
    expect(await pushed('node1', 1, 900)).toBe(201);
    expect(await pushed('node2', 2, 900)).toBe(201);
    hosts.giveBack();
    await hosts.drain();
    expect(await usageOf(hosts)).toMatchObject({ used: 1800 + 2 * manifest, quota });
    for (const tag of ['tag1', 'tag2'])
      expect((await hosts.call('central', 'GET', `/v2/${APP}/manifests/${tag}`)).status).toBe(200);
    for (const host of ['central', 'node1', 'node2'] as const)
      requireRefused(await push(host, 3, 1), figures(2, 1800, quota));
  });

  test('a deletion elsewhere makes room once the node knows of it', async () => {
    await setQuota(hosts, 1000 + manifest);
    await push('central', 1, 900);
    await hosts.drain();
    requireRefused(await push('node1', 2, 200));
    const { headers } = await hosts.call('central', 'HEAD', `/v2/${APP}/manifests/tag1`);
    await hosts.call('central', 'DELETE', `/v2/${APP}/manifests/${headers.get('Docker-Content-Digest')}`);
    await hosts.announce();
    expect(await pushed('node1', 2, 200)).toBe(201);
  });

  test('a node without images knows the usage and the quota', async () => {
    await setQuota(hosts, 1000 + manifest);
    await push('central', 1, 900);
    await env.DB_NODE2!.batch(
      ['change_log_positions', 'organizations', 'credentials', 'usage_at_central'].map((table) =>
        env.DB_NODE2!.prepare(`DELETE FROM ${table}`),
      ),
    );
    await hosts.announce();
    requireRefused(await push('node2', 2, 200), figures(1, 900, 1000 + manifest));
  });
});
