/**
 * A node over its limits evicts whole images that central has, least recently pulled first, and a pull brings them
 * back.
 */
import { beforeEach, expect, test } from 'vitest';
import type { Digest } from '../../../src/oci/digest.ts';
import type { RepositoryName, Tag } from '../../../src/oci/reference.ts';
import { pin } from '../../../src/maintenance/eviction/pin-rows.ts';
import {
  HOUR,
  locationsOf,
  objectsAt,
  pull,
  pushBlob,
  pushImage,
  putManifest,
  rowsAt,
} from '../../support/collecting.ts';
import { DAY, manifests, run, settled, used } from '../../support/evicting.ts';
import { GRACE, granted, type Image, imageOf, indexOf, REPOSITORY } from '../../support/fixture.ts';
import { type Hosts, openHosts } from '../../support/hosts.ts';

let hosts: Hosts;

beforeEach(async () => {
  hosts = await openHosts();
});

test('the least recently pulled images are evicted until the rest fits, and a pull brings them back', async () => {
  const [a, b, c] = (await settled(hosts, 'a', 'b', 'c')) as [Image, Image, Image];
  await pull(hosts.node1, 'a' as Tag);
  await hosts.settled();
  expect(await used()).toBe(600);
  await run(hosts, 400);
  expect(await used()).toBe(400);
  expect(await manifests()).toEqual([a.digest, c.digest].toSorted());
  expect(await rowsAt('node1', "SELECT * FROM tags WHERE name = 'b'")).toEqual([]);
  expect(await rowsAt('node1', 'SELECT * FROM manifest_references WHERE manifest = ?1', b.digest)).toEqual([]);
  expect(await rowsAt('node1', 'SELECT * FROM manifest_contents WHERE digest = ?1', b.digest)).toEqual([]);
  expect(await rowsAt('node1', 'SELECT * FROM links')).toHaveLength(4);
  expect(await rowsAt('node1', 'SELECT * FROM outbox')).toEqual([]);
  expect(await rowsAt('central', 'SELECT * FROM change_log')).toEqual([]);
  expect(await rowsAt('central', "SELECT * FROM locations WHERE store = 'node1'")).toHaveLength(4);
  expect(await objectsAt('node1')).toHaveLength(6);
  hosts.now += HOUR;
  await run(hosts, 400);
  expect(await objectsAt('node1')).toHaveLength(4);
  expect(
    await rowsAt('node1', "SELECT name, value FROM maintenance_counters WHERE name LIKE 'evicted%' ORDER BY name"),
  ).toEqual([
    { name: 'evicted_bytes', value: 200 },
    { name: 'evicted_images', value: 1 },
  ]);
  expect(await rowsAt('node1', 'SELECT action, organization, repository, key, subject FROM audit')).toEqual([
    { action: 'evict image', organization: 'alice', repository: REPOSITORY, key: b.digest, subject: '' },
  ]);
  expect(await rowsAt('central', 'SELECT * FROM audit')).toEqual([]);

  // A pull brings the image back, and it is not the first to be evicted then.
  await pull(hosts.node1, 'b' as Tag);
  await hosts.settled();
  await hosts.drain();
  expect(await locationsOf('node1', b.manifest.requiredBlobs[0]!)).toEqual(['node1']);
  hosts.now += HOUR;
  await run(hosts, 400);
  expect(await manifests()).toEqual([a.digest, b.digest].toSorted());
});

test('nothing is evicted from a node that is within its limit or has none', async () => {
  await settled(hosts, 'a', 'b');
  await run(hosts, 400);
  await run(hosts, undefined);
  expect(await used()).toBe(400);
});

test('an image that nobody has pulled for the configured time is evicted, and not before', async () => {
  const [a] = await settled(hosts, 'a', 'b');
  const [row] = await rowsAt<{ used_at: number }>(
    'node1',
    'SELECT used_at FROM manifests WHERE digest = ?1',
    a!.digest,
  );
  hosts.now = (row?.used_at ?? 0) + 10 * DAY;
  await run(hosts, undefined, 10 * DAY);
  expect(await used()).toBe(400);
  hosts.now += HOUR;
  await run(hosts, undefined, 10 * DAY);
  expect(await used()).toBe(200);
});

test('an image that is not announced or not settled stays', async () => {
  await pushImage(hosts.node1, 1, ['a']);
  hosts.now += 3 * GRACE;
  await run(hosts, 0);
  expect(await manifests()).toHaveLength(1);
  await hosts.node1.queue.moveMetadata(() => true);
  hosts.now += HOUR;
  await run(hosts, 0);
  expect(await manifests()).toHaveLength(1);
  expect(await used()).toBe(200);
  await hosts.drain();
  hosts.now += HOUR;
  await run(hosts, 0);
  expect(await manifests()).toEqual([]);
  expect(await used()).toBe(0);
});

