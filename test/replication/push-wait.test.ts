/** Questions before an upload, at a node, while central is slow or never answers. */
import { beforeEach, describe, expect, test } from 'vitest';
import type { Digest } from '../../src/oci/digest.ts';
import type { Reference, RepositoryName, Tag } from '../../src/oci/reference.ts';
import { mergeRemoval } from '../../src/stores/deletion/removals.ts';
import { bytesOf, type Fixture, GRACE, granted, imageOf, pushBlob, pushImage, REPOSITORY } from '../support/fixture.ts';
import { type Host, type Hosts, openHosts } from '../support/hosts.ts';
import { BINDINGS } from '../support/bindings.ts';

const OTHER = 'alice/other' as RepositoryName;
const BOBS = 'bob/app' as RepositoryName;

let hosts: Hosts;
let kernel: Digest;

beforeEach(async () => {
  hosts = await openHosts({ pushWaitMilliseconds: 1 });
  kernel = await pushBlob(at(hosts.central), bytesOf(9, 1000));
});

function at({ registry }: Host): Fixture {
  return { registry } as unknown as Fixture;
}

function head(repository = REPOSITORY, mayPush = true): Promise<number | string> {
  return hosts.node1.registry.resolveBlob(granted(repository), kernel, mayPush).then(
    ({ size }) => size,
    (error: { kind: string }) => error.kind,
  );
}

/** Makes calls to central wait until the returned function is called. */
function slowCentral(): () => void {
  const { promise, resolve } = Promise.withResolvers<undefined>();
  hosts.central.gate = async (_call, work) => {
    await promise;
    return work();
  };
  return () => resolve(undefined);
}

function centralAway(): void {
  hosts.central.gate = () => Promise.reject(new Error('central is away'));
}

const linksAtNode = async (): Promise<unknown[]> =>
  (await BINDINGS.node1[0].prepare('SELECT repository FROM links').all<{ repository: string }>()).results.map(
    ({ repository }) => repository,
  );

describe('while central is slow', () => {
  test('a HEAD by a pusher is 404 at once, and central’s later yes answers the next HEAD and the commit', async () => {
    const answer = slowCentral();
    expect(await head()).toBe('BLOB_UNKNOWN');
    answer();
    await hosts.settled();
    centralAway();
    expect(await head()).toBe(1000);
    const config = await pushBlob(at(hosts.node1), bytesOf(10, 10));
    await pushImage(at(hosts.node1), await imageOf(config, [kernel]), ['latest']);
  });

  test('a mount becomes an upload at once, and central’s later yes answers the next HEAD', async () => {
    const answer = slowCentral();
    expect(await hosts.node1.registry.mountBlob(OTHER, kernel, granted())).toBe(false);
    const anywhere = { ranges: [{ from: 'alice/', to: 'alice0' }], withPublic: true };
    expect(await hosts.node1.registry.mountBlob(OTHER, kernel, anywhere)).toBe(false);
    answer();
    await hosts.settled();
    centralAway();
    expect(await head(OTHER)).toBe(1000);
    expect(await linksAtNode()).toEqual([OTHER]);
  });

  test.each(['before', 'after'] as const)(
    'the upload that follows is whole if central says yes %s it',
    async (when) => {
      const answer = slowCentral();
      expect(await head()).toBe('BLOB_UNKNOWN');
      if (when === 'before') {
        answer();
        await hosts.settled();
      }
      await pushBlob(at(hosts.node1), bytesOf(9, 1000));
      answer();
      await hosts.settled();
      centralAway();
      expect((await hosts.node1.registry.getBlob(granted(), kernel)).size).toBe(1000);
    },
  );

  test('a blob that is deleted before central’s later yes is written stays deleted', async () => {
    const { promise, resolve } = Promise.withResolvers<undefined>();
    let isFirst = true;
    hosts.central.gate = async (_call, work) => {
      await promise;
      const answer = await work();
      if (isFirst) await BINDINGS.central[0].prepare('DELETE FROM links').run();
      isFirst = false;
      return answer;
    };
    expect(await head()).toBe('BLOB_UNKNOWN');
    resolve(undefined);
    await hosts.settled();
    expect(await linksAtNode()).toEqual([]);
  });

  test('a later no leaves nothing', async () => {
    const answer = slowCentral();
    expect(await head('alice/third' as RepositoryName)).toBe('BLOB_UNKNOWN');
    expect(await hosts.node1.registry.mountBlob(OTHER, kernel, granted('alice/third' as RepositoryName))).toBe(false);
    answer();
    await hosts.settled();
    expect(await linksAtNode()).toEqual([]);
  });

  test('a pull waits for central as before, since a 404 would be wrong', async () => {
    const answer = slowCentral();
    const pulled = head(REPOSITORY, false);
    expect(await head()).toBe('BLOB_UNKNOWN');
    answer();
    expect(await pulled).toBe(1000);
    centralAway();
    expect(await head(REPOSITORY, false)).toBe('UNAVAILABLE');
  });
});

