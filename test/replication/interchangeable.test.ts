import { beforeEach, describe, expect, test } from 'vitest';
import type { RepositoryName, Tag } from '../../src/oci/reference.ts';
import {
  bytesIn,
  bytesOf,
  first,
  type Fixture,
  granted,
  imageOf,
  indexOf,
  pushBlob,
  pushImage,
  pushSmallImage,
  REPOSITORY,
} from '../support/fixture.ts';
import { type Host, type Hosts, openHosts } from '../support/hosts.ts';

let hosts: Hosts;

beforeEach(async () => {
  hosts = await openHosts();
});

/** Returns a fixture for a host: the fixture's functions need only a registry. */
function at({ registry }: Host): Fixture {
  return { registry } as unknown as Fixture;
}

const LATEST = { kind: 'tag', tag: 'latest' as Tag } as const;

async function tagAt({ registry }: Host, tag = 'latest'): Promise<string> {
  return registry.getManifest(granted(), { kind: 'tag', tag: tag as Tag }).then(
    ({ digest }) => digest,
    (error: { kind: string }) => error.kind,
  );
}

describe('a push to a node', () => {
  test('is at the node at once, and everywhere when announced', async () => {
    const image = await pushSmallImage(at(hosts.node1), 1, ['latest']);
    expect(await tagAt(hosts.node1)).toBe(image.digest);
    expect(await tagAt(hosts.central)).toBe('NAME_UNKNOWN');
    await hosts.node1.queue.moveMetadata(() => true);
    expect(await Promise.all(hosts.all.map((host) => tagAt(host)))).toEqual([image.digest, image.digest, image.digest]);
    for (const host of hosts.all) {
      for (const digest of image.manifest.requiredBlobs) {
        const blob = await host.registry.getBlob(granted(), digest);
        expect((await bytesIn(await blob.open())).byteLength).toBe(blob.size);
      }
    }
  });

  test('calls nothing at central before it is acknowledged', async () => {
    await pushSmallImage(at(hosts.node1), 1, ['latest']);
    expect(hosts.central.counts).toMatchObject({ d1: 0, classA: 0, classB: 0 });
  });

  test('settles: central has the bytes, and the node is no longer needed', async () => {
    const image = await pushSmallImage(at(hosts.node1), 1, ['latest']);
    await hosts.drain();
    hosts.node1.gate = () => Promise.reject(new Error('the node is away'));
    for (const digest of image.manifest.requiredBlobs) {
      const blob = await hosts.central.registry.getBlob(granted(), digest);
      expect((await bytesIn(await blob.open())).byteLength).toBe(blob.size);
    }
  });
});

test('a deletion at a node is a deletion everywhere', async () => {
  const image = await pushSmallImage(at(hosts.node1), 1, ['latest', 'other']);
  await hosts.drain();
  await hosts.node2.registry.deleteTag(REPOSITORY, 'latest' as Tag);
  expect(await tagAt(hosts.node2)).toBe('MANIFEST_UNKNOWN');
  expect(await tagAt(hosts.central)).toBe('MANIFEST_UNKNOWN');
  expect(await tagAt(hosts.node1)).toBe('MANIFEST_UNKNOWN');
  expect(await tagAt(hosts.node1, 'other')).toBe(image.digest);
  await hosts.node2.registry.deleteManifest(REPOSITORY, image.digest);
  await hosts.drain();
  for (const host of hosts.all) {
    expect(await tagAt(host, 'other')).toBe('MANIFEST_UNKNOWN');
    expect((await host.registry.listTags(granted(), { limit: 10, after: '' })).items).toEqual([]);
  }
});

test('lists merge both stores', async () => {
  await pushSmallImage(at(hosts.central), 1, ['a', 'c', 'e']);
  await pushSmallImage(at(hosts.node1), 3, ['b', 'c', 'd']);
  const list = async (host: Host, limit = 10, after = ''): Promise<readonly Tag[]> =>
    (await host.registry.listTags(granted(), { limit, after })).items;
  expect(await list(hosts.node1)).toEqual(['a', 'b', 'c', 'd', 'e']);
  expect(await list(hosts.node1, 2)).toEqual(['a', 'b']);
  expect(await list(hosts.node1, 2, 'b')).toEqual(['c', 'd']);
  expect(await list(hosts.node2)).toEqual(['a', 'c', 'e']);
  await hosts.drain();
  for (const host of hosts.all) expect(await list(host)).toEqual(['a', 'b', 'c', 'd', 'e']);
});

