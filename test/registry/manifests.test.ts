import { beforeEach, describe, expect, test } from 'vitest';
import { digestOf } from '../../src/oci/digest.ts';
import { parseManifest } from '../../src/oci/manifest.ts';
import type { Reference, Tag } from '../../src/oci/reference.ts';
import {
  bytesOf,
  documentOf,
  type Fixture,
  granted,
  imageOf,
  indexOf,
  openFixture,
  pushBlob,
  pushImage,
  pushSmallImage,
  REPOSITORY,
  rowsOf,
  snapshot,
  first,
  utf8,
} from '../support/fixture.ts';

let fixture: Fixture;

beforeEach(async () => {
  fixture = await openFixture();
});

const tag = (name: string): Reference => ({ kind: 'tag', tag: name as Tag });

async function tagsOf(): Promise<readonly Tag[]> {
  return (await fixture.registry.listTags(granted(), { limit: 1000, after: '' })).items;
}

describe('invariant 1: an acknowledged manifest can be pulled whole', () => {
  test('by tag and by digest, with the bytes that were pushed', async () => {
    const image = await pushSmallImage(fixture, 1, ['v1', 'latest']);
    for (const reference of [tag('v1'), tag('latest'), { kind: 'digest', digest: image.digest } as const]) {
      const found = await fixture.registry.getManifest(granted(), reference);
      expect(new TextEncoder().encode(found.text)).toEqual(image.bytes);
      expect(found).toMatchObject({
        digest: image.digest,
        mediaType: image.manifest.mediaType,
        size: image.bytes.byteLength,
      });
    }
  });

  test('even with nearly 4 MiB in several rows, a byte-order mark and astral characters', async () => {
    const text = `\uFEFF${JSON.stringify({ schemaVersion: 2, note: '😀é'.repeat(700_000) })}`;
    const content = utf8(text);
    expect(content.byteLength).toBeGreaterThan(4_000_000);
    const digest = await digestOf('sha256', content);
    const manifest = parseManifest(content, 'application/vnd.example+json');
    await fixture.registry.putManifest(REPOSITORY, digest, manifest, content.byteLength, ['big' as Tag]);
    const found = await fixture.registry.getManifest(granted(), tag('big'));
    expect(await digestOf('sha256', utf8(found.text))).toBe(digest);
    expect((await rowsOf('SELECT part FROM manifest_contents')).length).toBeGreaterThan(3);
  });

  test('a manifest with missing blobs is refused, names each of them, and changes nothing', async () => {
    const config = await pushBlob(fixture, bytesOf(1, 10));
    const absent = await Promise.all([2, 3].map((seed) => digestOf('sha256', bytesOf(seed, 10))));
    const image = await imageOf(config, absent);
    const before = await snapshot();
    const refused = pushImage(fixture, image, ['latest']);
    await expect(refused).rejects.toMatchObject({ kind: 'MANIFEST_BLOB_UNKNOWN' });
    const { entries } = (await refused.catch((error: unknown) => error)) as {
      entries: { detail: { digest: string } }[];
    };
    expect(entries.map(({ detail }) => detail.digest).toSorted()).toEqual(absent.toSorted());
    expect(await snapshot()).toBe(before);
  });

  test('a blob of another repository counts as missing', async () => {
    const other = 'alice/other' as typeof REPOSITORY;
    const config = await pushBlob(fixture, bytesOf(1, 10), other);
    await expect(pushImage(fixture, await imageOf(config, []), ['latest'])).rejects.toMatchObject({
      kind: 'MANIFEST_BLOB_UNKNOWN',
    });
  });

  test('a blob that loses its link between check and write makes the commit fail', async () => {
    const config = await pushBlob(fixture, bytesOf(1, 10));
    const image = await imageOf(config, []);
    const outcomes = await Promise.allSettled([
      ...Array.from({ length: 5 }, () => pushImage(fixture, image, ['latest'])),
      fixture.registry.deleteBlob(REPOSITORY, config),
    ]);
    const deleted = outcomes.at(-1)?.status === 'fulfilled';
    const pushed = outcomes.slice(0, -1).some(({ status }) => status === 'fulfilled');
    expect(deleted && pushed).toBe(false);
  });

  test('indexes may be sparse, subjects absent, and foreign layers without bytes', async () => {
    const absent = await digestOf('sha256', bytesOf(50, 10));
    await pushImage(fixture, await indexOf([absent]), ['sparse']);
    const config = await pushBlob(fixture, bytesOf(1, 10));
    const subject = { mediaType: 'application/vnd.oci.image.manifest.v1+json', digest: absent, size: 1 };
    await pushImage(fixture, await imageOf(config, [], { subject }), ['with-subject']);
    const layers = [
      { mediaType: 'application/vnd.oci.image.layer.nondistributable.v1.tar+gzip', digest: absent, size: 1 },
    ];
    await pushImage(fixture, await imageOf(config, [], { layers }), ['foreign']);
    expect(await tagsOf()).toEqual(['foreign', 'sparse', 'with-subject']);
  });
});

