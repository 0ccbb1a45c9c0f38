/** Rounds of eviction: collection comes first, and an eviction that is cut short never removes more than it must. */
import { beforeEach, expect, test } from 'vitest';
import type { Tag } from '../../../src/oci/reference.ts';
import { contextOf, HOUR, locationsOf, pull, pushImage, rowsAt, stoppedAt } from '../../support/collecting.ts';
import { DAY, manifests, run, settled, used } from '../../support/evicting.ts';
import { GRACE, type Image, REPOSITORY } from '../../support/fixture.ts';
import { type Hosts, openHosts } from '../../support/hosts.ts';
import { limitedD1 } from '../../support/links.ts';
import { collectNode, evict } from '../../support/maintenance.ts';

let hosts: Hosts;

beforeEach(async () => {
  hosts = await openHosts();
});

test('unneeded bytes are removed before live images', async () => {
  const [a, b] = (await settled(hosts, 'a', 'b')) as [Image, Image];
  await hosts.node1.registry.deleteManifest(REPOSITORY, a.digest);
  await hosts.drain();
  await run(hosts, 200);
  expect(await used()).toBe(200);
  expect(await manifests()).toEqual([b.digest]);
});

test('no image is evicted until a round of collection that began after the request for room has ended', async () => {
  const [a, b] = (await settled(hosts, 'a', 'b')) as [Image, Image];
  const turns = async (count: number): Promise<void> => {
    let asked = 0;
    await evict(contextOf(hosts, { mayGoOn: () => asked++ < count }), hosts.node1.store, {
      bytes: 200,
      idleMilliseconds: undefined,
    });
  };
  // Half of a round of collection, before the deletion.
  let asked = 0;
  await collectNode(contextOf(hosts, { mayGoOn: () => asked++ < 2 }), hosts.node1.store);
  await hosts.node1.registry.deleteManifest(REPOSITORY, a.digest);
  await hosts.drain();
  for (let i = 0; i < 30; i++) await turns(2);
  expect(await used()).toBe(200);
  expect(await manifests()).toEqual([b.digest]);
});

test.each([
  ['central does not answer', 'D1_ERROR: Network connection lost.'],
  ['the run is killed', 'D1_ERROR: SQLITE_ERROR'],
])('bytes of an evicted image are removed before the next image, even if %s in between', async (_when, error) => {
  const [, b, c] = (await settled(hosts, 'a', 'b', 'c')) as [Image, Image, Image];
  let calls = 0;
  hosts.central.gate = async (_call, ask) => {
    // Central's first call says what it has, and the second releases.
    if (++calls > 1) throw new Error(error);
    return ask();
  };
  await run(hosts, 400).catch(() => undefined);
  hosts.central.gate = async (_call, ask) => ask();
  expect(await used()).toBe(600);
  expect(await manifests()).toEqual([b.digest, c.digest].toSorted());
  hosts.now += HOUR;
  await run(hosts, 400);
  expect(await used()).toBe(400);
  expect(await manifests()).toEqual([b.digest, c.digest].toSorted());
});

test('bytes of an evicted image are removed before the next image, even if the node fails in between', async () => {
  const [, b, c] = (await settled(hosts, 'a', 'b', 'c')) as [Image, Image, Image];
  const { gate } = hosts.central;
  let asked = 0;
  // After central has said what it has, the image's rows are removed, and then one call to the node fails.
  hosts.central.gate = async (_call, ask) => {
    const answer = await ask();
    if (++asked === 1) failAfterCalls(1);
    return answer;
  };
  const failAfterCalls = (calls: number): void => {
    let left = calls;
    hosts.node1.gate = async (_call, ask) => {
      if (left-- === 0) throw new Error('D1_ERROR: Network connection lost.');
      return ask();
    };
  };
  await expect(run(hosts, 400)).rejects.toMatchObject({ kind: 'UNAVAILABLE' });
  hosts.central.gate = gate;
  expect(await used()).toBe(600);
  expect(await manifests()).toEqual([b.digest, c.digest].toSorted());
  await run(hosts, 400);
  expect(await used()).toBe(400);
  expect(await manifests()).toEqual([b.digest, c.digest].toSorted());
});

