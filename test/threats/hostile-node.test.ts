/**
 * A hostile node or upstream, and invariant 4: other stores accept no bytes from a node whose bucket does not match its
 * rows.
 */
import { env } from 'cloudflare:workers';
import { beforeEach, describe, expect, test } from 'vitest';
import type { Digest } from '../../src/oci/digest.ts';
import { WHOLE_BYTES } from '../../src/replication/transfer.ts';
import { addUsers } from '../support/client.ts';
import { bytesOf, contentDigest, imageOf } from '../support/fixture.ts';
import { SAMPLE } from '../support/sample.ts';
import { ThreeHosts } from '../support/three-hosts.ts';

const CONFIG = bytesOf(1, 30);

let hosts: ThreeHosts;

beforeEach(async () => {
  await addUsers();
  hosts = await ThreeHosts.open();
});

/** Pushes an image with one layer of `size` bytes to node1, then overwrites the layer's object. */
async function spoiled(size: number): Promise<{ digest: Digest; layer: Digest; content: Uint8Array<ArrayBuffer> }> {
  const content = new Uint8Array(size).fill(7);
  for (const bytes of [CONFIG, content]) expect((await hosts.putBlob('node1', 'alice/app', bytes)).status).toBe(201);
  const layer = await contentDigest(content);
  const image = await imageOf(await contentDigest(CONFIG), [layer]);
  expect((await hosts.putManifest('node1', 'alice/app', 'latest', image)).status).toBe(201);
  await write(layer, new Uint8Array(size).fill(8));
  return { digest: image.digest, layer, content };
}

async function write(digest: Digest, content: Uint8Array<ArrayBuffer>): Promise<void> {
  const key = await keyAt(env.DB_NODE1!, 'node1', digest);
  await env.BLOBS_NODE1!.put(key ?? '', content);
}

async function keyAt(database: D1Database, store: string, digest: Digest): Promise<string | undefined> {
  const row = database.prepare('SELECT key FROM locations WHERE store = ?1 AND digest = ?2').bind(store, digest);
  return (await row.first<{ key: string }>())?.key;
}

async function json(path: string, as: 'alice' | 'admin'): Promise<unknown> {
  const { bytes } = await hosts.call('node1', 'GET', `/api/${path}`, { as });
  return JSON.parse(new TextDecoder().decode(bytes));
}

const IMAGE = 'organizations/alice/repositories/app/images/latest';

/** Returns the number of objects in the bucket: a refused copy must leave none. */
async function objectsOf(bucket: R2Bucket): Promise<number> {
  return (await bucket.list()).objects.length;
}

const SIZES = [
  ['small, checked by R2 in one put', 1000],
  ['large, in parts, read back through a hash', WHOLE_BYTES + 1_000_000],
] as const;

describe.each(SAMPLE === 1 ? SIZES : SIZES.slice(0, 1))(
  "a hostile node's other bytes under a digest, %s,",
  (_how, size) => {
    test('are never settled: the copy is parked, and the image and the queue say so; after a repair it settles', async () => {
      const { layer, content } = await spoiled(size);
      await hosts.drain();
      await hosts.drain();
      expect(await keyAt(env.DB_CENTRAL, 'central', layer)).toBeUndefined();
      // Only the config was copied.
      expect(await objectsOf(env.BLOBS_CENTRAL)).toBe(1);
      const wrong = { attempts: 1, last_error: expect.stringContaining(layer) };
      expect(await json(IMAGE, 'alice')).toMatchObject({ state: 'parked', ...wrong, blobs: { copied: 1, total: 2 } });
      expect(await json('replication/queues/node1/parked', 'admin')).toMatchObject({
        jobs: [{ job: `copy up ${layer}`, ...wrong }],
      });

      await write(layer, content);
      const { state, replicator } = hosts.queueOf('node1');
      expect(state.retry(undefined)).toBe(1);
      await replicator.moveBytes(() => true);
      expect(await json(IMAGE, 'alice')).toMatchObject({ state: 'settled', attempts: 0, last_error: null });
      const key = await keyAt(env.DB_CENTRAL, 'central', layer);
      const object = await env.BLOBS_CENTRAL.get(key ?? '');
      expect(await contentDigest(new Uint8Array((await object?.arrayBuffer()) ?? new ArrayBuffer(0)))).toBe(layer);
    });

    test('are not kept by another node that copies them down', async () => {
      const { layer } = await spoiled(size);
      await hosts.announce();
      const { replicator, state } = hosts.queueOf('node2');
      replicator.addCopiesDown('alice/app' as Parameters<typeof replicator.addCopiesDown>[0], [layer]);
      await replicator.moveBytes(() => true);
      expect(await keyAt(env.DB_NODE2!, 'node2', layer)).toBeUndefined();
      expect(await objectsOf(env.BLOBS_NODE2!)).toBe(0);
      expect(state.parkedJobs('', 10)).toMatchObject([{ id: `copy down alice/app ${layer}`, parked: true }]);
    });
  },
);

