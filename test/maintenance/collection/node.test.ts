/**
 * Collection at a node: bytes are deleted only after central has released them, and only while the node does not need
 * them.
 */
import { beforeEach, expect, test } from 'vitest';
import { releaseBlobs } from '../../../src/maintenance/collection/release.ts';
import type { Digest } from '../../../src/oci/digest.ts';
import type { RepositoryName, Tag } from '../../../src/oci/reference.ts';
import { announceTo, readToAnnounce } from '../../../src/replication/announcement-rows.ts';
import { DEFAULT_LIMITS } from '../../../src/stores/organizations/limits.ts';
import { readManifests } from '../../../src/stores/manifests/manifest-records.ts';
import { collectBlobs } from '../../../src/maintenance/collection/collection-rows.ts';
import { markReleasing, release, removeReleased } from '../../../src/maintenance/collection/release-rows.ts';
import { outboxEntriesAfter } from '../../../src/stores/outbox-rows.ts';
import {
  contextOf,
  expectCollectedAfterLease,
  HOUR,
  locationsOf,
  objectsAt,
  pull,
  pushBlob,
  pushImage,
  putManifest,
  rowsAt,
  stoppedAt,
} from '../../support/collecting.ts';
import { GRACE, granted, imageOf, REPOSITORY } from '../../support/fixture.ts';
import { type Hosts, openHosts } from '../../support/hosts.ts';
import { collectCentral, collectNode } from '../../support/maintenance.ts';

let hosts: Hosts;
const OTHER = 'alice/other' as RepositoryName;

const collect = (): Promise<void> => collectNode(contextOf(hosts), hosts.node1.store);

beforeEach(async () => {
  hosts = await openHosts();
});

test('an unreferenced blob of a node is deleted: its row at once, its object an hour later', async () => {
  await expectCollectedAfterLease(hosts, 'node1', collect);
  expect(await objectsAt('node1')).toHaveLength(1);
  hosts.now += HOUR - 1;
  await collect();
  expect(await objectsAt('node1')).toHaveLength(1);
  hosts.now += 1;
  await collect();
  expect(await objectsAt('node1')).toEqual([]);
  expect(await rowsAt('node1', 'SELECT * FROM delete_queue')).toEqual([]);
});

test('a blob stays while central needs it and has no copy of its own', async () => {
  const image = await pushImage(hosts.node1, 1, ['a']);
  for (const { queue } of hosts.nodes) await queue.moveMetadata(() => true);
  // The node forgets its manifest, but central's manifest still depends on the node's bytes.
  for (const table of ['manifests', 'manifest_references', 'tags']) await rowsAt('node1', `DELETE FROM ${table}`);
  hosts.now += 3 * GRACE;
  await collect();
  expect(await locationsOf('node1', image.manifest.requiredBlobs[0]!)).toEqual(['node1']);
  expect(await rowsAt('node1', 'SELECT * FROM locations WHERE releasing IS NOT NULL')).toEqual([]);
  await pull(hosts.central, 'a' as Tag);

  // Once central has its own copy, the node may delete its bytes, and central keeps what the node promised.
  await hosts.drain();
  hosts.now += GRACE;
  await collect();
  expect(await locationsOf('node1', image.manifest.requiredBlobs[0]!)).toEqual([]);
  expect(await rowsAt('central', "SELECT * FROM locations WHERE store = 'node1'")).toEqual([]);
  const leases = await rowsAt<{ lease_until: number }>('central', 'SELECT lease_until FROM locations');
  expect(leases.map((row) => row.lease_until)).toEqual([hosts.now + 2 * GRACE, hosts.now + 2 * GRACE]);
  hosts.now += HOUR;
  await collect();
  expect(await objectsAt('node1')).toEqual([]);
  await pull(hosts.node1, 'a' as Tag);
});

test('while a node lags, only blobs that central has a copy of are collected', async () => {
  const settled = await pushImage(hosts.node1, 1, ['a']);
  await hosts.drain();
  const loose = await pushBlob(hosts.node1, 5);
  await hosts.node1.registry.deleteManifest(REPOSITORY, settled.digest);
  hosts.now += 3 * GRACE;
  await pushImage(hosts.node2, 10, ['b']);
  hosts.now += GRACE / 2;
  await collect();
  expect(await locationsOf('node1', loose)).toEqual(['node1']);
  expect(await locationsOf('node1', settled.manifest.requiredBlobs[0]!)).toEqual([]);
  expect(await stoppedAt('node1')).toMatch(/^node2 has pushes/);
});

