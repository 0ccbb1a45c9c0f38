/**
 * A client's write at a host is later than everything that the host has shown it: the shortest cases that need care.
 */
import { beforeEach, describe, expect, test } from 'vitest';
import type { Tag } from '../../src/oci/reference.ts';
import { deleteManifest } from '../../src/stores/deletion/deletions.ts';
import { type Fixture, granted, pushSmallImage, REPOSITORY } from '../support/fixture.ts';
import { type Host, type Hosts, openHosts } from '../support/hosts.ts';

const FIVE_MINUTES = 300_000;
const LATEST = 'latest' as Tag;

let hosts: Hosts;

beforeEach(async () => {
  hosts = await openHosts();
});

function at({ registry }: Host): Fixture {
  return { registry } as unknown as Fixture;
}

async function latestAt({ registry }: Host): Promise<string> {
  return registry.getManifest(granted(), { kind: 'tag', tag: LATEST }).then(
    ({ digest }) => digest,
    (error: { kind: string }) => error.kind,
  );
}

describe('a push to a node is later than', () => {
  test('a deletion at central that a read at the node has shown, even if both would get the same version', async () => {
    const image = await pushSmallImage(at(hosts.central), 1, ['latest']);
    hosts.now += 1;
    await hosts.central.registry.deleteManifest(REPOSITORY, image.digest);
    expect(await latestAt(hosts.node1)).toBe('MANIFEST_UNKNOWN');
    await pushSmallImage(at(hosts.node1), 1, ['latest']);
    expect(await latestAt(hosts.node1)).toBe(image.digest);
  });

  test.each([['tag'], ['manifest']] as const)(
    'a deletion at central that left nothing to a deletion of the %s at the node',
    async (kind) => {
      hosts.central.skew = FIVE_MINUTES;
      const image = await pushSmallImage(at(hosts.central), 1, ['latest']);
      await hosts.central.registry.deleteManifest(REPOSITORY, image.digest);
      const deleted =
        kind === 'tag'
          ? hosts.node1.registry.deleteTag(REPOSITORY, LATEST)
          : hosts.node1.registry.deleteManifest(REPOSITORY, image.digest);
      await expect(deleted).rejects.toMatchObject({ status: 404 });
      await pushSmallImage(at(hosts.node1), 1, ['latest']);
      expect(await latestAt(hosts.node1)).toBe(image.digest);
    },
  );
});

test('a list merges a tag for which two stores have different writes with the same version', async () => {
  await pushSmallImage(at(hosts.central), 1, ['latest']);
  const image = await pushSmallImage(at(hosts.node1), 3, ['latest']);
  const context = { origin: 'central', announces: false, now: hosts.now };
  await deleteManifest(hosts.central.store.database, context, REPOSITORY, image.digest, { versions: hosts.now * 1000 });
  expect(await latestAt(hosts.node1)).toBe('MANIFEST_UNKNOWN');
  expect((await hosts.node1.registry.listTags(granted(), { limit: 10, after: '' })).items).toEqual([]);
});