test('a manifest that was pushed again and is not yet announced stays', async () => {
  const [a] = (await settled(hosts, 'a')) as [Image];
  await putManifest(hosts.node1, a);
  await run(hosts, 0);
  expect(await manifests()).toEqual([a.digest]);
  await hosts.drain();
  hosts.now += HOUR;
  await run(hosts, 0);
  expect(await manifests()).toEqual([]);
});

test('a tag that was written again and is not yet announced keeps its image', async () => {
  const [a] = (await settled(hosts, 'a')) as [Image];
  await putManifest(hosts.node1, a, ['again', 'too']);
  await rowsAt('node1', "DELETE FROM outbox WHERE kind = 'manifest'");
  await run(hosts, 0);
  expect(await manifests()).toEqual([a.digest]);
});

test('an image whose bytes a client was promised stays until the promise ends', async () => {
  const [a] = (await settled(hosts, 'a')) as [Image];
  await hosts.node1.registry.resolveBlob(granted(), a.manifest.requiredBlobs[0]!, true);
  hosts.now += 2 * GRACE - 1;
  await run(hosts, 0);
  expect(await manifests()).toEqual([a.digest]);
  hosts.now += HOUR;
  await run(hosts, 0);
  expect(await manifests()).toEqual([]);
});

test('an index is evicted with its children, except a child that another index needs', async () => {
  const [x, y, z] = (await settled(hosts, 'x', 'y', 'z')) as [Image, Image, Image];
  await putManifest(hosts.node1, await indexOf([x.digest, y.digest]), ['old']);
  await putManifest(hosts.node1, await indexOf([y.digest, z.digest]), ['new']);
  for (const tag of ['x', 'y', 'z']) await hosts.node1.registry.deleteTag(REPOSITORY, tag as Tag);
  await hosts.drain();
  hosts.now += HOUR;
  await hosts.node1.registry.getManifest(granted(), { kind: 'tag', tag: 'new' as Tag });
  await hosts.settled();
  await run(hosts, 400);
  expect((await manifests()).filter((digest) => [x, y, z].some((image) => image.digest === digest))).toEqual(
    [y.digest, z.digest].toSorted(),
  );
  expect(await used()).toBe(400);
  await hosts.node1.registry.getManifest(granted(), { kind: 'tag', tag: 'old' as Tag });
});

test('an index whose child was pulled more recently is evicted after other images', async () => {
  const [x, y] = (await settled(hosts, 'x', 'y')) as [Image, Image];
  await putManifest(hosts.node1, await indexOf([x.digest], { annotations: { a: 'b' } }), ['index']);
  await hosts.node1.registry.deleteTag(REPOSITORY, 'x' as Tag);
  await hosts.drain();
  hosts.now += 2 * HOUR;
  await rowsAt('node1', 'UPDATE manifests SET created_version = 1000 WHERE digest NOT IN (?1, ?2)', x.digest, y.digest);
  await pull(hosts.node1, x.digest);
  await hosts.settled();
  await run(hosts, 200);
  expect(await manifests()).not.toContain(y.digest);
  expect(await manifests()).toContain(x.digest);
  hosts.now += HOUR;
  await run(hosts, 100);
  expect(await manifests()).toEqual([]);
});

test('a blob that two images share stays while one of them stays', async () => {
  const base = await pushBlob(hosts.node1, 1);
  const images: Image[] = [];
  for (const [i, tag] of ['a', 'b'].entries()) {
    const image = await imageOf(await pushBlob(hosts.node1, 10 + i), [base]);
    await putManifest(hosts.node1, image, [tag]);
    images.push(image);
    hosts.now += HOUR;
  }
  await hosts.drain();
  hosts.now += 2 * GRACE;
  await run(hosts, 299);
  expect(await manifests()).toEqual([images[1]!.digest]);
  expect(await locationsOf('node1', base)).toEqual(['node1']);
  hosts.now += HOUR;
  await run(hosts, 1);
  expect(await used()).toBe(0);
});

test('an image stays while it is pinned by digest, or by a tag that names it', async () => {
  const [a, b, c] = (await settled(hosts, 'a', 'b', 'c')) as [Image, Image, Image];
  const { database } = hosts.node1.store;
  await pin(database, REPOSITORY, a.digest, hosts.now);
  await pin(database, REPOSITORY, 'b' as Tag, hosts.now);
  await run(hosts, 0);
  expect(await manifests()).toEqual([a.digest, b.digest].toSorted());
  await putManifest(hosts.node1, a, ['b']);
  await hosts.drain();
  hosts.now += HOUR;
  await run(hosts, 0);
  expect(await manifests()).toEqual([a.digest]);
  await pull(hosts.node1, c.digest);
});

