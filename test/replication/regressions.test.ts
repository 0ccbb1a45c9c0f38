/** Sequences that the convergence test found, each as short as possible. */
import { env } from 'cloudflare:workers';
import { beforeEach, expect, test } from 'vitest';
import type { RepositoryName } from '../../src/oci/reference.ts';
import {
  bytesOf,
  type Fixture,
  granted,
  imageOf,
  pushBlob,
  pushImage,
  pushSmallImage,
  REPOSITORY,
  subjectOf,
} from '../support/fixture.ts';
import { type Host, type Hosts, openHosts } from '../support/hosts.ts';

let hosts: Hosts;

beforeEach(async () => {
  hosts = await openHosts();
  // The first time that a node applies the change log, it also copies all control data. Here that is over before a test
  // begins.
  await hosts.drain();
});

function at({ registry }: Host): Fixture {
  return { registry } as unknown as Fixture;
}

test('a node that learns of a deletion before it has the manifest keeps size and subject of a later push', async () => {
  const config = await pushBlob(at(hosts.central), bytesOf(1, 10));
  const subject = await imageOf(config, []);
  const referrer = await imageOf(config, [], { subject: subjectOf(subject) });
  await pushImage(at(hosts.central), referrer);
  await hosts.central.registry.deleteManifest(REPOSITORY, referrer.digest);
  await hosts.drain();
  await pushBlob(at(hosts.node1), bytesOf(1, 10));
  await pushImage(at(hosts.node1), referrer);
  await hosts.drain();
  for (const { registry } of hosts.all) {
    const found = await registry.getManifest(granted(), { kind: 'digest', digest: referrer.digest });
    expect(found.size).toBe(referrer.bytes.byteLength);
    const { items } = await registry.listReferrers(granted(), subject.digest, undefined, { limit: 10, after: '' });
    expect(items.map(({ digest, size }) => ({ digest, size }))).toEqual([
      { digest: referrer.digest, size: found.size },
    ]);
  }
});

test('a node that served a pull before it first applied the change log still learns of later deletions', async () => {
  const repository = 'alice/new' as RepositoryName;
  const image = await pushSmallImage(at(hosts.central), 1, [], repository);
  await env.DB_NODE1?.prepare('DELETE FROM change_log_positions').run();
  const pull = (host: Host): Promise<unknown> =>
    host.registry.getManifest(granted(repository), { kind: 'digest', digest: image.digest });
  await pull(hosts.node1);
  await hosts.settled();
  await hosts.central.registry.deleteManifest(repository, image.digest);
  await hosts.drain();
  for (const host of hosts.all) await expect(pull(host)).rejects.toMatchObject({ kind: 'MANIFEST_UNKNOWN' });
});

test('referrers of two stores are merged in the order that both use: by type, ignoring case', async () => {
  const config = await pushBlob(at(hosts.central), bytesOf(1, 10));
  await pushBlob(at(hosts.node1), bytesOf(1, 10));
  const subject = await imageOf(config, []);
  const types = ['application/B', 'application/a', 'Application/b', 'application/C', 'application/c', 'application/A'];
  for (const [i, artifactType] of types.entries()) {
    const referrer = await imageOf(config, [], { artifactType, subject: subjectOf(subject) });
    await pushImage(at(i % 2 === 0 ? hosts.central : hosts.node1), referrer);
  }
  const shown = async (artifactType: string | undefined, limit: number): Promise<string[]> => {
    const found: string[] = [];
    for (let after: string | undefined = ''; after !== undefined;) {
      const page = await hosts.node1.registry.listReferrers(granted(), subject.digest, artifactType, { limit, after });
      found.push(...page.items.map((item) => item.artifactType));
      after = page.last;
    }
    return found.toSorted();
  };
  for (const limit of [1, 2, 100]) {
    expect(await shown(undefined, limit)).toEqual(types.toSorted());
    expect(await shown('APPLICATION/b', limit)).toEqual(['Application/b', 'application/B']);
  }
});