describe('a hostile node or upstream: deleted content does not come back through a node', () => {
  const content = bytesOf(5, 100);
  const read = async (path: string): Promise<number[]> =>
    Promise.all(
      (['central', 'node1', 'node2'] as const).map(async (host) => (await hosts.call(host, 'GET', path)).status),
    );

  test.each(['central', 'node1', 'node2'] as const)('a blob that all stores hold, deleted at %s', async (where) => {
    for (const host of ['central', 'node1', 'node2'] as const) await hosts.putBlob(host, 'alice/app', content);
    const path = `/v2/alice/app/blobs/${await contentDigest(content)}`;
    expect((await hosts.call(where, 'DELETE', path)).status).toBe(202);
    await hosts.drain();
    expect(await read(path)).toEqual([404, 404, 404]);
    // Pushing the same bytes elsewhere does not bring it back either.
    expect((await hosts.putBlob('node1', 'alice/other', content)).status).toBe(201);
    await hosts.drain();
    expect(await read(path)).toEqual([404, 404, 404]);
  });

  test('a blob whose copy down to a node is still queued', async () => {
    const path = `/v2/alice/app/blobs/${await contentDigest(content)}`;
    await hosts.putBlob('central', 'alice/app', content);
    expect((await hosts.call('node2', 'GET', path)).status).toBe(200);
    expect(hosts.queueOf('node2').state.copyDownCount()).toBe(1);
    expect((await hosts.call('central', 'DELETE', path)).status).toBe(202);
    await hosts.drain();
    expect(await read(path)).toEqual([404, 404, 404]);
    expect(await keyAt(env.DB_NODE2!, 'node2', await contentDigest(content))).toBeUndefined();
  });

  test('an image that was pushed to a node, and that central learns of after the deletion', async () => {
    hosts.takeAway('queues');
    const image = await hosts.push('node1', 'alice/app', 1, 'latest');
    await hosts.push('central', 'alice/app', 1, 'latest');
    expect((await hosts.call('central', 'DELETE', `/v2/alice/app/manifests/${image.digest}`)).status).toBe(202);
    hosts.giveBack();
    await hosts.drain();
    for (const reference of ['latest', image.digest]) {
      expect(await read(`/v2/alice/app/manifests/${reference}`)).toEqual([404, 404, 404]);
    }
    // A new push brings it back, at the node as anywhere.
    expect((await hosts.putManifest('node1', 'alice/app', 'latest', image)).status).toBe(201);
    await hosts.drain();
    expect(await read('/v2/alice/app/manifests/latest')).toEqual([200, 200, 200]);
  });

  test('a repository that was removed at central, by content that a node still holds', async () => {
    const image = await hosts.push('node1', 'alice/app', 1, 'latest');
    await hosts.drain();
    const removed = await hosts.call('central', 'DELETE', '/api/organizations/alice/repositories/app');
    expect(removed.status).toBe(204);
    await hosts.drain();
    await hosts.push('node2', 'alice/app', 50, 'new');
    await hosts.drain();
    for (const path of [
      'manifests/latest',
      `manifests/${image.digest}`,
      ...image.manifest.requiredBlobs.map((each) => `blobs/${each}`),
    ]) {
      expect([path, await read(`/v2/alice/app/${path}`)]).toEqual([path, [404, 404, 404]]);
    }
    expect(await read('/v2/alice/app/manifests/new')).toEqual([200, 200, 200]);
  });
});