test('an image that a pull by digest brings back has its tag again, which lists and pins it', async () => {
  const [first, second] = (await settled(hosts, 'x', 'y')) as [Image, Image];
  await putManifest(hosts.node1, second, ['x']);
  await hosts.drain();
  hosts.now += 2 * GRACE;
  await run(hosts, 0);
  expect(await manifests()).toEqual([]);
  expect(await rowsAt('node1', 'SELECT name, visible FROM tags')).toEqual([{ name: 'x', visible: 0 }]);
  await pull(hosts.node1, second.digest);
  await hosts.settled();
  await hosts.drain();
  expect(await rowsAt('node1', 'SELECT name, visible FROM tags')).toEqual([{ name: 'x', visible: 1 }]);
  await pin(hosts.node1.store.database, REPOSITORY, 'x' as Tag, hosts.now);
  hosts.now += 3 * HOUR;
  await run(hosts, 0);
  expect(await manifests()).toEqual([second.digest]);
  expect(first.digest).not.toBe(second.digest);
});

test('an image that is pushed again by digest has its tag again, except a tag that its deletion hides', async () => {
  const [, second] = (await settled(hosts, 'x', 'y')) as [Image, Image];
  await hosts.node1.registry.deleteManifest(REPOSITORY, second.digest);
  await putManifest(hosts.node1, second, ['x']);
  await hosts.drain();
  hosts.now += 2 * GRACE;
  await run(hosts, 0);
  expect(await manifests()).toEqual([]);
  for (const digest of second.manifest.requiredBlobs) await hosts.node1.registry.resolveBlob(granted(), digest, true);
  await putManifest(hosts.node1, second);
  expect(await rowsAt('node1', 'SELECT name, visible FROM tags WHERE digest IS NOT NULL ORDER BY name')).toEqual([
    { name: 'x', visible: 1 },
    { name: 'y', visible: 0 },
  ]);
});

test('a pin by tag follows the versions, not the column `visible`', async () => {
  const [a] = (await settled(hosts, 'a', 'b')) as [Image];
  await pin(hosts.node1.store.database, REPOSITORY, 'a' as Tag, hosts.now);
  await rowsAt('node1', 'UPDATE tags SET visible = 0');
  await run(hosts, 0);
  expect(await manifests()).toEqual([a.digest]);
});

test('an image that is pulled between the choice and the eviction stays', async () => {
  const [a] = (await settled(hosts, 'a', 'b')) as [Image, Image];
  const work = hosts.central.gate;
  hosts.central.gate = async (_call, ask) => {
    hosts.central.gate = work;
    await pull(hosts.node1, a.digest);
    await hosts.settled();
    return ask();
  };
  await run(hosts, 200);
  expect(await manifests()).toEqual([a.digest]);
});

test('a manifest that needs the bytes between release and removal keeps them', async () => {
  const [a] = (await settled(hosts, 'a')) as [Image];
  const [blob] = a.manifest.requiredBlobs as [Digest, ...Digest[]];
  const other = 'alice/other' as RepositoryName;
  let calls = 0;
  hosts.central.gate = async (call, ask) => {
    const result = await ask();
    // Central has just released the bytes.
    if (call === 'batch' && ++calls === 1) {
      await hosts.node1.registry.mountBlob(other, blob, granted()).catch(() => undefined);
      await putManifest(hosts.node1, await imageOf(blob, []), ['m'], other).catch(() => undefined);
    }
    return result;
  };
  await run(hosts, 0);
  hosts.central.gate = async (_call, ask) => ask();
  await hosts.drain();
  hosts.now += 3 * HOUR;
  await run(hosts, undefined, 100 * DAY);
  await pull({ ...hosts.node1, registry: hosts.node1.registry }, 'm' as Tag, other);
});

test('a deletion that hides tags survives an eviction', async () => {
  const [a] = (await settled(hosts, 'a')) as [Image];
  await hosts.node1.registry.deleteManifest(REPOSITORY, a.digest);
  await putManifest(hosts.node1, a, ['b']);
  await hosts.drain();
  hosts.now += HOUR;
  await run(hosts, 0);
  expect(await manifests()).toEqual([]);
  expect(await rowsAt('node1', 'SELECT created_version, media_type FROM manifests WHERE deleted_version > 0')).toEqual([
    { created_version: 0, media_type: '' },
  ]);
  await expect(hosts.node1.registry.getManifest(granted(), { kind: 'tag', tag: 'a' as Tag })).rejects.toMatchObject({
    kind: 'MANIFEST_UNKNOWN',
  });
  await pull(hosts.node1, 'b' as Tag);
});
