/**
 * Retiring nodes: what central lacks of each node, whatever the other nodes have, and what it forgets of a retired one.
 */
import { env } from 'cloudflare:workers';
import { beforeEach, describe, expect, test } from 'vitest';
import type { OrganizationName } from '../../src/oci/reference.ts';
import { type OnlyHere, Replication } from '../../src/replication/queue-operations.ts';
import { listOnlyAt, onlyAt } from '../../src/replication/only-at-rows.ts';
import { forgetStoreSlice } from '../../src/replication/retired-rows.ts';
import { config } from '../support/queues.ts';
import {
  type Fixture,
  granted,
  type Image,
  objectKeys,
  pushImage,
  pushSmallImage,
  REPOSITORY,
} from '../support/fixture.ts';
import { type Host, type Hosts, type NodeHost, openHosts } from '../support/hosts.ts';

const ALWAYS = (): boolean => true;
const NOTHING = { blobs: 0, bytes: 0 };
const KEEPING = { now: 0, lost: false, forgetsStore: true };
const IMAGE = { blobs: 2, bytes: 60 };
const ORGANIZATION = 'alice' as OrganizationName;

let hosts: Hosts;

beforeEach(async () => {
  hosts = await openHosts();
});

const at = ({ registry }: Host): Fixture => ({ registry }) as unknown as Fixture;

const sizeOf = (item: OnlyHere): number => (item.kind === 'blob' ? item.size : 0);

function lackingFrom({ name }: NodeHost): Promise<{ blobs: number; bytes: number }> {
  return onlyAt(hosts.central.store, name);
}

/** Returns the registry after these nodes left the configuration. */
function without(...retired: readonly NodeHost[]): Replication {
  const gone = new Set(retired.map(({ name }) => name as string));
  return new Replication({ ...config, nodes: config.nodes.filter(({ store }) => !gone.has(store)) }, env);
}

async function locationsAtCentral(): Promise<Record<string, number>> {
  const rows = env.DB_CENTRAL.prepare('SELECT store, count(*) AS n FROM locations GROUP BY store ORDER BY store');
  return Object.fromEntries((await rows.all<{ store: string; n: number }>()).results.map(({ store, n }) => [store, n]));
}

const COPIES_UP = '(SELECT store FROM locations WHERE copy_up_for IS NOT NULL)';

async function rowsOf(table: string, store: string): Promise<number | null> {
  return env.DB_CENTRAL.prepare(`SELECT count(*) AS n FROM ${table} WHERE store = ?1`).bind(store).first<number>('n');
}

describe('one image, pushed to two nodes and copied from neither', () => {
  beforeEach(async () => {
    for (const node of hosts.nodes) {
      await pushSmallImage(at(node), 1, ['latest']);
      await node.queue.moveMetadata(ALWAYS);
    }
  });

  test('is missing at central for each node', async () => {
    for (const node of hosts.nodes) {
      expect(await lackingFrom(node)).toEqual(IMAGE);
      const other = node === hosts.node1 ? 'node2' : 'node1';
      for (const [others, elsewhere] of [
        [[other], 1],
        [['retired'], 0],
        [[], 0],
      ] as const) {
        const list = await listOnlyAt(hosts.central.store, node.name, others, undefined, 10);
        expect(list.toSorted((a, b) => a.size - b.size)).toMatchObject([
          { organization: ORGANIZATION, size: 20, elsewhere },
          { organization: ORGANIZATION, size: 40, elsewhere },
        ]);
      }
    }
  });

  test('neither of two nodes retired in turn is forgotten while central lacks the image, and nothing is lost', async () => {
    const [node1, node2] = hosts.nodes;
    await expect(without(node1).forget('node1', '', false)).rejects.toMatchObject({
      kind: 'CONFLICT',
      detail: IMAGE,
    });
    await node1.queue.moveBytes(ALWAYS);
    for (const node of hosts.nodes) expect(await lackingFrom(node)).toEqual(NOTHING);
    expect(await without(node1).forget('node1', '', false)).toEqual({ locations: 2, last: undefined });
    expect(await without(node1, node2).forget('node2', '', false)).toEqual({ locations: 2, last: undefined });
    expect(await locationsAtCentral()).toEqual({ central: 2 });
    for (const node of hosts.nodes) expect(await rowsOf(COPIES_UP, node.name)).toBe(0);
    expect((await objectKeys(env.BLOBS_CENTRAL)).length).toBe(2);
  });

  test('when one node is lost, the other is the last that has it', async () => {
    const [node1, node2] = hosts.nodes;
    expect(await without(node1).forget('node1', '', true)).toEqual({ locations: 2, last: undefined });
    expect(await locationsAtCentral()).toEqual({ node2: 2 });
    for (const table of ['locations', 'change_log_positions'])
      expect([table, await rowsOf(table, 'node1')]).toEqual([table, 0]);
    expect(await rowsOf('change_log_positions', 'node2')).toBe(1);
    expect(await lackingFrom(node2)).toEqual(IMAGE);
    await node2.queue.moveBytes(ALWAYS);
    expect(await locationsAtCentral()).toEqual({ central: 2, node2: 2 });
  });

  test('a store is forgotten only together with the locations that were added behind earlier slices', async () => {
    const [node1] = hosts.nodes;
    expect(await without(node1).forget('node1', '~', true)).toEqual({ locations: 2, last: undefined });
    for (const table of ['locations', 'change_log_positions'])
      expect([table, await rowsOf(table, 'node1')]).toEqual([table, 0]);
  });

  test('when a store is retired, central still lists what is lost with it', async () => {
    const [node1] = hosts.nodes;
    const replication = without(node1);
    const first = await replication.onlyHere('node1', undefined, 1);
    const second = await replication.onlyHere('node1', first.last, 1);
    expect([...first.items, ...second.items].toSorted((a, b) => sizeOf(a) - sizeOf(b))).toMatchObject([
      { kind: 'blob', organization: ORGANIZATION, size: 20, elsewhere: true },
      { kind: 'blob', organization: ORGANIZATION, size: 40, elsewhere: true },
    ]);
    expect(first.complete).toBe(false);
    await replication.forget('node1', '', true);
    await expect(replication.onlyHere('node1', undefined, 1)).rejects.toMatchObject({ kind: 'NOT_FOUND' });
  });

  test('a blob that was lost everywhere can be pushed again', async () => {
    const [node1, node2] = hosts.nodes;
    await without(node1, node2).forget('node1', '', true);
    await without(node1, node2).forget('node2', '', true);
    expect(await locationsAtCentral()).toEqual({});
    const image = await pushSmallImage(at(hosts.central), 1, ['latest']);
    const [blob] = image.manifest.requiredBlobs;
    expect((await hosts.central.registry.getBlob(granted(), blob!)).size).toBe(20);
  });
});

