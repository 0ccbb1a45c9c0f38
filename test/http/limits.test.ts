/**
 * Limits of an organization other than bytes of blobs: manifests, tags, tags on one manifest, open uploads. A push over
 * a limit is refused as one over a quota is.
 */
import { env } from 'cloudflare:workers';
import { beforeEach, describe, expect, test } from 'vitest';
import { digestOf } from '../../src/oci/digest.ts';
import { addUsers } from '../support/client.ts';
import { bytesOf, type Image, imageOf } from '../support/fixture.ts';
import { requireRefused, setQuota, usageOf } from '../support/organization-usage.ts';
import { type Answered, type HostName, ThreeHosts } from '../support/three-hosts.ts';

const APP = 'alice/app';
const HOSTS = ['central', 'node1', 'node2'] as const;
const DATABASES: Readonly<Record<HostName, D1Database>> = {
  central: env.DB_CENTRAL,
  node1: env.DB_NODE1!,
  node2: env.DB_NODE2!,
};

let hosts: ThreeHosts;

beforeEach(addUsers);

/** Builds a manifest of one blob, which it pushes to the repository first; an annotation takes `size` bytes. */
async function imageNumbered(host: HostName, seed: number, size = 1, repository = APP): Promise<Image> {
  const content = bytesOf(1, 10);
  expect((await hosts.putBlob(host, repository, content)).status).toBe(201);
  return imageOf(await digestOf('sha256', content), [], {
    annotations: { seed: String(seed), text: 'x'.repeat(size) },
  });
}

async function push(host: HostName, seed: number, reference = `tag${seed}`, repository = APP): Promise<Answered> {
  return hosts.putManifest(host, repository, reference, await imageNumbered(host, seed, 1, repository));
}

const pushed = async (...of: Parameters<typeof push>): Promise<number> => (await push(...of)).status;

const remove = async (host: HostName, reference: string): Promise<void> => {
  const { headers } = await hosts.call(host, 'HEAD', `/v2/${APP}/manifests/${reference}`);
  const digest = headers.get('Docker-Content-Digest');
  expect((await hosts.call(host, 'DELETE', `/v2/${APP}/manifests/${digest}`)).status).toBe(202);
};

describe.each(['central', 'node1'] as const)('manifest bytes at %s', (host) => {
  beforeEach(async () => {
    hosts = await ThreeHosts.open();
  });

  test('count against the quota: a large manifest of a small image is refused, and leaves nothing', async () => {
    await setQuota(hosts, 1000);
    await hosts.announce();
    const image = await imageNumbered(host, 1, 3_000_000);
    requireRefused(await hosts.putManifest(host, APP, 'large', image), 'quota', '3 MB', '10 bytes of 1 kB');
    expect((await hosts.call(host, 'HEAD', `/v2/${APP}/manifests/large`)).status).toBe(404);
    const { results } = await DATABASES[host].prepare('SELECT 1 FROM manifest_contents').all();
    expect(results).toEqual([]);
  });

  test('count once for each organization, however many repositories hold the manifest, until the last one deletes it', async () => {
    const image = await imageNumbered(host, 1, 500);
    for (const repository of [APP, 'alice/other']) {
      await hosts.putBlob(host, repository, bytesOf(1, 10));
      expect((await hosts.putManifest(host, repository, 'latest', image)).status).toBe(201);
    }
    await hosts.drain();
    const size = image.bytes.byteLength;
    expect(await usageOf(hosts, host)).toMatchObject({
      manifests: 2,
      manifest_bytes: size,
      bytes: 10,
      used: size + 10,
    });
    await remove(host, 'latest');
    await hosts.drain();
    expect(await usageOf(hosts, host)).toMatchObject({ manifests: 1, manifest_bytes: size });
    await hosts.call(host, 'DELETE', `/v2/alice/other/manifests/${image.digest}`);
    await hosts.drain();
    expect(await usageOf(hosts, host)).toMatchObject({ manifests: 0, manifest_bytes: 0, used: 0 });
  });

  test('of a manifest that exists are never refused', async () => {
    const image = await imageNumbered(host, 1, 500);
    expect((await hosts.putManifest(host, APP, 'latest', image)).status).toBe(201);
    await hosts.drain();
    await setQuota(hosts, 1);
    await hosts.announce();
    for (const reference of ['latest', 'second', image.digest]) {
      expect((await hosts.putManifest(host, APP, reference, image)).status).toBe(201);
    }
  });
});

