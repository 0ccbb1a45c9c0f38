/**
 * Removals of repositories and organizations over three hosts: everything that was written before a removal is dead
 * everywhere, whether it was announced or not.
 */
import { env } from 'cloudflare:workers';
import { beforeEach, describe, expect, test } from 'vitest';
import type { OrganizationName, RepositoryName, Tag } from '../../src/oci/reference.ts';
import type { Database } from '../../src/stores/database.ts';
import { linksDeadUntil, mergeRemoval, removedBefore } from '../../src/stores/deletion/removals.ts';
import { sweepSlice } from '../../src/stores/deletion/sweep-rows.ts';
import { listRepositories } from '../../src/stores/list-rows.ts';
import { ControlData } from '../../src/stores/organizations/control-data.ts';
import { BINDINGS } from '../support/bindings.ts';
import { collectAll, pushImage, putManifest } from '../support/collecting.ts';
import { GRACE, granted, type Image, REPOSITORY } from '../support/fixture.ts';
import { type Host, type Hosts, openHosts } from '../support/hosts.ts';

const ALICE = 'alice' as OrganizationName;
const page = { limit: 10, after: '' };

let hosts: Hosts;

beforeEach(async () => {
  hosts = await openHosts();
});

const refused = (error: { kind: string }): string => error.kind;

function tagAt({ registry }: Host, tag: string): Promise<string> {
  const found = registry.resolveManifest(granted(), { kind: 'tag', tag: tag as Tag }, false);
  return found.then(({ digest }) => digest, refused);
}

async function everyTag(tag: string): Promise<string[]> {
  return Promise.all(hosts.all.map((host) => tagAt(host, tag)));
}

function everyDigest({ digest }: Image): Promise<string[]> {
  return Promise.all(
    hosts.all.map(({ registry }) =>
      registry.resolveManifest(granted(), { kind: 'digest', digest }, false).then((found) => found.digest, refused),
    ),
  );
}

function everyList(): Promise<string[]> {
  return Promise.all(
    hosts.all.map(({ registry }) => registry.listTags(granted(), page).then(({ items }) => items.join(), refused)),
  );
}

/** Either the name is unknown, or nothing is found under it. */
const GONE = expect.stringMatching(/^(MANIFEST|NAME)_UNKNOWN$/);
const ALL_GONE = [GONE, GONE, GONE];
const NO_LIST = expect.stringMatching(/^(NAME_UNKNOWN)?$/);

describe.each(['central', 'node2'] as const)('a repository that is removed at %s', (where) => {
  test('does not come back by an earlier push that a node announces after the removal', async () => {
    await pushImage(hosts.central, 1, ['base']);
    await hosts.drain();
    const late = await pushImage(hosts.node1, 3, ['late']);
    hosts.now += 1000;
    await hosts[where].registry.deleteRepository(REPOSITORY);
    expect(await everyTag('late')).toEqual(ALL_GONE);
    await hosts.drain();
    expect(await everyTag('late')).toEqual(ALL_GONE);
    expect(await everyTag('base')).toEqual(ALL_GONE);
    expect(await everyDigest(late)).toEqual(ALL_GONE);
    expect(await everyList()).toEqual([NO_LIST, NO_LIST, NO_LIST]);
  });

  test('does not come back by an announcement from a node that has not applied the removal', async () => {
    await pushImage(hosts.central, 1, ['base']);
    await hosts.drain();
    await pushImage(hosts.node1, 3, ['late']);
    hosts.now += 1000;
    await hosts[where].registry.deleteRepository(REPOSITORY);
    hosts.node1.queue.wakeUp();
    await hosts.node1.queue.moveMetadata(() => true);
    expect(await everyTag('late')).toEqual(ALL_GONE);
    await hosts.drain();
    expect(await everyTag('late')).toEqual(ALL_GONE);
  });

  test('accepts a later push at each host, and shows nothing from before', async () => {
    const image = await pushImage(hosts.node1, 1, ['base', 'other']);
    await hosts.drain();
    hosts.now += 1000;
    await hosts[where].registry.deleteRepository(REPOSITORY);
    await hosts.drain();
    for (const host of hosts.all) {
      hosts.now += 1000;
      await pushImage(host, 1, [host.name]);
      await hosts.drain();
    }
    for (const host of hosts.all) expect(await everyTag(host.name)).toEqual(hosts.all.map(() => image.digest));
    expect(await everyTag('base')).toEqual(ALL_GONE);
    expect(await everyList()).toEqual(hosts.all.map(() => 'central,node1,node2'));
  });
});

test('a push to a node that does not know of an earlier removal stays, with the blobs that it needs', async () => {
  const image = await pushImage(hosts.node1, 1, ['base']);
  await hosts.drain();
  await hosts.central.registry.deleteRepository(REPOSITORY);
  hosts.now += 1000;
  // The blobs are not sent again, because the node says that it has them.
  await putManifest(hosts.node1, image, ['late']);
  await hosts.drain();
  expect(await everyTag('late')).toEqual(hosts.all.map(() => image.digest));
  for (const digest of image.manifest.requiredBlobs) {
    for (const { registry } of hosts.all)
      expect((await registry.resolveBlob(granted(), digest, false)).digest).toBe(digest);
  }
});

