/** A queue handles work that fails, and continues other work. */
import { env } from 'cloudflare:workers';
import { beforeEach, describe, expect, test } from 'vitest';
import type { Digest } from '../../src/oci/digest.ts';
import type { OrganizationName, RepositoryName, Tag } from '../../src/oci/reference.ts';
import { afterFailure, copyUpJob, copyDownJob, type Job, outboxEntryJob } from '../../src/replication/machine.ts';
import { ControlData } from '../../src/stores/organizations/control-data.ts';
import { outboxEntriesAfter } from '../../src/stores/outbox-rows.ts';
import { pin } from '../../src/maintenance/eviction/pin-rows.ts';
import { pushImage, rowsAt } from '../support/collecting.ts';
import { resetCounts } from '../support/counting.ts';
import { bytesOf, type Fixture, granted, pushBlob, pushSmallImage, REPOSITORY } from '../support/fixture.ts';
import { type Host, type Hosts, openHosts } from '../support/hosts.ts';
import { OPEN } from '../support/links.ts';

const ALWAYS = (): boolean => true;
const PARKED: Job = { attempts: 12, nextAt: 0, parked: true, error: 'it never worked' };

let hosts: Hosts;

beforeEach(async () => {
  hosts = await openHosts();
});

function at({ registry }: Host): Fixture {
  return { registry } as unknown as Fixture;
}

function digestNo(i: number): Digest {
  return `sha256:${i.toString(16).padStart(64, '0')}` as Digest;
}

async function tagAt({ registry }: Host, tag: string): Promise<string> {
  return registry.getManifest(granted(), { kind: 'tag', tag: tag as Tag }).then(
    ({ digest }) => digest,
    (error: { kind: string }) => error.kind,
  );
}

describe('a parked job', () => {
  test('does not delay a later push of the same tag', async () => {
    const { node1, central } = hosts;
    await pushSmallImage(at(node1), 1, ['latest']);
    for (const outboxEntry of await outboxEntriesAfter(node1.store.database, undefined, 10))
      node1.state.setJob(outboxEntryJob(outboxEntry), PARKED);
    await node1.queue.moveMetadata(ALWAYS);
    expect(await tagAt(central, 'latest')).toBe('NAME_UNKNOWN');
    hosts.now += 1000;
    const again = await pushSmallImage(at(node1), 3, ['latest']);
    await node1.queue.moveMetadata(ALWAYS);
    expect(await tagAt(central, 'latest')).toBe(again.digest);
    expect(node1.state.parkedJobs('', 10).map(({ id }) => id.split(' ').slice(0, 3).join(' '))).toEqual([
      `announce manifest ${REPOSITORY}`,
    ]);
  });

  test('does not delay copies down, however many jobs are parked', async () => {
    const { node1, central } = hosts;
    for (let i = 0; i < 1100; i++) {
      node1.state.addCopyDown({ repository: REPOSITORY, digest: digestNo(i) });
      node1.state.setJob(copyDownJob(REPOSITORY, digestNo(i)), PARKED);
    }
    const blob = await pushBlob(at(central), bytesOf(1, 100));
    node1.queue.addCopiesDown(REPOSITORY, [blob]);
    await node1.queue.moveBytes(ALWAYS);
    expect(node1.state.copiesDownLeft(REPOSITORY, [blob])).toBe(0);
    expect((await node1.registry.getBlob(granted(), blob)).size).toBe(100);
  });

  test('is not looked at again', async () => {
    const { node1, central } = hosts;
    const image = await pushSmallImage(at(node1), 1, ['latest']);
    await node1.queue.moveMetadata(ALWAYS);
    for (const digest of image.manifest.requiredBlobs) node1.state.setJob(copyUpJob(digest), PARKED);
    resetCounts(central.counts);
    await node1.queue.moveBytes(ALWAYS);
    expect(central.counts.d1).toBe(1);
    expect(node1.queue.nextAlarm()).toBeUndefined();
    node1.state.retry(undefined);
    await node1.queue.moveBytes(ALWAYS);
    expect(node1.state.counter('settled')).toBe(2);
  });
});