describe.each(['central', 'node1'] as const)('limits without a quota at %s', (host) => {
  test('of manifests refuse the next one, but not an existing one, and deleting makes room', async () => {
    hosts = await ThreeHosts.open({ organization_manifests: 2 });
    expect([await pushed(host, 1), await pushed(host, 2)]).toEqual([201, 201]);
    requireRefused(await push(host, 3), 'limit of 2 manifests', 'Delete images');
    requireRefused(await push(host, 3, 'tag1', 'alice/other'), 'manifests');
    expect([await pushed(host, 1), await pushed(host, 2, 'another')]).toEqual([201, 201]);
    await hosts.drain();
    requireRefused(await push(host, 3));
    await remove(host, 'tag1');
    expect(await pushed(host, 3)).toBe(201);
  });

  test('of tags refuse a new one, but not a moved one, and deleting makes room', async () => {
    hosts = await ThreeHosts.open({ organization_tags: 2 });
    expect([await pushed(host, 1), await pushed(host, 2)]).toEqual([201, 201]);
    requireRefused(await push(host, 3), 'this tag', 'limit of 2 tags');
    expect(await pushed(host, 3, 'tag1')).toBe(201);
    const { digest } = await imageNumbered(host, 4);
    expect(await pushed(host, 4, digest)).toBe(201);
    await hosts.drain();
    expect((await hosts.call(host, 'DELETE', `/v2/${APP}/manifests/tag2`)).status).toBe(202);
    expect(await pushed(host, 3)).toBe(201);
  });

  test('of tags also count deleted tags until they are forgotten, up to twice the limit', async () => {
    hosts = await ThreeHosts.open({ organization_tags: 2 });
    const { digest } = await imageNumbered(host, 1);
    for (const tags of ['?tag=a&tag=b', '?tag=c&tag=d']) {
      expect(await pushed(host, 1, `${digest}${tags}`)).toBe(201);
      await hosts.drain();
      expect((await hosts.call(host, 'DELETE', `/v2/${APP}/manifests/${digest}`)).status).toBe(202);
      await hosts.drain();
    }
    requireRefused(await push(host, 1, 'e'), 'limit of 4 tags', 'deleted ones included', 'Try again a day later');
    expect(await pushed(host, 1, 'a')).toBe(201);
  });

  test('let only one of two pushes pass, if there is room for only one', async () => {
    hosts = await ThreeHosts.open({ organization_manifests: 1 });
    const images = [await imageNumbered(host, 1), await imageNumbered(host, 2)];
    const answers = await Promise.all(images.map((image, i) => hosts.putManifest(host, APP, `tag${i}`, image)));
    expect(answers.map(({ status }) => status).toSorted()).toEqual([201, 403]);
  });

  test("of manifest bytes in one database count every repository's copy, and deleted manifests until they are collected", async () => {
    hosts = await ThreeHosts.open({ organization_manifest_gb: 0.000_003 });
    const image = await imageNumbered(host, 1, 1000);
    expect((await hosts.putManifest(host, APP, 'latest', image)).status).toBe(201);
    await hosts.putBlob(host, 'alice/other', bytesOf(1, 10));
    expect((await hosts.putManifest(host, 'alice/other', 'latest', image)).status).toBe(201);
    await hosts.putBlob(host, 'alice/third', bytesOf(1, 10));
    requireRefused(
      await hosts.putManifest(host, 'alice/third', 'latest', image),
      '3 kB of manifests',
      'until they are collected',
    );
    await hosts.drain();
    await remove(host, 'latest');
    requireRefused(await hosts.putManifest(host, APP, 'next', await imageNumbered(host, 2, 1000)));
    expect((await hosts.putManifest(host, APP, 'latest', image)).status).toBe(201);
  });

  test('of repositories refuse a new one, but not a push to an existing one', async () => {
    hosts = await ThreeHosts.open();
    expect(await pushed(host, 1)).toBe(201);
    await hosts.drain();
    const rows = (): Promise<unknown> =>
      DATABASES[host].prepare('SELECT repository_rows FROM usage').first('repository_rows');
    expect(await rows()).toBe(1);
    await DATABASES[host].prepare('UPDATE usage SET repository_rows = 100000').run();
    requireRefused(await push(host, 1, 'latest', 'alice/new'), 'this repository', 'limit of 100000 repositories');
    expect(await pushed(host, 2)).toBe(201);
    const created = await hosts.call(host, 'POST', '/api/organizations/alice/repositories', {
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ name: 'empty' }),
    });
    // Repositories are created at central.
    if (host === 'central') requireRefused(created, 'limit of 100000 repositories');
    else expect(created.status).toBe(201);
    expect((await hosts.call('central', 'DELETE', '/api/organizations/alice/repositories/app')).status).toBe(204);
    await hosts.drain();
    expect(await rows()).toBe(99_999);
    expect(await pushed(host, 1, 'latest', 'alice/new')).toBe(201);
  });

  test('of tags on one manifest refuse a new one, hidden ones included, but not one that is there', async () => {
    hosts = await ThreeHosts.open();
    const image = await imageNumbered(host, 1);
    const put = (reference: string) => hosts.putManifest(host, APP, reference, image);
    const tagWith = async (reference: string): Promise<number> => (await put(reference)).status;
    expect(await tagWith('first')).toBe(201);
    await DATABASES[host]
      .prepare(
        `WITH RECURSIVE n (i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < 999)
        INSERT INTO tags SELECT t.repository, 'tag' || i, t.digest, t.version, t.origin, i % 2, '' FROM n, tags t`,
      )
      .run();
    requireRefused(
      await put(`${image.digest}?tag=a&tag=b`),
      'this tag',
      'limit of 1000 tags on one manifest',
      'has 999',
    );
    expect(await tagWith(`${image.digest}?tag=a&tag=first`)).toBe(201);
    requireRefused(await put('b'), 'has 1000', 'Delete some of them first');
    expect([await tagWith('tag3'), await tagWith('tag4'), await tagWith(image.digest)]).toEqual([201, 201, 201]);
    expect([await pushed(host, 2, 'tag5'), await tagWith('b')]).toEqual([201, 201]);
    requireRefused(await put('c'));
    await hosts.drain();
    await remove(host, 'first');
    requireRefused(await put('c'), 'has 1000', 'count until they are collected');
    expect(await tagWith('first')).toBe(201);
  });

  test('of open uploads refuse the first chunk of another one, and leave nothing', async () => {
    hosts = await ThreeHosts.open();
    const location = async (): Promise<string> =>
      (await hosts.call(host, 'POST', `/v2/${APP}/blobs/uploads/`)).headers.get('Location') ?? '';
    const first = await hosts.call(host, 'PATCH', await location(), { body: bytesOf(1, 10) });
    expect(first.status).toBe(202);
    const open = (): Promise<unknown> =>
      DATABASES[host].prepare('SELECT open_uploads FROM usage').first('open_uploads');
    expect(await open()).toBe(1);
    await DATABASES[host].prepare('UPDATE usage SET open_uploads = 10000').run();
    requireRefused(
      await hosts.call(host, 'PATCH', await location(), { body: bytesOf(2, 10) }),
      '10000',
      'finish or cancel',
    );
    expect(await DATABASES[host].prepare('SELECT count(*) AS count FROM uploads').first('count')).toBe(1);
    const next = await hosts.call(host, 'PATCH', first.headers.get('Location') ?? '', { body: bytesOf(3, 10) });
    expect(next.status).toBe(202);
    expect((await hosts.call(host, 'DELETE', next.headers.get('Location') ?? '')).status).toBe(204);
    expect(await open()).toBe(9999);
  });
});

