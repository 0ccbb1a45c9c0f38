/** A node asks central's bucket for bytes before it has read the row that allows it to serve them. */
import { env } from 'cloudflare:workers';
import { beforeEach, expect, test } from 'vitest';
import type { Digest } from '../../src/oci/digest.ts';
import type { RepositoryName, Tag } from '../../src/oci/reference.ts';
import { NotPublic } from '../../src/registry/access.ts';
import { pushImage } from '../support/collecting.ts';
import { resetCounts } from '../support/counting.ts';
import { bytesIn, bytesOf, first, granted, ifPublic, type Image } from '../support/fixture.ts';
import { type Host, type Hosts, openHosts } from '../support/hosts.ts';

const LATEST = { kind: 'tag', tag: 'latest' as Tag } as const;

let hosts: Hosts;
let image: Image;
let config: Digest;

beforeEach(async () => {
  hosts = await openHosts();
  image = await pushImage(hosts.central, 1, ['latest']);
  config = first(image.manifest.requiredBlobs);
  await hosts.node1.registry.getManifest(granted(), LATEST);
  await hosts.settled();
  resetCounts(hosts.central.counts);
});

/** Reads the whole config at a host. */
async function read({ registry }: Host): Promise<Uint8Array> {
  return bytesIn(await (await registry.getBlob(granted(), config, true)).open());
}

const keyAtCentral = (): Promise<string | null> =>
  env.DB_CENTRAL.prepare("SELECT key FROM locations WHERE digest = ?1 AND store = 'central'")
    .bind(config)
    .first<string>('key');

test('the bucket is asked at the same time as the database', async () => {
  const asked: string[] = [];
  const { promise, resolve } = Promise.withResolvers<void>();
  hosts.central.gate = async (call, work) => {
    asked.push(call);
    if (asked.length === 2) resolve();
    await promise;
    return work();
  };
  expect(await read(hosts.node1)).toEqual(bytesOf(1, 100));
  expect(asked.toSorted()).toEqual(['all', 'get']);
});

test('the keys come with the manifest, in one call to central', async () => {
  const answered = Promise.withResolvers<void>();
  const asked: string[] = [];
  hosts.central.gate = async (call, work) => {
    if (asked.push(call) > 1) await answered.promise;
    return work();
  };
  await hosts.node2.registry.getManifest(granted(), LATEST);
  answered.resolve();
  await hosts.settled();
  asked.length = 0;
  await read(hosts.node2);
  expect(asked.toSorted()).toEqual(['all', 'get']);
});

test('central names no keys while a tag still names the manifest that the node held at the last pull', async () => {
  const rows: (string | null)[] = [];
  const pull = async (): Promise<void> => {
    await hosts.node1.registry.getManifest(granted(), LATEST);
    await hosts.settled();
  };
  hosts.central.gate = async (_, work) => {
    const answer = await work();
    for (const { keys } of (answer as { results?: { keys?: string | null }[] }).results ?? [])
      if (keys !== undefined) rows.push(keys);
    return answer;
  };
  // The node has held the manifest since the first pull, which `beforeEach` makes, but learns that with the second.
  await pull();
  await pull();
  expect(rows.map((keys) => keys === null)).toEqual([false, true]);
  await pushImage(hosts.central, 5, ['latest']);
  rows.length = 0;
  await pull();
  expect(rows.map((keys) => keys === null)).toEqual([false]);
});

test('bytes under another key than the row names are not served', async () => {
  const old = await keyAtCentral();
  await env.BLOBS_CENTRAL.put('blobs/moved', bytesOf(1, 100));
  await env.BLOBS_CENTRAL.put(old!, 'wrong bytes');
  await env.DB_CENTRAL.prepare("UPDATE locations SET key = 'blobs/moved' WHERE digest = ?1").bind(config).run();
  expect(await read(hosts.node1)).toEqual(bytesOf(1, 100));
  expect(hosts.central.counts.classB).toBe(2);
  // The node has forgotten the old key.
  expect(await read(hosts.node1)).toEqual(bytesOf(1, 100));
  expect(hosts.central.counts.classB).toBe(3);
});

test('bytes of a location that is known to be damaged are not served', async () => {
  await env.DB_CENTRAL.prepare("UPDATE locations SET damage = 'wrong bytes' WHERE digest = ?1").bind(config).run();
  await expect(read(hosts.node1)).rejects.toMatchObject({ kind: 'UNAVAILABLE' });
});

test('a blob that was deleted since is unknown, even while the bucket never answers', async () => {
  for (const database of [env.DB_CENTRAL, env.DB_NODE1!]) await database.prepare('DELETE FROM links').run();
  hosts.central.gate = (call, work) => (call === 'get' ? new Promise(() => undefined) : work());
  await expect(read(hosts.node1)).rejects.toMatchObject({ kind: 'BLOB_UNKNOWN' });
});

test('no bytes are asked for on behalf of a caller who may not read the repository, or of another repository', async () => {
  await expect(hosts.node1.registry.getBlob(ifPublic(), config, true)).rejects.toThrow(NotPublic);
  const other = granted('alice/other' as RepositoryName);
  await expect(hosts.node1.registry.getBlob(other, config, true)).rejects.toMatchObject({ kind: 'BLOB_UNKNOWN' });
  expect(hosts.central.counts.classB).toBe(0);
});

test('if the object is gone, another location serves the blob', async () => {
  await pushImage(hosts.node2, 1, ['latest']);
  await hosts.drain();
  await env.BLOBS_CENTRAL.delete((await keyAtCentral())!);
  await env.DB_CENTRAL.prepare("UPDATE locations SET key = 'blobs/gone' WHERE digest = ?1 AND store = 'central'")
    .bind(config)
    .run();
  await hosts.node1.registry.getManifest(granted(), LATEST);
  expect(await read(hosts.node1)).toEqual(bytesOf(1, 100));
});

test('a part of a blob is asked for only after the row is read', async () => {
  const blob = await hosts.node1.registry.getBlob(granted(), config);
  expect(hosts.central.counts.classB).toBe(0);
  expect(await bytesIn(await blob.open({ offset: 10, length: 5 }))).toEqual(bytesOf(1, 100).slice(10, 15));
});