test('a round reports what stopped one of its slices until the next round succeeds', async () => {
  const loose = await pushBlob(hosts.node1, 1);
  hosts.now += 3 * GRACE;
  await rowsAt(
    'node1',
    `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2500)
     INSERT INTO locations (digest, store, key, size, created_at, lease_until)
     SELECT 'sha512:' || printf('%0128x', i), 'node1', 'blobs/' || i, 1, 0, ?1 FROM n`,
    hosts.now + 10 * GRACE,
  );
  await pushImage(hosts.node2, 10, ['b']);
  hosts.now += GRACE / 2;
  let slices = 0;
  await collectNode(contextOf(hosts, { mayGoOn: () => slices++ < 3 }), hosts.node1.store);
  expect(await stoppedAt('node1')).toMatch(/^node2 has pushes/);
  await collect();
  expect(await rowsAt('node1', "SELECT position, slices FROM maintenance_tasks WHERE task = 'collect'")).toEqual([
    { position: '', slices: 4 },
  ]);
  expect(await stoppedAt('node1')).toMatch(/^node2 has pushes/);
  expect(await locationsOf('node1', loose)).toEqual(['node1']);
  await hosts.drain();
  hosts.now += GRACE / 4;
  await collect();
  expect(await stoppedAt('node1')).toBeNull();
  expect(await locationsOf('node1', loose)).toEqual([]);
});

test('a lagging node is not reported if central has copies of all the blobs', async () => {
  const settled = await pushImage(hosts.node1, 1, ['a']);
  await hosts.drain();
  await hosts.node1.registry.deleteManifest(REPOSITORY, settled.digest);
  hosts.now += 3 * GRACE;
  await pushImage(hosts.node2, 10, ['b']);
  hosts.now += GRACE / 2;
  await collect();
  expect(await locationsOf('node1', settled.manifest.requiredBlobs[0]!)).toEqual([]);
  expect(await stoppedAt('node1')).toBeNull();
});