test("a node's tag on a manifest that is deleted through central stays hidden when the manifest is pushed again", async () => {
  const image = await pushImage(hosts.central, 1, ['base']);
  await hosts.drain();
  await pushImage(hosts.node1, 1, ['late']);
  hosts.now += 1000;
  await hosts.node2.registry.deleteManifest(REPOSITORY, image.digest);
  await hosts.drain();
  expect(await everyTag('late')).toEqual(ALL_GONE);
  hosts.now += 1000;
  await pushImage(hosts.central, 1, ['again']);
  await hosts.drain();
  expect(await everyTag('again')).toEqual(hosts.all.map(() => image.digest));
  expect(await everyTag('late')).toEqual(ALL_GONE);
});

describe('before a node has swept, a removed repository', () => {
  const node = (): Database => hosts.node1.store.database;

  async function listed(): Promise<string[]> {
    const both = [
      listRepositories(node(), [{ from: 'a', to: 'b' }], false, '', 10),
      listRepositories(node(), [], true, '', 10),
    ];
    return (await Promise.all(both)).map((names) => names.join());
  }

  async function remove(): Promise<void> {
    hosts.now += 1000;
    await hosts.central.registry.deleteRepository(REPOSITORY);
    hosts.now += 1000;
  }

  async function hear(): Promise<void> {
    const version = await removedBefore(hosts.central.store.database, REPOSITORY);
    const removal = { name: REPOSITORY, version };
    await node().batch(mergeRemoval(removal, linksDeadUntil(removal, hosts.now)));
  }

  beforeEach(async () => {
    await pushImage(hosts.node1, 1, ['base']);
    await hosts.drain();
    await BINDINGS.node1[0].prepare('INSERT INTO public_repositories (name) VALUES (?1)').bind(REPOSITORY).run();
    expect(await listed()).toEqual([REPOSITORY, REPOSITORY]);
  });

  test('is no longer listed there', async () => {
    await remove();
    await hear();
    expect(await listed()).toEqual(['', '']);
  });

  test('stays listed if it was pushed there since', async () => {
    await remove();
    await pushImage(hosts.node1, 3, ['late']);
    await hear();
    expect((await listed())[0]).toBe(REPOSITORY);
  });

  test('is listed again after the sweep if a later push there was announced', async () => {
    await remove();
    await pushImage(hosts.node1, 3, ['late']);
    hosts.node1.queue.wakeUp();
    await hosts.node1.queue.moveMetadata(() => true);
    await hear();
    while (await sweepSlice(node(), REPOSITORY));
    expect((await listed())[0]).toBe(REPOSITORY);
  });
});

test('a removal is deleted like a tombstone, only once the rows that it hides are gone from every store', async () => {
  await pushImage(hosts.central, 1, ['base']);
  await hosts.drain();
  await pushImage(hosts.node1, 3, ['late']);
  hosts.now += 1000;
  await hosts.central.registry.deleteRepository(REPOSITORY);
  const names = async (): Promise<unknown[]> =>
    Promise.all(
      hosts.all.map(
        async ({ name }) => (await BINDINGS[name][0].prepare('SELECT name FROM removals').all()).results.length,
      ),
    );
  hosts.now += 2 * GRACE;
  await collectAll(hosts);
  // No node has applied it, and one has an older change to announce.
  expect(await names()).toEqual([1, 0, 0]);
  for (let round = 0; round < 4; round++) {
    await hosts.drain();
    hosts.now += GRACE;
    await collectAll(hosts);
    expect(await everyTag('late')).toEqual(ALL_GONE);
  }
  expect(await names()).toEqual([0, 0, 0]);
  const image = await pushImage(hosts.node1, 3, ['new']);
  await hosts.drain();
  expect(await everyTag('new')).toEqual(hosts.all.map(() => image.digest));
  expect(await everyTag('late')).toEqual(ALL_GONE);
});

describe('an organization', () => {
  const control = (): ControlData => new ControlData(hosts.central.store.database);

  beforeEach(async () => {
    await control().addOrganization(ALICE, hosts.now, 0);
    await hosts.drain();
  });

  async function giveAway(): Promise<void> {
    hosts.now += 1000;
    expect(await control().removeOrganization(ALICE, hosts.now)).toBe(true);
    hosts.now += 700_000;
    expect(await control().addOrganization(ALICE, hosts.now, hosts.now - 600_000)).toBe(true);
  }

  test('shows its next owner nothing that a node had not announced', async () => {
    const old = await pushImage(hosts.node1, 1, ['late']);
    await giveAway();
    await hosts.drain();
    expect(await everyTag('late')).toEqual(ALL_GONE);
    expect(await everyDigest(old)).toEqual(ALL_GONE);
    for (const { registry } of hosts.all) {
      for (const digest of old.manifest.requiredBlobs) {
        expect(await registry.resolveBlob(granted(), digest, true).then(() => 'there', refused)).toBe('BLOB_UNKNOWN');
      }
    }
    const { results } = await env.DB_CENTRAL.prepare("SELECT name FROM repositories WHERE name GLOB 'alice/*'").all();
    expect(results).toEqual([]);
  });

  test('accepts pushes of its next owner, and keeps them', async () => {
    await pushImage(hosts.node1, 1, ['late']);
    await giveAway();
    await hosts.drain();
    const image = await pushImage(hosts.node1, 1, ['new'], 'alice/app' as RepositoryName);
    await hosts.drain();
    expect(await everyTag('new')).toEqual(hosts.all.map(() => image.digest));
    expect(await everyTag('late')).toEqual(ALL_GONE);
  });
});