test('content that a pull reads from central is copied to the node', async () => {
  const image = await pushSmallImage(at(hosts.central), 1, ['latest']);
  expect(await tagAt(hosts.node1)).toBe(image.digest);
  const layer = first(image.manifest.requiredBlobs);
  await (await hosts.node1.registry.getBlob(granted(), layer)).open();
  await hosts.drain();
  hosts.central.gate = () => Promise.reject(new Error('central is away'));
  expect(await tagAt(hosts.node1)).toBe(image.digest);
  const blob = await hosts.node1.registry.getBlob(granted(), layer);
  expect((await bytesIn(await blob.open())).byteLength).toBe(blob.size);
  expect(await tagAt(hosts.node1, 'other')).toBe('UNAVAILABLE');
});

test('a kernel that only central holds is not sent again', async () => {
  const kernel = await pushBlob(at(hosts.central), bytesOf(9, 1000));
  await expect(hosts.node1.registry.resolveBlob(granted(), kernel, true)).resolves.toMatchObject({ size: 1000 });
  const config = await pushBlob(at(hosts.node1), bytesOf(10, 10));
  const image = await imageOf(config, [kernel]);
  await pushImage(at(hosts.node1), image, ['latest']);
  const mounted = await hosts.node2.registry.mountBlob('alice/other' as RepositoryName, kernel, granted());
  expect(mounted).toBe(true);
  await hosts.drain();
  expect(await tagAt(hosts.node2)).toBe(image.digest);
  expect((await hosts.node2.registry.getManifest(granted(), LATEST)).digest).toBe(image.digest);
});

describe('an alarm', () => {
  test('is not set when no work is left', async () => {
    await pushSmallImage(at(hosts.node1), 1, ['latest']);
    hosts.central.gate = () => Promise.reject(new Error('central is away'));
    await hosts.node1.queue.moveMetadata(() => true);
    await hosts.node1.queue.moveBytes(() => true);
    const next = hosts.node1.queue.nextAlarm() ?? 0;
    expect(next).toBeGreaterThan(hosts.now);
    hosts.central.gate = (_call, work) => work();
    hosts.now = next;
    await hosts.drain();
    hosts.now += 3_600_000;
    expect(hosts.node1.queue.nextAlarm()).toBeUndefined();
  });

  test('is set for an image that was announced after the bytes lane found nothing', async () => {
    const { node1 } = hosts;
    await pushSmallImage(at(node1), 1, ['latest']);
    await node1.queue.moveBytes(() => true);
    expect(node1.queue.nextAlarm()).toBeUndefined();
    await node1.queue.moveMetadata(() => true);
    expect([node1.queue.nextAlarm(), node1.queue.nextRetry()]).toEqual([hosts.now, undefined]);
    await node1.queue.moveBytes(() => true);
    expect([node1.state.counter('settled'), node1.queue.nextAlarm()]).toEqual([2, undefined]);
  });

  test('waits for the backoff of the bytes lane before it copies newly announced blobs', async () => {
    const { node1, central } = hosts;
    await pushSmallImage(at(node1), 1, ['latest']);
    central.gate = () => Promise.reject(new Error('central is away'));
    await node1.queue.moveBytes(() => true);
    const backoffEnd = node1.queue.nextAlarm() ?? 0;
    central.gate = (_call, work) => work();
    await node1.queue.moveMetadata(() => true);
    expect(backoffEnd).toBeGreaterThan(hosts.now);
    expect(node1.queue.nextAlarm()).toBe(backoffEnd);
  });
});

test('blobs that an index lists as children, as older build caches do, are copied too', async () => {
  const layer = await pushBlob(at(hosts.node1), bytesOf(9, 1000));
  await pushImage(at(hosts.node1), await indexOf([layer]), ['cache']);
  await hosts.drain();
  hosts.node1.gate = () => Promise.reject(new Error('the node is away'));
  const blob = await hosts.central.registry.getBlob(granted(), layer);
  expect((await bytesIn(await blob.open())).byteLength).toBe(1000);
});

test('a second tag on a manifest that the node already has is also copied by a pull', async () => {
  const image = await pushSmallImage(at(hosts.central), 1, ['first', 'second']);
  for (const tag of ['first', 'second']) {
    expect(await tagAt(hosts.node1, tag)).toBe(image.digest);
    await hosts.settled();
  }
  hosts.central.gate = () => Promise.reject(new Error('central is away'));
  expect(await tagAt(hosts.node1, 'second')).toBe(image.digest);
});