test('while central is away nothing is collected, and the node reports why', async () => {
  const blob = await pushBlob(hosts.node1, 1);
  hosts.now += 3 * GRACE;
  hosts.central.gate = async () => {
    throw new Error('D1_ERROR: Network connection lost.');
  };
  await collect();
  expect(await locationsOf('node1', blob)).toEqual(['node1']);
  expect(await stoppedAt('node1')).toMatch(/central's database does not answer/);
});

const USES: readonly [name: string, use: (blob: Digest) => Promise<unknown>][] = [
  ['a HEAD from a caller who may push', (blob) => hosts.node1.registry.resolveBlob(granted(), blob, true)],
  ['an upload', () => pushBlob(hosts.node1, 1)],
  ['a mount', (blob) => hosts.node1.registry.mountBlob(OTHER, blob, granted())],
  ['a manifest', async (blob) => putManifest(hosts.node1, await imageOf(blob, []))],
];

test.each(USES)('%s after the release keeps the row, and the next release needs a new mark', async (_name, use) => {
  const blob = await pushBlob(hosts.node1, 1);
  hosts.now += 3 * GRACE;
  const { node1, central } = { node1: hosts.node1.store, central: hosts.central.store };
  const marked = await markReleasing(node1, [blob], 'first', hosts.now);
  expect(marked).toEqual([blob]);
  const released = await release(central, node1.name, marked, true, hosts.now, hosts.now + 2 * GRACE);
  expect(released).toEqual([blob]);
  await use(blob);
  expect(await removeReleased(node1, marked, released, 'first', hosts.now, hosts.now)).toEqual([]);
  expect(await locationsOf('node1', blob)).toEqual(['node1']);
  // Even after the promise ends and the blob is marked again, the old release is void.
  hosts.now += 3 * GRACE;
  await hosts.node1.registry.deleteManifest(REPOSITORY, (await imageOf(blob, [])).digest).catch(() => undefined);
  await markReleasing(node1, [blob], 'second', hosts.now);
  expect(await removeReleased(node1, marked, released, 'first', hosts.now, hosts.now)).toEqual([]);
  expect(await objectsAt('node1')).toHaveLength(1);
});

test('a blob that central also has, under a lease, is evicted rather than collected', async () => {
  const blob = await pushBlob(hosts.node1, 1);
  hosts.now += 2 * GRACE + 1;
  await pushBlob(hosts.central, 1);
  await collect();
  expect(await locationsOf('node1', blob)).toEqual([]);
  expect(await locationsOf('central', blob)).toEqual(['central']);
  const [row] = await rowsAt<{ lease_until: number }>('central', 'SELECT lease_until FROM locations');
  expect(row?.lease_until).toBe(hosts.now + 2 * GRACE);
});

test('central does not release bytes that only the node has while it promises them to a client', async () => {
  const image = await pushImage(hosts.node1, 1, ['a']);
  for (const { queue } of hosts.nodes) await queue.moveMetadata(() => true);
  await hosts.central.registry.deleteManifest(REPOSITORY, image.digest);
  hosts.node1.queue.expectChangeLog();
  await hosts.node1.queue.moveMetadata(() => true);
  const [blob] = image.manifest.requiredBlobs as [Digest, ...Digest[]];
  hosts.now += 2 * GRACE - 1;
  await hosts.central.registry.resolveBlob(granted(), blob, true);
  hosts.now += GRACE;
  await collect();
  expect(await locationsOf('node1', blob)).toEqual(['node1']);
  await putManifest(hosts.central, await imageOf(blob, []), ['b']);
  await hosts.drain();
  hosts.now += 3 * GRACE;
  await collect();
  await pull({ ...hosts.central, registry: hosts.central.registry }, 'b' as Tag);
});

test('central forgets a node’s location with the blob, and the bytes stay until the node asks', async () => {
  const image = await pushImage(hosts.node1, 1, ['a']);
  for (const { queue } of hosts.nodes) await queue.moveMetadata(() => true);
  await hosts.central.registry.deleteManifest(REPOSITORY, image.digest);
  hosts.now += 3 * GRACE;
  await collectCentral(contextOf(hosts));
  expect(await rowsAt('central', 'SELECT * FROM locations')).toEqual([]);
  expect(await objectsAt('node1')).toHaveLength(2);
  // When the node accepts a manifest because it has the bytes, central records their location again.
  await putManifest(hosts.node1, image, ['b']);
  await hosts.drain();
  await pull(hosts.central, 'b' as Tag);
});

test('a removal that is killed after any of its steps is finished by the next collection', async () => {
  const blob = await pushBlob(hosts.node1, 1);
  hosts.now += 3 * GRACE;
  for (const die of [1, 2, 3] as const) {
    let calls = 0;
    const kill = async <Result>(_call: string, work: () => Promise<Result>): Promise<Result> => {
      const result = await work();
      if (++calls === die) throw new Error('killed');
      return result;
    };
    hosts.node1.gate = kill;
    hosts.central.gate = kill;
    await releaseBlobs(contextOf(hosts), hosts.node1.store, [blob]).catch(() => undefined);
    hosts.node1.gate = async (_call, work) => work();
    hosts.central.gate = async (_call, work) => work();
  }
  hosts.now += GRACE;
  await collect();
  hosts.now += HOUR;
  await collect();
  expect(await locationsOf('node1', blob)).toEqual([]);
  expect(await objectsAt('node1')).toEqual([]);
  expect(await rowsAt('node1', 'SELECT * FROM delete_queue')).toEqual([]);
});

test('central forgets the copies up of all nodes with a blob, whichever location it found first', async () => {
  for (const host of hosts.nodes) await pushImage(host, 1, ['a']);
  for (const { queue } of hosts.nodes) await queue.moveMetadata(() => true);
  expect(await rowsAt('central', 'SELECT * FROM locations WHERE copy_up_for IS NOT NULL')).toHaveLength(4);
  const [{ digest }] = (await rowsAt<{ digest: Digest }>('central', 'SELECT DISTINCT digest FROM manifests')) as [
    { digest: Digest },
  ];
  await hosts.central.registry.deleteManifest(REPOSITORY, digest);
  hosts.now += 3 * GRACE;
  const { database } = hosts.central.store;
  const blobs = await rowsAt<{ digest: Digest }>('central', "SELECT digest FROM locations WHERE store = 'node1'");
  await database.batch(collectBlobs('central', blobs, hosts.now));
  expect(await rowsAt('central', 'SELECT * FROM locations')).toEqual([]);
});

test('a late announcement of a deleted manifest adds no locations, copies or links', async () => {
  const image = await pushImage(hosts.node1, 1, ['a']);
  const { outboxEntries, late } = await readAnnouncement();
  await hosts.node1.registry.deleteManifest(REPOSITORY, image.digest);
  hosts.now += GRACE;
  await late();
  expect(outboxEntries).toHaveLength(1);
  expect(await rowsAt('central', 'SELECT * FROM locations')).toEqual([]);
  expect(await rowsAt('central', 'SELECT * FROM links')).toEqual([]);
});

/** Reads what node1 has to announce now. `late` sends it when the test calls it. */
async function readAnnouncement() {
  const { store } = hosts.node1;
  const outboxEntries = await outboxEntriesAfter(store.database, undefined, 10);
  const { tags, manifests } = await readToAnnounce(store.database, outboxEntries);
  const whole = await readManifests(store.database, store.name, manifests);
  const late = () =>
    announceTo(
      hosts.central.store,
      { store: store.name, tags, ...whole },
      hosts.now,
      hosts.now + 2 * GRACE,
      DEFAULT_LIMITS,
    );
  return { outboxEntries, late };
}