test('images with more layers than one D1 parameter holds are evicted one at a time', async () => {
  const numbers = 'WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 29999)';
  const layer = "'sha256:' || printf('%064x', i)";
  const fill = (host: 'central' | 'node1'): string[] => [
    `${numbers} INSERT INTO locations (digest, store, key, size, created_at, lease_until)
     SELECT ${layer}, '${host}', 'blobs/' || i, 10, 0, 0 FROM n`,
    `${numbers} INSERT INTO links (repository, digest, created_at) SELECT 'alice/app', ${layer}, 0 FROM n`,
    `${numbers} INSERT INTO manifests (repository, digest, media_type, artifact_type, subject, size, created_version,
      deleted_version, last_pull, evictable, descriptors)
     SELECT 'alice/app', 'sha256:' || printf('%064x', 1000000 + i / 15000), 'm', '', NULL, 1, 1000, 0, 0, 1,
       json_group_array(json_object('kind', 'layer', 'digest', ${layer}, 'size', 10)) FROM n GROUP BY 2`,
  ];
  for (const host of ['central', 'node1'] as const) for (const statement of fill(host)) await rowsAt(host, statement);
  const now = hosts.now;
  hosts = await openHosts({ reach: limitedD1 });
  hosts.now = now + DAY;
  expect(await manifests()).toHaveLength(2);
  await run(hosts, 150_000);
  expect([await used(), (await manifests()).length]).toEqual([150_000, 1]);
  hosts.now += HOUR;
  await run(hosts, 0);
  expect([await used(), await manifests()]).toEqual([0, []]);
  expect(await rowsAt('node1', 'SELECT count(*) AS count FROM links')).toEqual([{ count: 0 }]);
}, 60_000);

test('if a run is killed between the rows and the bytes, the node’s collection removes the bytes', async () => {
  await settled(hosts, 'a', 'b');
  let calls = 0;
  hosts.central.gate = async (_call, ask) => {
    if (++calls > 1) throw new Error('D1_ERROR: Network connection lost.');
    return ask();
  };
  await run(hosts, 0);
  hosts.central.gate = async (_call, ask) => ask();
  expect(await manifests()).toEqual([]);
  expect(await used()).toBe(400);
  hosts.now += HOUR;
  await collectNode(contextOf(hosts), hosts.node1.store);
  expect(await used()).toBe(0);
  await pull(hosts.node1, 'a' as Tag);
});

test('an eviction reports why it could not remove the bytes of an image', async () => {
  const [a] = (await settled(hosts, 'a', 'b')) as [Image, Image];
  await pushImage(hosts.node2, 50, ['c']);
  hosts.now += GRACE / 2;
  hosts.central.gate = async (call, work) => {
    // Central loses its copies between the look and the release. Without a copy it releases nothing while a node lags.
    if (call === 'batch') await rowsAt('central', "DELETE FROM locations WHERE store = 'central'");
    return work();
  };
  await run(hosts, 200);
  expect(await locationsOf('node1', a.manifest.requiredBlobs[0]!)).toEqual(['node1']);
  expect(await stoppedAt('node1', 'evict')).toMatch(/^node2 has pushes/);
  hosts.now += HOUR;
  await run(hosts, undefined, 10 * GRACE);
  expect(await stoppedAt('node1', 'evict')).toBeNull();
});

test('a slice without time ends after an image, and the next run goes on with the one after it', async () => {
  const images = await settled(hosts, 'a', 'b', 'c');
  hosts.now += 30 * DAY;
  for (let left = images.slice(1); ; left = left.slice(1)) {
    // The run has time to begin only one slice.
    let asked = 0;
    const context = contextOf(hosts, { mayGoOn: () => asked++ === 0 });
    await evict(context, hosts.node1.store, { bytes: undefined, idleMilliseconds: 10 * DAY });
    expect(await manifests()).toEqual(left.map(({ digest }) => digest).toSorted());
    if (left.length === 0) return;
  }
});