test('a copied object is used, even if its row could not be written at first', async () => {
  const { node1, central } = hosts;
  await pushSmallImage(at(node1), 1, ['latest']);
  await node1.queue.moveMetadata(ALWAYS);
  let puts = 0;
  central.gate = async (call, work) => {
    if (call === 'put') puts++;
    if (call === 'batch' && puts > 0) throw new Error('the row is not written');
    return work();
  };
  await node1.queue.moveBytes(ALWAYS);
  const before = puts;
  expect(before).toBeGreaterThan(0);
  central.gate = (_call, work) => work();
  hosts.now += 60_000;
  await hosts.drain();
  const { objects } = await env.BLOBS_CENTRAL.list();
  expect(objects.length).toBe(2);
});

test('metadata that a run had no time for is due at once, until a run ends by itself', async () => {
  const { node1, central } = hosts;
  const image = await pushSmallImage(at(node1), 1, ['latest']);
  await node1.queue.moveMetadata(() => false);
  expect([node1.queue.nextRetry(), node1.queue.nextAlarm()]).toEqual([hosts.now, hosts.now]);
  await node1.queue.moveMetadata(ALWAYS);
  expect(await tagAt(central, 'latest')).toBe(image.digest);
  expect(node1.queue.nextRetry()).toBeUndefined();
});

describe('after its clock was days ahead and was set back', () => {
  const AHEAD = 3 * 24 * 3_600_000;

  test('a job that failed meanwhile is retried at once', async () => {
    const { node1, central } = hosts;
    const image = await pushSmallImage(at(node1), 1, ['latest']);
    for (const outboxEntry of await outboxEntriesAfter(node1.store.database, undefined, 10)) {
      node1.state.setJob(
        outboxEntryJob(outboxEntry),
        afterFailure(undefined, new Error('it failed'), hosts.now + AHEAD, 1),
      );
    }
    for (const digest of image.manifest.requiredBlobs) {
      node1.state.setJob(copyUpJob(digest), afterFailure(undefined, new Error('it failed'), hosts.now + AHEAD, 1));
    }
    await node1.queue.moveMetadata(ALWAYS);
    expect(await tagAt(central, 'latest')).toBe(image.digest);
    await node1.queue.moveBytes(ALWAYS);
    expect(node1.state.counter('settled')).toBe(2);
  });

  test('a lane that backed off meanwhile continues at once', async () => {
    const { node1, central } = hosts;
    const image = await pushSmallImage(at(node1), 1, ['latest']);
    hosts.now += AHEAD;
    central.gate = () => Promise.reject(new Error('D1_ERROR: Network connection lost.'));
    await node1.queue.moveMetadata(ALWAYS);
    await node1.queue.moveBytes(ALWAYS);
    hosts.now -= AHEAD;
    central.gate = OPEN;
    expect(node1.queue.nextAlarm()).toBe(hosts.now);
    await node1.queue.moveMetadata(ALWAYS);
    expect(await tagAt(central, 'latest')).toBe(image.digest);
    await node1.queue.moveBytes(ALWAYS);
    expect(node1.state.counter('settled')).toBe(2);
  });
});

