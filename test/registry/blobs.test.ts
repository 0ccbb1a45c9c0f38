import { env } from 'cloudflare:workers';
import { beforeEach, describe, expect, test } from 'vitest';
import { digestOf } from '../../src/oci/digest.ts';
import type { RepositoryName } from '../../src/oci/reference.ts';
import { NotPublic } from '../../src/registry/access.ts';
import {
  bytesOf,
  type Fixture,
  GRACE,
  granted,
  ifPublic,
  openFixture,
  pushBlob,
  pushImage,
  pushSmallImage,
  REPOSITORY,
  rowsOf,
  text,
  first,
  utf8,
} from '../support/fixture.ts';

const OTHER = 'bob/other' as RepositoryName;
let fixture: Fixture;

beforeEach(async () => {
  fixture = await openFixture();
});

const publish = (name: string) =>
  env.DB_CENTRAL.prepare('INSERT INTO public_repositories (name) VALUES (?1)').bind(name).run();

describe('invariant 6: knowing a digest gives nothing', () => {
  test('a blob can be read only through the link of its repository', async () => {
    const digest = await pushBlob(fixture, bytesOf(1, 100));
    await expect(fixture.registry.getBlob(granted(OTHER), digest)).rejects.toMatchObject({ kind: 'BLOB_UNKNOWN' });
    await expect(fixture.registry.resolveBlob(granted(OTHER), digest, true)).rejects.toMatchObject({
      kind: 'BLOB_UNKNOWN',
    });
  });

  test('the query that reads also checks whether the repository is public', async () => {
    const image = await pushSmallImage(fixture, 1, ['latest']);
    const digest = first(image.manifest.requiredBlobs);
    const reference = { kind: 'digest', digest: image.digest } as const;
    const reads = [
      () => fixture.registry.getBlob(ifPublic(), digest),
      () => fixture.registry.resolveBlob(ifPublic(), digest, false),
      () => fixture.registry.getManifest(ifPublic(), reference),
      () => fixture.registry.resolveManifest(ifPublic(), reference),
      () => fixture.registry.listTags(ifPublic(), { limit: 10, after: '' }),
      () => fixture.registry.listReferrers(ifPublic(), image.digest, undefined, { limit: 10, after: '' }),
    ];
    for (const read of reads) await expect(read()).rejects.toBeInstanceOf(NotPublic);
    await publish(REPOSITORY);
    for (const read of reads) await expect(read()).resolves.toBeDefined();
  });

  test('a blob that was deleted here does not come back when it is pushed elsewhere', async () => {
    const digest = await pushBlob(fixture, bytesOf(1, 100));
    await fixture.registry.deleteBlob(REPOSITORY, digest);
    await pushBlob(fixture, bytesOf(1, 100), OTHER);
    await expect(fixture.registry.getBlob(granted(), digest)).rejects.toMatchObject({ kind: 'BLOB_UNKNOWN' });
  });
});

describe('mounts', () => {
  test('work from a repository that the caller may read', async () => {
    const digest = await pushBlob(fixture, bytesOf(1, 100), OTHER);
    expect(await fixture.registry.mountBlob(REPOSITORY, digest, granted(OTHER))).toBe(true);
    expect((await fixture.registry.getBlob(granted(), digest)).size).toBe(100);
  });

  test('fail from one that lacks the blob, and from a private one of others', async () => {
    const digest = await pushBlob(fixture, bytesOf(1, 100), OTHER);
    expect(await fixture.registry.mountBlob(REPOSITORY, digest, granted('bob/third' as RepositoryName))).toBe(false);
    expect(await fixture.registry.mountBlob(REPOSITORY, digest, ifPublic(OTHER))).toBe(false);
    await expect(fixture.registry.getBlob(granted(), digest)).rejects.toMatchObject({ kind: 'BLOB_UNKNOWN' });
    await publish(OTHER);
    expect(await fixture.registry.mountBlob(REPOSITORY, digest, ifPublic(OTHER))).toBe(true);
  });

  test('without a source use only repositories that the caller can pull from', async () => {
    const digest = await pushBlob(fixture, bytesOf(1, 100), OTHER);
    const ranges = (prefix: string) => [{ from: `${prefix}/`, to: `${prefix}0` }];
    expect(await fixture.registry.mountBlob(REPOSITORY, digest, { ranges: ranges('alice'), withPublic: true })).toBe(
      false,
    );
    expect(await fixture.registry.mountBlob(REPOSITORY, digest, { ranges: ranges('bob'), withPublic: true })).toBe(
      true,
    );
    const third = 'carol/third' as RepositoryName;
    expect(await fixture.registry.mountBlob(third, digest, { ranges: [], withPublic: true })).toBe(false);
    await publish(OTHER);
    expect(await fixture.registry.mountBlob(third, digest, { ranges: [], withPublic: true })).toBe(true);
  });
});