describe('central’s promise answers a HEAD at the node', () => {
  test('as long as it leaves the grace time; then central is asked again, and renews its lease', async () => {
    hosts = await openHosts();
    hosts.now += GRACE / 4 + 1;
    expect(await head()).toBe(1000);
    const calls = hosts.central.counts.d1;
    hosts.now += GRACE / 4;
    expect([await head(), hosts.central.counts.d1 - calls]).toEqual([1000, 0]);
    hosts.now += 1;
    expect([await head(), hosts.central.counts.d1 - calls]).toEqual([1000, 1]);
    const lease = await BINDINGS.central[0].prepare('SELECT lease_until FROM locations').first<number>('lease_until');
    expect(lease).toBe(hosts.now + 2 * GRACE);
  });

  test('only in the repository that it was given for', async () => {
    hosts = await openHosts();
    expect(await head()).toBe(1000);
    centralAway();
    expect(await head()).toBe(1000);
    expect(await head(OTHER)).toBe('BLOB_UNKNOWN');
    expect(await head('bob/app' as RepositoryName)).toBe('BLOB_UNKNOWN');
  });

  test('until the node hears that the blob was deleted', async () => {
    hosts = await openHosts();
    expect(await head()).toBe(1000);
    await hosts.central.registry.deleteBlob(REPOSITORY, kernel);
    await hosts.drain();
    expect(await head()).toBe('BLOB_UNKNOWN');
  });
});

describe('a HEAD of a manifest, while central is slow', () => {
  const LATEST = { kind: 'tag', tag: 'latest' as Tag } as const;
  const headOf = (reference: Reference, mayPush = true): Promise<Digest | string> =>
    hosts.node1.registry.resolveManifest(granted(), reference, mayPush).then(
      ({ digest }) => digest,
      (error: { kind: string }) => error.kind,
    );
  const push = async (host: Host, bytes: number): Promise<Digest> => {
    const image = await imageOf(await pushBlob(at(host), bytesOf(bytes, 10)), []);
    await pushImage(at(host), image, ['latest']);
    return image.digest;
  };

  test('is 404 at once for a pusher, and waits for a puller', async () => {
    const digest = await push(hosts.central, 20);
    const answer = slowCentral();
    const pulled = headOf(LATEST, false);
    expect(await headOf({ kind: 'digest', digest })).toBe('MANIFEST_UNKNOWN');
    expect(await headOf(LATEST)).toBe('MANIFEST_UNKNOWN');
    answer();
    expect(await pulled).toBe(digest);
  });

  test('answers a pusher at once from the node’s own store', async () => {
    const digest = await push(hosts.node1, 20);
    const answer = slowCentral();
    expect(await headOf({ kind: 'digest', digest })).toBe(digest);
    expect(await headOf(LATEST)).toBe(digest);
    answer();
    await hosts.settled();
  });
});

describe('a yes from central that comes after the repository was removed', () => {
  const removeAtNode = async (repository: RepositoryName): Promise<void> => {
    hosts.now += 1000;
    const removal = { name: repository, version: hosts.now * 1000 };
    await hosts.node1.store.database.batch(mergeRemoval(removal, hosts.now));
  };

  test.each<[string, () => Promise<unknown>]>([
    ['a HEAD', () => head()],
    ['a mount', () => hosts.node1.registry.mountBlob(REPOSITORY, kernel, granted(OTHER))],
    ['a mount from another organization', () => hosts.node1.registry.mountBlob(REPOSITORY, kernel, granted(BOBS))],
  ])('leaves no link: %s', async (_, ask) => {
    for (const repository of [OTHER, BOBS]) await pushBlob(at(hosts.central), bytesOf(9, 1000), repository);
    const answer = slowCentral();
    await ask();
    await removeAtNode(REPOSITORY);
    answer();
    await hosts.settled();
    expect(await linksAtNode()).toEqual([]);
    hosts.now += 1;
    await head();
    await hosts.settled();
    expect(await linksAtNode()).toEqual([REPOSITORY]);
  });
});