test('bytes whose object at central is damaged count as missing at central', async () => {
  const { node1, node2, central } = hosts;
  await pushSmallImage(at(node1), 1, ['latest']);
  await hosts.drain();
  expect(await lackingFrom(node1)).toEqual(NOTHING);
  await env.DB_CENTRAL.prepare("UPDATE locations SET damage = 'missing' WHERE store = 'central' AND size = 40").run();
  expect(await lackingFrom(node1)).toEqual({ blobs: 1, bytes: 40 });
  expect(await listOnlyAt(central.store, 'node1', [], undefined, 10)).toMatchObject([
    { organization: ORGANIZATION, size: 40 },
  ]);
  expect(await lackingFrom(node2)).toEqual(NOTHING);
});

test('a store that is in use cannot be forgotten', async () => {
  const [node1] = hosts.nodes;
  for (const store of ['node2', 'central']) {
    await expect(without(node1).forget(store, '', true)).rejects.toMatchObject({ kind: 'CONFLICT' });
  }
});

test('central keeps the promises of a retired store', async () => {
  const { node1, central } = hosts;
  await pushSmallImage(at(node1), 1, ['latest']);
  await hosts.drain();
  const until = hosts.now + 1_000_000_000;
  await env.DB_CENTRAL.prepare("UPDATE locations SET lease_until = ?1 WHERE store = 'node1' AND size = 40")
    .bind(until)
    .run();
  await env.DB_CENTRAL.prepare("UPDATE locations SET lease_until = 5 WHERE store = 'node1' AND size = 20").run();
  const leases = async (): Promise<(number | null)[]> =>
    (
      await env.DB_CENTRAL.prepare("SELECT lease_until FROM locations WHERE store = 'central' ORDER BY size").all<{
        lease_until: number;
      }>()
    ).results.map(({ lease_until: lease }) => lease);
  const [first] = await leases();
  await forgetStoreSlice(central.store, 'node1', '', KEEPING);
  expect(await leases()).toEqual([first, until]);
});

/** Makes an image whose blobs central knows only at node1, and without a manifest that needs them. */
async function blobsOnlyAtNode1(): Promise<Image> {
  const { node1, central } = hosts;
  const image = await pushSmallImage(at(node1), 1, ['latest']);
  await node1.queue.moveMetadata(ALWAYS);
  await central.registry.deleteManifest(REPOSITORY, image.digest);
  await env.DB_CENTRAL.prepare('UPDATE locations SET lease_until = 0').run();
  expect(await lackingFrom(node1)).toEqual(NOTHING);
  expect(await locationsAtCentral()).toEqual({ node1: 2 });
  return image;
}