describe('versions', () => {
  test('are the same in a whole transaction, and greater than any before, whatever the wall clock does', async () => {
    await pushSmallImage(fixture, 1, ['a', 'b']);
    fixture.now -= 60_000;
    await pushSmallImage(fixture, 3, ['a']);
    const versions = await rowsOf<{ name: string; version: number }>('SELECT name, version FROM tags ORDER BY name');
    const manifests = await rowsOf<{ created_version: number }>(
      'SELECT created_version FROM manifests ORDER BY created_version',
    );
    const [older = 0, newer] = manifests.map((row) => row.created_version);
    expect(versions).toEqual([
      { name: 'a', version: newer },
      { name: 'b', version: older },
    ]);
    expect(newer).toBe(older + 1);
  });

  test('are exact integers', async () => {
    await pushSmallImage(fixture, 1, ['a']);
    const [row] = await rowsOf<{ version: number; type: string }>('SELECT version, typeof(version) AS type FROM tags');
    expect(row).toEqual({ version: fixture.now * 1000, type: 'integer' });
  });
});

describe('history and outbox entries', () => {
  test('a replaced tag write is kept, as is a deleted one', async () => {
    const older = await pushSmallImage(fixture, 1, ['latest']);
    fixture.now += 1000;
    const second = await pushSmallImage(fixture, 3, ['latest']);
    fixture.now += 1000;
    await fixture.registry.deleteTag(REPOSITORY, 'latest' as Tag);
    const history = await rowsOf('SELECT name, version, origin, digest, recorded_at FROM tag_history ORDER BY version');
    const start = fixture.now - 2000;
    expect(history).toEqual([
      { name: 'latest', version: start * 1000, origin: 'central', digest: older.digest, recorded_at: start + 1000 },
      {
        name: 'latest',
        version: (start + 1000) * 1000,
        origin: 'central',
        digest: second.digest,
        recorded_at: start + 2000,
      },
    ]);
  });

  test('central adds no outbox entry; a node adds one for a manifest with a tag, and one for each other tag', async () => {
    await pushSmallImage(fixture, 1, ['latest']);
    expect(await rowsOf('SELECT * FROM outbox')).toEqual([]);
    const node = await fixture.fresh({ announces: true });
    node.now += 5000;
    const image = await pushSmallImage(node, 3, ['latest']);
    await pushImage(node, image, ['latest']);
    await pushImage(node, image, ['latest']);
    const [clock] = await rowsOf<{ version: number }>('SELECT version FROM clock');
    const entry = { repository: REPOSITORY, version: clock?.version, written_at: node.now };
    const ofManifest = { ...entry, kind: 'manifest', key: image.digest, tag: 'latest' };
    expect(await rowsOf('SELECT * FROM outbox')).toEqual([ofManifest]);
    await pushImage(node, image, ['latest', 'other']);
    expect(await rowsOf('SELECT kind, key, tag FROM outbox ORDER BY kind')).toEqual([
      { kind: 'manifest', key: image.digest, tag: 'latest' },
      { kind: 'tag', key: 'other', tag: '' },
    ]);
  });

  test('a refused push adds no outbox entry', async () => {
    const node = await fixture.fresh({ announces: true });
    await expect(pushImage(node, await imageOf(await digestOf('sha256', bytesOf(77, 5)), []), ['x'])).rejects.toThrow();
    expect(await rowsOf('SELECT * FROM outbox')).toEqual([]);
  });
});