describe('at nodes', () => {
  test("images that others announced count, and the node's own images count once", async () => {
    hosts = await ThreeHosts.open({ organization_manifests: 4 });
    expect([await pushed('central', 1), await pushed('node1', 2)]).toEqual([201, 201]);
    await hosts.drain();
    expect(await pushed('node2', 3)).toBe(201);
    await hosts.drain();
    // Reading an image at a node, which copies it down, must not count it again.
    for (const host of ['node1', 'node2'] as const) await hosts.call(host, 'GET', `/v2/${APP}/manifests/tag1`);
    hosts.takeAway('central D1');
    expect(await pushed('node1', 4)).toBe(201);
    requireRefused(await push('node1', 5), 'limit of 4 manifests', 'has 4');
    hosts.giveBack();
    await hosts.drain();
    for (const host of HOSTS) requireRefused(await push(host, 5), 'manifests');
    for (const host of HOSTS) expect(await usageOf(hosts, host)).toMatchObject({ manifests: 4, tags: 4 });
  });

  test('tags that others announced count, and a deletion elsewhere makes room', async () => {
    hosts = await ThreeHosts.open({ organization_tags: 2 });
    expect([await pushed('central', 1), await pushed('node1', 2)]).toEqual([201, 201]);
    await hosts.drain();
    for (const host of HOSTS) requireRefused(await push(host, 3), 'limit of 2 tags');
    expect((await hosts.call('central', 'DELETE', `/v2/${APP}/manifests/tag2`)).status).toBe(202);
    await hosts.drain();
    expect(await pushed('node1', 3)).toBe(201);
  });

  test('images that nodes acknowledged are announced, even if the sum exceeds a limit', async () => {
    hosts = await ThreeHosts.open({ organization_manifests: 1, organization_tags: 1 });
    hosts.takeAway('central D1', 'central R2');
    expect([await pushed('node1', 1), await pushed('node2', 2)]).toEqual([201, 201]);
    hosts.giveBack();
    await hosts.drain();
    expect(await usageOf(hosts)).toMatchObject({ manifests: 2, tags: 2 });
    for (const tag of ['tag1', 'tag2']) {
      expect((await hosts.call('central', 'GET', `/v2/${APP}/manifests/${tag}`)).status).toBe(200);
    }
    for (const host of HOSTS) requireRefused(await push(host, 3));
  });

  test('tags on one manifest are announced, even if central has the most that it takes', async () => {
    hosts = await ThreeHosts.open();
    expect(await pushed('central', 1)).toBe(201);
    await env.DB_CENTRAL.prepare(
      `WITH RECURSIVE n (i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < 1000)
      INSERT INTO tags SELECT t.repository, 'more' || i, t.digest, t.version, t.origin, 1, '' FROM n, tags t`,
    ).run();
    requireRefused(await push('central', 1, 'another'), 'on one manifest');
    expect(await pushed('node1', 1, 'another')).toBe(201);
    await hosts.drain();
    expect((await hosts.call('central', 'GET', `/v2/${APP}/manifests/another`)).status).toBe(200);
  });

  test('an image that central has may be pushed to a node that never had it', async () => {
    hosts = await ThreeHosts.open({ organization_manifests: 1, organization_tags: 1 });
    expect(await pushed('central', 1)).toBe(201);
    await hosts.drain();
    expect(await pushed('node1', 1)).toBe(201);
    requireRefused(await push('node1', 1, 'new'), 'tags');
    requireRefused(await push('node1', 2, 'tag1'), 'manifests');
    await hosts.drain();
    expect(await usageOf(hosts, 'node1')).toMatchObject({ manifests: 1, tags: 1 });
  });
});

