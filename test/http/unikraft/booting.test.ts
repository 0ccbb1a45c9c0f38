/** The reads of an instance when it boots: with the platform's credential, from the registry of its node. */
import { beforeEach, describe, expect, test } from 'vitest';
import { type Application, applicationOf } from '../../support/application.ts';
import { addUsers, USERS } from '../../support/client.ts';
import { resetCounts } from '../../support/counting.ts';
import { bytesOf } from '../../support/fixture.ts';
import { type HostName, ThreeHosts } from '../../support/three-hosts.ts';
import { Unikraft } from '../../support/unikraft.ts';

const REPOSITORY = 'bob/app';
const PLATFORM = { user: 'platform', secret: USERS.platform.password };
/** Kernel, root file system and config. */
const BLOBS = 3;
/** Index and manifest. */
const MANIFESTS = 2;

let hosts: ThreeHosts;
let application: Application;

beforeEach(async () => {
  await addUsers();
  hosts = await ThreeHosts.open();
  application = await applicationOf({ kernel: { bytes: bytesOf(1, 20_000) }, rootfs: bytesOf(2, 10_000) });
});

async function pushAt(host: HostName): Promise<void> {
  const owner = new Unikraft(hosts.wireTo(host), { user: 'bob', secret: USERS.bob.password });
  await owner.push(REPOSITORY, 'latest', application);
}

/** Boots at node1, and returns how many requests each store received. */
async function boot(
  reference: string,
): Promise<Readonly<Record<HostName, { readonly d1: number; readonly gets: number }>>> {
  const client = new Unikraft(hosts.wireTo('node1'), PLATFORM);
  await client.logIn(REPOSITORY);
  for (const counts of Object.values(hosts.counts)) resetCounts(counts);
  const got = await client.pull(REPOSITORY, reference);
  const { layers, config, manifest, index } = application;
  for (const { digest, bytes } of [...layers, config, manifest, index]) expect(got.get(digest)).toEqual(bytes);
  const asked = (host: HostName) => ({ d1: hosts.counts[host].d1, gets: hosts.counts[host].classB });
  return { central: asked('central'), node1: asked('node1'), node2: asked('node2') };
}

describe.each([
  ['by tag', (): string => 'latest'],
  ['by digest', (): string => application.index.digest],
] as const)('%s', (_how, reference) => {
  test.each(['central', 'node2'] as const)(
    "the first boot reads the bytes pushed at %s, the second the node's own",
    async (holder) => {
      await pushAt(holder);
      await hosts.announce();
      const first = await boot(reference());
      expect(first[holder].gets).toBe(BLOBS);
      expect(first.node1.gets).toBe(0);
      await hosts.drain();
      const second = await boot(reference());
      expect(second.node1.gets).toBe(BLOBS);
      expect(second.central.gets + second.node2.gets).toBe(0);
      expect(second.node2).toEqual({ d1: 0, gets: 0 });
      // The tag may have moved at central, so the HEAD that resolves it asks central; nothing else does.
      expect(second.central.d1).toBe(reference() === 'latest' ? 1 : 0);
    },
  );
});

test('an image that was pushed at the node boots there without any other store', async () => {
  await pushAt('node1');
  const { central, node1, node2 } = await boot(application.index.digest);
  expect({ central, node2 }).toEqual({ central: { d1: 0, gets: 0 }, node2: { d1: 0, gets: 0 } });
  expect(node1.gets).toBe(BLOBS);
  expect(node1.d1).toBeGreaterThanOrEqual(BLOBS + MANIFESTS);
});

test('an image that has booted boots again while central and every other store is away', async () => {
  await pushAt('central');
  await boot('latest');
  await hosts.drain();
  hosts.takeAway('central D1', 'central R2', 'node2 D1', 'node2 R2', 'queues');
  for (const reference of ['latest', application.index.digest]) {
    const { central, node1 } = await boot(reference);
    expect(central.gets).toBe(0);
    expect(node1.gets).toBe(BLOBS);
  }
});

test('the platform may read every organization, and write to none', async () => {
  await pushAt('node1');
  const alices = new Unikraft(hosts.wireTo('node1'), { user: 'alice', secret: USERS.alice.password });
  await alices.push('alice/app', 'latest', application);
  const platform = new Unikraft(hosts.wireTo('node1'), PLATFORM);
  for (const repository of [REPOSITORY, 'alice/app']) {
    expect((await platform.pull(repository, 'latest')).size).toBe(BLOBS + MANIFESTS);
    await expect(platform.push(repository, 'other', application)).rejects.toThrow(/401|403/);
  }
});