describe('deletes', () => {
  test('a tag is deleted alone', async () => {
    const image = await pushSmallImage(fixture, 1, ['a', 'b']);
    await fixture.registry.deleteTag(REPOSITORY, 'a' as Tag);
    await expect(fixture.registry.getManifest(granted(), tag('a'))).rejects.toMatchObject({ kind: 'MANIFEST_UNKNOWN' });
    await expect(fixture.registry.deleteTag(REPOSITORY, 'a' as Tag)).rejects.toMatchObject({
      kind: 'MANIFEST_UNKNOWN',
    });
    expect(await tagsOf()).toEqual(['b']);
    expect((await fixture.registry.getManifest(granted(), { kind: 'digest', digest: image.digest })).digest).toBe(
      image.digest,
    );
  });

  test('a manifest is deleted with all its tags, and pushing it again by digest does not bring them back', async () => {
    const image = await pushSmallImage(fixture, 1, ['a', 'b']);
    await fixture.registry.deleteManifest(REPOSITORY, image.digest);
    await expect(fixture.registry.deleteManifest(REPOSITORY, image.digest)).rejects.toMatchObject({
      kind: 'MANIFEST_UNKNOWN',
    });
    expect(await tagsOf()).toEqual([]);
    await pushImage(fixture, image);
    expect(await tagsOf()).toEqual([]);
    await expect(fixture.registry.getManifest(granted(), tag('a'))).rejects.toMatchObject({ kind: 'MANIFEST_UNKNOWN' });
    await pushImage(fixture, image, ['a']);
    expect(await tagsOf()).toEqual(['a']);
  });

  test('a repository without manifests leaves the catalog, and comes back with a push', async () => {
    const everything = { ranges: [{ from: '', to: '\u{7f}' }], withPublic: false };
    const names = async () => (await fixture.registry.listRepositories(everything, { limit: 10, after: '' })).items;
    const image = await pushSmallImage(fixture, 1, ['a']);
    expect(await names()).toEqual([REPOSITORY]);
    await fixture.registry.deleteManifest(REPOSITORY, image.digest);
    expect(await names()).toEqual([]);
    await pushImage(fixture, image, ['a']);
    expect(await names()).toEqual([REPOSITORY]);
  });

  test('a whole repository is deleted: tags, manifests and links to blobs', async () => {
    const image = await pushSmallImage(fixture, 1, ['a', 'b']);
    await fixture.registry.deleteRepository(REPOSITORY);
    await expect(
      fixture.registry.getManifest(granted(), { kind: 'digest', digest: image.digest }),
    ).rejects.toMatchObject({
      kind: 'NAME_UNKNOWN',
    });
    await expect(fixture.registry.getBlob(granted(), first(image.manifest.requiredBlobs))).rejects.toMatchObject({
      kind: 'BLOB_UNKNOWN',
    });
    await expect(fixture.registry.deleteRepository(REPOSITORY)).rejects.toMatchObject({ kind: 'NAME_UNKNOWN' });
  });

  test('visibility follows from the versions alone: the cached columns agree', async () => {
    const images = await Promise.all([1, 3, 5].map((seed) => pushSmallImage(fixture, seed, [`t${seed}`, 'shared'])));
    await fixture.registry.deleteManifest(REPOSITORY, first(images).digest);
    await pushImage(fixture, first(images), ['again']);
    await fixture.registry.deleteTag(REPOSITORY, 't3' as Tag);
    const disagreeing = await rowsOf(`
      SELECT t.name FROM tags t LEFT JOIN manifests m ON m.repository = t.repository AND m.digest = t.digest
      WHERE t.visible <> (t.digest IS NOT NULL AND m.created_version > m.deleted_version
        AND t.version > m.deleted_version)`);
    expect(disagreeing).toEqual([]);
    expect(await rowsOf('SELECT * FROM tags')).toHaveLength(5);
  });
});

test('a document of another media type is stored as pushed, and its blobs are recorded', async () => {
  const blob = await pushBlob(fixture, bytesOf(1, 10));
  const artifact = await documentOf('application/vnd.oci.artifact.manifest.v1+json', {
    blobs: [{ mediaType: 'application/x', digest: blob, size: 10 }],
  });
  await pushImage(fixture, artifact, ['artifact']);
  await expect(fixture.registry.deleteBlob(REPOSITORY, blob)).rejects.toMatchObject({ kind: 'BLOB_IN_USE' });
});

test('a pull is recorded to the hour, after the response; a HEAD is not', async () => {
  const image = await pushSmallImage(fixture, 1, ['latest']);
  const lastPull = async () => first(await rowsOf<{ last_pull: number }>('SELECT last_pull FROM manifests')).last_pull;
  await fixture.registry.resolveManifest(granted(), tag('latest'));
  await fixture.settled();
  expect(await lastPull()).toBe(0);
  fixture.now += 1_234_567;
  await fixture.registry.getManifest(granted(), tag('latest'));
  await fixture.settled();
  const hour = Math.floor(fixture.now / 3_600_000) * 3_600_000;
  expect(await lastPull()).toBe(hour);
  const { rowsWritten } = fixture.counts;
  await fixture.registry.getManifest(granted(), { kind: 'digest', digest: image.digest });
  await fixture.settled();
  expect(fixture.counts.rowsWritten).toBe(rowsWritten);
  fixture.now = hour + 3_600_000;
  await fixture.registry.getManifest(granted(), tag('latest'));
  await fixture.settled();
  expect(await lastPull()).toBe(hour + 3_600_000);
});

test('a push at a node wakes the queue; at central, only a deletion does', async () => {
  const node = await fixture.fresh({ announces: true });
  await pushSmallImage(node, 1, ['latest']);
  expect(node.wakes).toBe(1);
  const image = await pushSmallImage(fixture, 2, ['latest']);
  expect(fixture.wakes).toBe(0);
  await fixture.registry.deleteManifest(REPOSITORY, image.digest);
  expect(fixture.wakes).toBe(1);
});