describe("an organization's usage is the same at every host", () => {
  const open = async (host: HostName, size: number): Promise<void> => {
    const { headers } = await hosts.call(host, 'POST', `/v2/${APP}/blobs/uploads/`);
    const answered = await hosts.call(host, 'PATCH', headers.get('Location') ?? '', { body: bytesOf(size, size) });
    expect(answered.status).toBe(202);
  };

  test('open uploads count, whichever store has them', async () => {
    hosts = await ThreeHosts.open();
    await open('central', 100);
    await open('node1', 20);
    await open('node2', 3);
    for (const host of HOSTS) {
      expect(await usageOf(hosts, host)).toMatchObject({ used: 123, in_flight: 123, complete: true });
      const { bytes } = await hosts.call(host, 'GET', '/api/v2.0/projects/alice/summary');
      expect(JSON.parse(new TextDecoder().decode(bytes))).toMatchObject({ quota: { used: { storage: 123 } } });
    }
  });

  test('unannounced images of a node count, and the answer says so when a node is away', async () => {
    hosts = await ThreeHosts.open();
    hosts.takeAway('queues');
    const { bytes } = await hosts.push('node1', APP, 1, 'latest');
    const expected = { manifests: 1, tags: 1, blobs: 2, bytes: 100, manifest_bytes: bytes.byteLength, complete: true };
    for (const host of HOSTS) expect(await usageOf(hosts, host)).toMatchObject(expected);
    hosts.takeAway('node1 D1');
    expect(await usageOf(hosts)).toMatchObject({ manifests: 0, used: 0, complete: false });
  });
});
