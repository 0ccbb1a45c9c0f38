/** Lists of images at a node: which stores are asked, and how often. */
import { beforeEach, expect, test } from 'vitest';
import type { Tag } from '../../src/oci/reference.ts';
import { resetCounts } from '../support/counting.ts';
import { bodyOf, bytesOf, granted, type Image, imageOf, REPOSITORY } from '../support/fixture.ts';
import { digestOf } from '../../src/oci/digest.ts';
import { type Host, type Hosts, openHosts } from '../support/hosts.ts';

let hosts: Hosts;
beforeEach(async () => {
  hosts = await openHosts();
});

async function push({ registry }: Host, seed: number, tag: string): Promise<Image> {
  const contents = [bytesOf(seed, 20), bytesOf(seed + 1, 40)] as const;
  const [config, layer] = [await digestOf('sha256', contents[0]), await digestOf('sha256', contents[1])];
  await registry.putBlob(REPOSITORY, config, bodyOf(contents[0]));
  await registry.putBlob(REPOSITORY, layer, bodyOf(contents[1]));
  const image = await imageOf(config, [layer]);
  await registry.putManifest(REPOSITORY, image.digest, image.manifest, image.bytes.byteLength, [tag as Tag]);
  return image;
}

/** Round trips to D1 and operations on R2, of the node and of central. */
async function cost(work: () => Promise<unknown>): Promise<[node: number, central: number, buckets: number]> {
  await hosts.settled();
  for (const { counts } of hosts.all) resetCounts(counts);
  await work();
  await hosts.settled();
  const { node1, central, all } = hosts;
  const buckets = all.reduce((sum, { counts: { classA, classB, r2Deletes } }) => sum + classA + classB + r2Deletes, 0);
  expect(all.reduce((sum, { counts }) => sum + counts.rowsWritten, 0)).toBe(0);
  return [node1.counts.d1, central.counts.d1, buckets];
}

test('what a node has costs it one round trip, what only central has one there as well', async () => {
  const near = await push(hosts.node1, 1, 'near');
  const far = await push(hosts.central, 10, 'far');
  hosts.now += 1000;
  const { registry } = hosts.node1;
  const wanted = ({ digest }: Image) => [{ access: granted(), reference: { kind: 'digest', digest } as const }];
  const found = async (image: Image, alsoFromAfar: boolean) =>
    (await registry.findImages(wanted(image), alsoFromAfar)).map(({ digest, size }) => [digest, size]);
  expect(await cost(() => registry.findImages(wanted(near), true))).toEqual([1, 0, 0]);
  expect(await cost(() => registry.findImages(wanted(far), false))).toEqual([1, 0, 0]);
  expect(await cost(() => registry.findImages(wanted(far), true))).toEqual([1, 1, 0]);
  expect(await found(near, true)).toEqual([[near.digest, 60]]);
  expect(await found(far, true)).toEqual([[far.digest, 60]]);
  expect(await found(far, false)).toEqual([]);
  const all = { ranges: [{ from: 'alice/', to: 'alice0' }], publicWithin: undefined };
  expect(await cost(() => registry.listImages(all, true, { limit: 10, after: '' }))).toEqual([1, 0, 0]);
  const listed = await registry.listImages(all, true, { limit: 10, after: '' });
  expect(listed.items.map(({ digest, tags }) => [digest, tags.map(({ name }) => name)])).toEqual([[near.digest, ['near']]]);
});

test('what is shown of a clock that is ahead is before what is pushed next', async () => {
  hosts.central.skew = 60_000;
  const far = await push(hosts.central, 1, 'latest');
  const wanted = [{ access: granted(), reference: { kind: 'tag', tag: 'latest' as Tag } as const }];
  expect((await hosts.node1.registry.findImages(wanted, true)).map(({ digest }) => digest)).toEqual([far.digest]);
  const near = await push(hosts.node1, 10, 'latest');
  await hosts.drain();
  const current = await hosts.central.registry.resolveManifest(granted(), { kind: 'tag', tag: 'latest' as Tag }, false);
  expect(current.digest).toBe(near.digest);
});
