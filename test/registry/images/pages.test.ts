/** Lists of images at a node: which stores are asked, and how often. */
import { env } from 'cloudflare:workers';
import { beforeEach, expect, test } from 'vitest';
import type { RepositoryName, Tag } from '../../../src/oci/reference.ts';
import { resetCounts } from '../../support/counting.ts';
import { bodyOf, bytesOf, contentDigest, granted, type Image, imageOf, REPOSITORY } from '../../support/fixture.ts';
import type { ListedImage, Page } from '../../../src/registry/registry.ts';
import { type Host, type Hosts, openHosts } from '../../support/hosts.ts';

let hosts: Hosts;
beforeEach(async () => {
  hosts = await openHosts();
});

/** Pushes an image of a config and a layer, under a tag if one is given. */
async function push({ registry }: Host, seed: number, tag?: string, repository = REPOSITORY): Promise<Image> {
  const contents = [bytesOf(seed, 20), bytesOf(seed + 1, 40)] as const;
  const [config, layer] = [await contentDigest(contents[0]), await contentDigest(contents[1])];
  await registry.putBlob(repository, config, bodyOf(contents[0]));
  await registry.putBlob(repository, layer, bodyOf(contents[1]));
  const image = await imageOf(config, [layer]);
  const tags = tag === undefined ? [] : [tag as Tag];
  await registry.putManifest(repository, image.digest, image.manifest, image.bytes.byteLength, tags);
  return image;
}

/** Returns the round trips to D1 of the node and of central, and the operations on R2. */
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

test('a local image costs the node one round trip, and an image that only central has costs central one as well', async () => {
  const near = await push(hosts.node1, 1, 'near');
  const remote = await push(hosts.central, 10, 'far');
  hosts.now += 1000;
  const { registry } = hosts.node1;
  const wanted = ({ digest }: Image) => [{ access: granted(), reference: { kind: 'digest', digest } as const }];
  const found = async (image: Image, withCentral: boolean) =>
    (await registry.findImages(wanted(image), withCentral)).map(({ digest, size }) => [digest, size]);
  expect(await cost(() => registry.findImages(wanted(near), true))).toEqual([1, 0, 0]);
  expect(await cost(() => registry.findImages(wanted(remote), false))).toEqual([1, 0, 0]);
  expect(await cost(() => registry.findImages(wanted(remote), true))).toEqual([1, 1, 0]);
  expect(await found(near, true)).toEqual([[near.digest, 60]]);
  expect(await found(remote, true)).toEqual([[remote.digest, 60]]);
  expect(await found(remote, false)).toEqual([]);
  const all = { ranges: [{ from: 'alice/', to: 'alice0' }], publicWithin: undefined };
  expect(await cost(() => registry.listImages(all, true, { limit: 10, after: '' }))).toEqual([1, 0, 0]);
  const listed = await registry.listImages(all, true, { limit: 10, after: '' });
  expect(listed.items.map(({ digest, tags }) => [digest, tags.map(({ name }) => name)])).toEqual([
    [near.digest, ['near']],
  ]);
});

test('the list of everything that the node serves costs each store one round trip for each page, whatever the page size', async () => {
  const { central, node1 } = hosts;
  const both = await push(central, 1, 'c');
  await push(node1, 1, 'c');
  for (const [host, seed, tag] of [
    [central, 10, 'a'],
    [node1, 20, 'b'],
    [central, 30, 'd'],
    [node1, 40, 'd'],
    [node1, 50, 'e'],
    [central, 60, 'f'],
  ] as const) {
    hosts.now += 1000;
    await push(host, seed, tag);
  }
  const all = { ranges: [{ from: 'alice/', to: 'alice0' }], publicWithin: undefined };
  const pages = async (limit: number): Promise<string[][]> => {
    const found: string[][] = [];
    let after: string | undefined = '';
    while (after !== undefined) {
      const page: Page<ListedImage> = await node1.registry.listImages(all, true, { limit, after }, true);
      found.push(
        page.items.flatMap(({ digest, tags }): string[] =>
          tags.length === 0 ? [digest] : tags.map(({ name }) => name),
        ),
      );
      after = page.last;
    }
    return found;
  };
  const names = ['a', 'b', 'c', 'd', 'e', 'f'];
  const [listed = [], ...others] = await pages(100);
  // Central's "d" is the earlier write, so its image has no tag.
  expect([listed.slice(0, 6), listed.length, others]).toEqual([names, 6, []]);
  for (const limit of [1, 2, 4, 5, 6, 7]) expect([limit, (await pages(limit)).flat()]).toEqual([limit, listed]);
  hosts.now += 1000;
  expect(await cost(() => node1.registry.listImages(all, true, { limit: 4, after: '' }, true))).toEqual([1, 1, 0]);
  const { items } = await node1.registry.listImages(all, true, { limit: 100, after: '' }, true);
  expect(items.filter(({ digest }) => digest === both.digest).map(({ tags }) => tags.length)).toEqual([1]);
});

test('public repositories without a tag count in a page, and hide no image', async () => {
  const { central } = hosts;
  const publish = env.DB_CENTRAL.prepare('INSERT INTO public_repositories (name) VALUES (?1)');
  for (const [i, name] of ['a', 'b', 'c', 'd', 'e', 'f'].entries()) {
    const repository = `alice/${name}` as RepositoryName;
    await push(central, 10 * i, name === 'b' || name === 'f' ? 'latest' : undefined, repository);
    await publish.bind(repository).run();
  }
  const scope = { ranges: [], publicWithin: { from: '', to: '~' } };
  for (const limit of [1, 2, 3, 10]) {
    const found: string[] = [];
    let after: string | undefined = '';
    while (after !== undefined) {
      const page: Page<ListedImage> = await central.registry.listImages(scope, true, { limit, after });
      found.push(
        ...page.items.map(({ repository, tags }) => `${repository}${tags.map(({ name }) => `:${name}`).join()}`),
      );
      after = page.last;
    }
    expect([limit, found]).toEqual([
      limit,
      ['alice/b:latest', 'alice/f:latest', 'alice/a', 'alice/c', 'alice/d', 'alice/e'],
    ]);
  }
});

test('after a read from a store whose clock is ahead, the next push still gets a later version', async () => {
  hosts.central.skew = 60_000;
  const remote = await push(hosts.central, 1, 'latest');
  const wanted = [{ access: granted(), reference: { kind: 'tag', tag: 'latest' as Tag } as const }];
  expect((await hosts.node1.registry.findImages(wanted, true)).map(({ digest }) => digest)).toEqual([remote.digest]);
  const near = await push(hosts.node1, 10, 'latest');
  await hosts.drain();
  const current = await hosts.central.registry.resolveManifest(granted(), { kind: 'tag', tag: 'latest' as Tag }, false);
  expect(current.digest).toBe(near.digest);
});
