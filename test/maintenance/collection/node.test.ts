/** A node's bytes go only with central's release, and only while nobody there has use for them. */
import { beforeEach, expect, test } from 'vitest';
import { releaseBlobs } from '../../../src/maintenance/collection/release.ts';
import type { Digest } from '../../../src/oci/digest.ts';
import type { RepositoryName, Tag } from '../../../src/oci/reference.ts';
import { announceTo, readMarked } from '../../../src/replication/announcement-rows.ts';
import { readManifests } from '../../../src/stores/manifests/manifest-records.ts';
import { collectBlobs } from '../../../src/maintenance/collection/collection-rows.ts';
import { markReleasing, release, removeReleased } from '../../../src/maintenance/collection/release-rows.ts';
import { outboxEntriesAfter } from '../../../src/stores/outbox-rows.ts';
import {
  contextOf,
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

test('what was pushed to a node and never referenced goes: the row at once, the object an hour later', async () => {
  const blob = await pushBlob(hosts.node1, 1);
  hosts.now += 2 * GRACE - 1;
  await collect();
  expect(await locationsOf('node1', blob)).toEqual(['node1']);
  hosts.now += GRACE / 4;
  await collect();
  expect(await locationsOf('node1', blob)).toEqual([]);
  expect(await rowsAt('node1', 'SELECT * FROM links')).toEqual([]);
  expect(await objectsAt('node1')).toHaveLength(1);
  hosts.now += HOUR - 1;
  await collect();
  expect(await objectsAt('node1')).toHaveLength(1);
  hosts.now += 1;
  await collect();
  expect(await objectsAt('node1')).toEqual([]);
  expect(await rowsAt('node1', 'SELECT * FROM delete_queue')).toEqual([]);
});

test('without release nothing goes: central needs the bytes, and has none of its own', async () => {
  const image = await pushImage(hosts.node1, 1, ['a']);
  for (const { queue } of hosts.nodes) await queue.moveMetadata(() => true);
  // As if the node had forgotten its manifest: central still lives by the bytes.
  for (const table of ['manifests', 'manifest_references', 'tags']) await rowsAt('node1', `DELETE FROM ${table}`);
  hosts.now += 3 * GRACE;
  await collect();
  expect(await locationsOf('node1', image.manifest.requiredBlobs[0]!)).toEqual(['node1']);
  expect(await rowsAt('node1', 'SELECT * FROM locations WHERE releasing IS NOT NULL')).toEqual([]);
  await pull(hosts.central, 'a' as Tag);

  // Once central has them itself, they may go; and central keeps what the node has promised.
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

test('while a node lags, only what central has itself may go', async () => {
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

test('what stops a slice is said until the round after it, however little later slices have to do', async () => {
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

test('a lagging node is no reason where central could release to all', async () => {
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

test('central away: nothing goes, and the node says why', async () => {
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
  ['a HEAD by who may push', (blob) => hosts.node1.registry.resolveBlob(granted(), blob, true)],
  ['an upload', () => pushBlob(hosts.node1, 1)],
  ['a mount', (blob) => hosts.node1.registry.mountBlob(OTHER, blob, granted())],
  ['a manifest', async (blob) => putManifest(hosts.node1, await imageOf(blob, []))],
];

test.each(USES)('%s after the release keeps the row, and a later release needs a new mark', async (_name, use) => {
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
  // Even with the promise over and the blob marked once more, the old release is worth nothing.
  hosts.now += 3 * GRACE;
  await hosts.node1.registry.deleteManifest(REPOSITORY, (await imageOf(blob, [])).digest).catch(() => undefined);
  await markReleasing(node1, [blob], 'second', hosts.now);
  expect(await removeReleased(node1, marked, released, 'first', hosts.now, hosts.now)).toEqual([]);
  expect(await objectsAt('node1')).toHaveLength(1);
});

test('a blob that lies at central too, under a lease there, is not collected: it is evicted', async () => {
  const blob = await pushBlob(hosts.node1, 1);
  hosts.now += 2 * GRACE + 1;
  await pushBlob(hosts.central, 1);
  await collect();
  expect(await locationsOf('node1', blob)).toEqual([]);
  expect(await locationsOf('central', blob)).toEqual(['central']);
  const [row] = await rowsAt<{ lease_until: number }>('central', 'SELECT lease_until FROM locations');
  expect(row?.lease_until).toBe(hosts.now + 2 * GRACE);
});

test('a promise of central about bytes that only the node has holds the release back', async () => {
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

test('central forgets a node’s location with the blob; the bytes stay until the node asks', async () => {
  const image = await pushImage(hosts.node1, 1, ['a']);
  for (const { queue } of hosts.nodes) await queue.moveMetadata(() => true);
  await hosts.central.registry.deleteManifest(REPOSITORY, image.digest);
  hosts.now += 3 * GRACE;
  await collectCentral(contextOf(hosts));
  expect(await rowsAt('central', 'SELECT * FROM locations')).toEqual([]);
  expect(await rowsAt('central', 'SELECT * FROM copies_up')).toEqual([]);
  expect(await objectsAt('node1')).toHaveLength(2);
  // A push that the node takes on its own bytes makes them known again.
  await putManifest(hosts.node1, image, ['b']);
  await hosts.drain();
  await pull(hosts.central, 'b' as Tag);
});

test('killed after each of its steps, the way out is gone to its end the next time', async () => {
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

test('central forgets copies of all nodes with a blob, whichever of its locations it met first', async () => {
  for (const host of hosts.nodes) await pushImage(host, 1, ['a']);
  for (const { queue } of hosts.nodes) await queue.moveMetadata(() => true);
  expect(await rowsAt('central', 'SELECT * FROM copies_up')).toHaveLength(4);
  const [{ digest }] = (await rowsAt<{ digest: Digest }>('central', 'SELECT DISTINCT digest FROM manifests')) as [
    { digest: Digest },
  ];
  await hosts.central.registry.deleteManifest(REPOSITORY, digest);
  hosts.now += 3 * GRACE;
  const { database } = hosts.central.store;
  const blobs = await rowsAt<{ digest: Digest }>('central', "SELECT digest FROM locations WHERE store = 'node1'");
  await database.batch(collectBlobs('central', blobs, hosts.now));
  expect(await rowsAt('central', 'SELECT * FROM copies_up')).toEqual([]);
  expect(await rowsAt('central', 'SELECT * FROM locations')).toEqual([]);
});

test('an announcement that comes late names no bytes that have left: its manifest was deleted', async () => {
  const image = await pushImage(hosts.node1, 1, ['a']);
  const { outboxEntries, late } = await readAnnouncement();
  await hosts.node1.registry.deleteManifest(REPOSITORY, image.digest);
  hosts.now += GRACE;
  await late();
  expect(outboxEntries).toHaveLength(2);
  expect(await rowsAt('central', 'SELECT * FROM locations')).toEqual([]);
  expect(await rowsAt('central', 'SELECT * FROM copies_up')).toEqual([]);
  expect(await rowsAt('central', 'SELECT * FROM links')).toEqual([]);
});

/** What node1 has to announce now, sent when the test says. */
async function readAnnouncement() {
  const { store } = hosts.node1;
  const outboxEntries = await outboxEntriesAfter(store.database, undefined, 10);
  const { tags, manifests } = await readMarked(store.database, outboxEntries);
  const whole = await readManifests(store.database, store.name, manifests);
  const late = () =>
    announceTo(hosts.central.store, { store: store.name, tags, ...whole }, hosts.now, hosts.now + 2 * GRACE);
  return { outboxEntries, late };
}