describe('a node that learns of changes late', () => {
  const NAME = 'acme' as OrganizationName;
  const DAY = 24 * 3_600_000;

  const credential = (id: string, createdAt: number) => ({
    id,
    kind: 'organization' as const,
    organization: NAME,
    name: id,
    rights: '["pull"]',
    repositories: '["acme/*"]',
    secret_hash: `hash-of-${id}`,
    created_at: createdAt,
    expires_at: null,
    registries: null,
  });

  test("has none of an organization's old credentials once its name has a new owner", async () => {
    const control = new ControlData(hosts.central.store.database);
    await control.addOrganization(NAME, hosts.now, 0);
    await control.addCredential(credential('old', hosts.now));
    await hosts.drain();
    const atNode = new ControlData(hosts.node1.store.database);
    expect(await atNode.credentialBySecret('hash-of-old')).toBeDefined();
    await control.removeOrganization(NAME, hosts.now + 1);
    await control.addOrganization(NAME, hosts.now + DAY, hosts.now + DAY);
    await control.addCredential(credential('new', hosts.now + DAY));
    await hosts.drain();
    expect(await atNode.credentialBySecret('hash-of-old')).toBeUndefined();
    expect(await atNode.credentialBySecret('hash-of-new')).toBeDefined();
  });

  test('keeps credentials and pins that a slow clock dates before their organization', async () => {
    const control = new ControlData(hosts.central.store.database);
    await control.addOrganization(NAME, hosts.now, 0);
    await control.addCredential(credential('ci', hosts.now - 1));
    await hosts.drain();
    await pin(hosts.node1.store.database, 'acme/app' as RepositoryName, 'a' as Tag, hosts.now - 1);
    await control.setQuota(NAME, 100, hosts.now + 1);
    await hosts.drain();
    expect(await new ControlData(hosts.node1.store.database).credentialBySecret('hash-of-ci')).toBeDefined();
    expect(await rowsAt('node1', 'SELECT repository FROM pins')).toEqual([{ repository: 'acme/app' }]);
  });

  test('has no pins left of a removed repository, except those that were set since', async () => {
    const { central, node1 } = hosts;
    const other = 'alice/other' as RepositoryName;
    await pushImage(central, 1, ['a']);
    for (const repository of [REPOSITORY, other]) await pin(node1.store.database, repository, 'a' as Tag, hosts.now);
    hosts.now += 1000;
    await central.registry.deleteRepository(REPOSITORY);
    hosts.now += 1000;
    await pin(node1.store.database, REPOSITORY, 'b' as Tag, hosts.now);
    await hosts.drain();
    expect(await rowsAt('node1', 'SELECT repository, reference FROM pins ORDER BY repository')).toEqual([
      { repository: REPOSITORY, reference: 'b' },
      { repository: other, reference: 'a' },
    ]);
  });

  test('has no pins left of a removed organization, at the latest when its name has a new owner', async () => {
    const control = new ControlData(hosts.central.store.database);
    const pinned = [`${NAME}/app`, `${NAME}x/app`] as RepositoryName[];
    await control.addOrganization(NAME, hosts.now, 0);
    for (const repository of pinned) await pin(hosts.node1.store.database, repository, 'a' as Tag, hosts.now + 1);
    await control.setQuota(NAME, 100, hosts.now + 2);
    await hosts.drain();
    const left = () => rowsAt('node1', 'SELECT repository FROM pins ORDER BY repository');
    expect(await left()).toHaveLength(2);
    await control.removeOrganization(NAME, hosts.now + 3);
    await control.addOrganization(NAME, hosts.now + DAY, hosts.now + DAY);
    await hosts.drain();
    expect(await left()).toEqual([{ repository: pinned[1] }]);
  });

  test('keeps a blob that was pushed to it after the deletion that it applies', async () => {
    const { central, node1 } = hosts;
    await hosts.drain();
    await pushBlob(at(central), bytesOf(1, 100));
    const blob = await pushBlob(at(node1), bytesOf(1, 100));
    hosts.now += 1000;
    await central.registry.deleteBlob(REPOSITORY, blob);
    hosts.now += 1000;
    await pushBlob(at(node1), bytesOf(1, 100));
    await hosts.drain();
    expect((await node1.registry.getBlob(granted(), blob)).size).toBe(100);
    await expect(central.registry.getBlob(granted(), blob)).rejects.toMatchObject({ kind: 'BLOB_UNKNOWN' });
  });

  test('keeps a repository private that was deleted through it and pushed again', async () => {
    const { central, node1 } = hosts;
    await pushSmallImage(at(central), 1, ['latest']);
    await new ControlData(central.store.database).setPublic(REPOSITORY, true, hosts.now);
    await hosts.drain();
    await node1.registry.deleteRepository(REPOSITORY);
    hosts.now += 1000;
    await pushSmallImage(at(node1), 3, ['latest']);
    const asAnyone = { repository: REPOSITORY, condition: 'if-public' } as const;
    const read = node1.registry.getManifest(asAnyone, { kind: 'tag', tag: 'latest' as Tag });
    await expect(read).rejects.toMatchObject({ name: 'NotPublic' });
  });
});