describe('leases', () => {
  const lease = async () =>
    (
      await rowsOf<{ lease_until: number; releasing: string | null }>('SELECT lease_until, releasing FROM locations')
    )[0];

  test('a push promises 2 g; a HEAD by a pusher renews it once less than 1.75 g is left', async () => {
    const digest = await pushBlob(fixture, bytesOf(1, 100));
    const pushed = fixture.now;
    expect(await lease()).toMatchObject({ lease_until: pushed + 2 * GRACE });
    fixture.now += GRACE / 8;
    await fixture.registry.resolveBlob(granted(), digest, true);
    expect(await lease()).toMatchObject({ lease_until: pushed + 2 * GRACE });
    fixture.now += GRACE / 4;
    await fixture.registry.resolveBlob(granted(), digest, false);
    expect(await lease()).toMatchObject({ lease_until: pushed + 2 * GRACE });
    await fixture.registry.resolveBlob(granted(), digest, true);
    expect(await lease()).toMatchObject({ lease_until: fixture.now + 2 * GRACE });
  });

  test('only a HEAD through a link renews the lease', async () => {
    const digest = await pushBlob(fixture, bytesOf(1, 100));
    const before = await lease();
    fixture.now += GRACE;
    await expect(fixture.registry.resolveBlob(granted(OTHER), digest, true)).rejects.toThrow();
    expect(await lease()).toEqual(before);
  });

  test('a manifest clears the releasing mark of the blobs that it needs, and of no others', async () => {
    const image = await pushSmallImage(fixture, 1, ['latest']);
    await pushBlob(fixture, bytesOf(9, 10));
    await env.DB_CENTRAL.prepare("UPDATE locations SET releasing = 'token'").run();
    await pushImage(fixture, image, ['latest']);
    const marked = await rowsOf<{ digest: string }>('SELECT digest FROM locations WHERE releasing IS NOT NULL');
    expect(marked).toEqual([{ digest: await digestOf('sha256', bytesOf(9, 10)) }]);
  });

  test('a HEAD, a mount and a second upload clear the releasing mark', async () => {
    const digest = await pushBlob(fixture, bytesOf(1, 100));
    const uses = [
      () => fixture.registry.resolveBlob(granted(), digest, true),
      () => fixture.registry.mountBlob(OTHER, digest, granted()),
      () => pushBlob(fixture, bytesOf(1, 100)),
    ];
    for (const use of uses) {
      await env.DB_CENTRAL.prepare("UPDATE locations SET releasing = 'token'").run();
      await use();
      expect((await lease())?.releasing).toBeNull();
    }
  });
});

describe('bytes that are not where they should be', () => {
  test('a location whose object is gone is 503, never 404 and never wrong bytes', async () => {
    const digest = await pushBlob(fixture, bytesOf(1, 100));
    const location = first(await rowsOf<{ key: string }>('SELECT key FROM locations'));
    await env.BLOBS_CENTRAL.delete(location.key);
    const blob = await fixture.registry.getBlob(granted(), digest);
    await expect(blob.open()).rejects.toMatchObject({ kind: 'UNAVAILABLE' });
  });

  test('a location that moved between query and read is found again', async () => {
    const digest = await pushBlob(fixture, utf8('moved'));
    const blob = await fixture.registry.getBlob(granted(), digest);
    const location = first(await rowsOf<{ key: string }>('SELECT key FROM locations'));
    await env.BLOBS_CENTRAL.put('blobs/elsewhere', 'moved');
    await env.BLOBS_CENTRAL.delete(location.key);
    await env.DB_CENTRAL.prepare("UPDATE locations SET key = 'blobs/elsewhere'").run();
    expect(await text(await blob.open())).toBe('moved');
  });
});

test('deleting an absent blob is 404, and deleting one that a live manifest references is refused', async () => {
  const image = await pushSmallImage(fixture, 1, ['latest']);
  const blob = first(image.manifest.requiredBlobs);
  await expect(fixture.registry.deleteBlob(REPOSITORY, await digestOf('sha256', bytesOf(9, 9)))).rejects.toMatchObject({
    kind: 'BLOB_UNKNOWN',
  });
  const refused = fixture.registry.deleteBlob(REPOSITORY, blob);
  await expect(refused).rejects.toMatchObject({ kind: 'BLOB_IN_USE', detail: { manifest: image.digest } });
  await fixture.registry.deleteManifest(REPOSITORY, image.digest);
  await fixture.registry.deleteBlob(REPOSITORY, blob);
  await expect(fixture.registry.getBlob(granted(), blob)).rejects.toMatchObject({ kind: 'BLOB_UNKNOWN' });
});