describe('content that arrived since the first look stays, unless it is given up', () => {
  const PARTS = { locations: { node1: 2 }, copies: 2, storePositions: 1 };

  async function parts(): Promise<unknown> {
    const [copies, known] = [await rowsOf(COPIES_UP, 'node1'), await rowsOf('change_log_positions', 'node1')];
    return { locations: await locationsAtCentral(), copies, storePositions: known };
  }

  test('a manifest that central acknowledged, with bytes only at that store', async () => {
    const { central, node1 } = hosts;
    node1.queue.expectChangeLog();
    await node1.queue.moveMetadata(ALWAYS);
    const image = await blobsOnlyAtNode1();
    await pushImage(at(central), image, ['again']);
    expect(await forgetStoreSlice(central.store, 'node1', '', KEEPING)).toEqual({
      locations: 0,
      kept: IMAGE,
      end: undefined,
    });
    expect(await parts()).toEqual(PARTS);
    await expect(without(node1).forget('node1', '', false)).rejects.toMatchObject({ kind: 'CONFLICT', detail: IMAGE });
    expect((await central.registry.getBlob(granted(), image.manifest.requiredBlobs[0]!)).size).toBe(20);
  });

  test('a blob that no manifest needs, for as long as a client was promised it', async () => {
    const { central, node1 } = hosts;
    const image = await blobsOnlyAtNode1();
    hosts.now = Date.now();
    const [promised] = image.manifest.requiredBlobs;
    expect(await central.registry.resolveBlob(granted(), promised!, true)).toMatchObject({ size: 20 });
    const refusal = { kind: 'CONFLICT', detail: { blobs: 1, bytes: 20 } };
    await expect(without(node1).forget('node1', '', false)).rejects.toMatchObject(refusal);
    await expect(without(node1).forget('node1', '', false)).rejects.toMatchObject(refusal);
    expect(await locationsAtCentral()).toEqual({ node1: 1 });
    expect(await rowsOf(COPIES_UP, 'node1')).toBe(1);
    await expect(pushImage(at(central), image)).rejects.toMatchObject({ kind: 'MANIFEST_BLOB_UNKNOWN' });
    const { lease_until: until } = (await env.DB_CENTRAL.prepare('SELECT lease_until FROM locations').first<{
      lease_until: number;
    }>())!;
    expect(await forgetStoreSlice(central.store, 'node1', '', { ...KEEPING, now: until - 1 })).toMatchObject({
      locations: 0,
    });
    expect(await forgetStoreSlice(central.store, 'node1', '', { ...KEEPING, now: until })).toMatchObject({
      locations: 1,
    });
    expect(await locationsAtCentral()).toEqual({});
  });

  test('is forgotten when it is given up', async () => {
    const { central, node1 } = hosts;
    const image = await blobsOnlyAtNode1();
    await pushImage(at(central), image, ['again']);
    expect(await without(node1).forget('node1', '', true)).toEqual({ locations: 2, last: undefined });
    for (const table of ['locations', 'change_log_positions'])
      expect([table, await rowsOf(table, 'node1')]).toEqual([table, 0]);
  });

  test('except damaged bytes, which cannot be read anyway', async () => {
    const { central } = hosts;
    await pushSmallImage(at(hosts.node1), 1, ['latest']);
    await hosts.drain();
    await env.DB_CENTRAL.prepare("UPDATE locations SET damage = 'missing'").run();
    expect(await forgetStoreSlice(central.store, 'node1', '', KEEPING)).toMatchObject({ locations: 2, kept: NOTHING });
  });
});

test('forgetting a store that central does not know fails, and lists the retired stores that it knows', async () => {
  const { node1, node2 } = hosts;
  await pushSmallImage(at(node1), 1, ['latest']);
  await hosts.drain();
  const replication = without(node1, node2);
  for (const lost of [false, true]) {
    await expect(replication.forget('frankfurt', '', lost)).rejects.toMatchObject({
      kind: 'NOT_FOUND',
      message: expect.stringMatching(/knows no store frankfurt: .* Retired stores that central knows: node1, node2$/),
    });
  }
  await replication.forget('node1', '', false);
  await replication.forget('node2', '', false);
  await expect(replication.forget('node1', '', false)).rejects.toMatchObject({
    kind: 'NOT_FOUND',
    message: expect.stringMatching(/forgotten already, or its name is different\. .*: none$/),
  });
});

test('central knows a store by its position in the change log, and no longer once it is forgotten', async () => {
  await env.DB_CENTRAL.prepare(
    "INSERT INTO change_log_positions (store, position, applied_at) VALUES ('retired', 1, 1)",
  ).run();
  expect(await without().forget('retired', '', false)).toMatchObject({ last: undefined });
  await expect(without().forget('retired', '', false)).rejects.toMatchObject({ kind: 'NOT_FOUND' });
});

test('a slice forgets some of very many locations, and says where it ended', async () => {
  const { central } = hosts;
  const rows = Array.from({ length: 6000 }, (_, i) => ({
    digest: `sha256:${i.toString(16).padStart(64, '0')}`,
    store: i % 2 === 0 ? 'retired' : 'node1',
  }));
  await env.DB_CENTRAL.prepare(
    `INSERT INTO locations (digest, store, key, size, created_at, lease_until)
     SELECT r.value ->> 'digest', r.value ->> 'store', 'key', 1, 0, 0 FROM json_each(?1) AS r`,
  )
    .bind(JSON.stringify(rows))
    .run();
  const first = await forgetStoreSlice(central.store, 'retired', '', KEEPING);
  expect(first).toEqual({ locations: 2501, kept: NOTHING, end: rows[5000]?.digest });
  expect(await forgetStoreSlice(central.store, 'retired', first.end ?? '', KEEPING)).toEqual({
    locations: 499,
    kept: NOTHING,
    end: undefined,
  });
  expect(await locationsAtCentral()).toEqual({ node1: 3000 });
});
