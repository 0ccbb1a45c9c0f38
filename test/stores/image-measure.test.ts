/** Sizes and kinds of images, whichever order rows come in. */
import { env } from 'cloudflare:workers';
import { beforeEach, describe, expect, test } from 'vitest';
import { type Digest, digestOf as hash } from '../../src/oci/digest.ts';
import { parseManifest } from '../../src/oci/manifest.ts';
import { Database } from '../../src/stores/database.ts';
import { NO_CLAIMS } from '../../src/stores/manifest-type.ts';
import { type ManifestRecord, mergeRows } from '../../src/stores/merge.ts';
import { manifestDeletions, stripDeleted } from '../../src/stores/tombstone-rows.ts';
import {
  bytesOf,
  documentOf,
  type Fixture,
  first,
  type Image,
  imageOf,
  indexOf,
  openFixture,
  pushBlob,
  pushImage,
  pushSmallImage,
  REPOSITORY,
  rowsOf,
} from '../support/fixture.ts';

let fixture: Fixture;
beforeEach(async () => {
  fixture = await openFixture();
});

async function measured({ digest }: Image): Promise<[number | null, string | null]> {
  const row = first(
    await rowsOf<{ image_size: number | null; image_kind: string | null }>(
      'SELECT image_size, image_kind FROM manifests WHERE digest = ?1',
      digest,
    ),
  );
  return [row.image_size, row.image_kind];
}

/** As another store sends it, its blobs as long as their descriptors say. */
function recordOf({ digest, manifest, bytes }: Image): ManifestRecord {
  return {
    ...NO_CLAIMS,
    repository: REPOSITORY,
    digest,
    created: 5,
    deleted: 0,
    mediaType: manifest.mediaType,
    artifactType: manifest.artifactType,
    subject: manifest.subject ?? null,
    size: bytes.byteLength,
    references: manifest.references.map(({ size, ...reference }) => ({ ...reference, size: size ?? 0 })),
    contents: [manifest.text],
  };
}

async function merge(...images: readonly Image[]): Promise<void> {
  const rows = { tags: [], lives: [], manifests: images.map(recordOf), blobs: [] };
  await new Database(env.DB_CENTRAL).batch(mergeRows(rows, fixture.now));
}

const digestOf = (i: number): Digest => `sha256:${i.toString(16).padStart(64, '0')}` as Digest;
const romOf = (i: number, bytes: number): Promise<Image> =>
  documentOf('application/vnd.oci.image.manifest.v1+json', {
    config: { digest: digestOf(1), size: 5 },
    layers: [{ mediaType: 'application/vnd.unikraft.rom.v1', digest: digestOf(i), size: bytes }],
  });

describe('rows that come from another store', () => {
  test('are measured together, or one after another, to the same', async () => {
    const [one, two] = [await romOf(2, 100), await romOf(3, 200)];
    const inner = await indexOf([one.digest, two.digest]);
    const outer = await indexOf([inner.digest, one.digest]);
    for (const order of [
      [one, two, inner, outer],
      [outer, inner, two, one],
    ]) {
      for (const together of [true, false]) {
        await env.DB_CENTRAL.batch(
          ['manifests', 'manifest_references', 'manifest_contents'].map((table) =>
            env.DB_CENTRAL.prepare(`DELETE FROM ${table}`),
          ),
        );
        if (together) await merge(...order);
        else for (const image of order) await merge(image);
        expect([await measured(one), await measured(two)]).toEqual([
          [105, 'rom'],
          [205, 'rom'],
        ]);
        expect([await measured(inner), await measured(outer)]).toEqual([
          [305, 'rom'],
          [305, 'rom'],
        ]);
      }
    }
  });

  test('measure nothing that is known only to be deleted', async () => {
    const image = await romOf(2, 100);
    const life = { repository: REPOSITORY, digest: image.digest, created: 0, deleted: 3 };
    await new Database(env.DB_CENTRAL).batch(mergeRows({ tags: [], lives: [life], manifests: [], blobs: [] }, fixture.now));
    expect(await measured(image)).toEqual([null, null]);
    await merge(image);
    expect(await measured(image)).toEqual([105, 'rom']);
  });
});

test('an index pushed before what it lists is completed, up to 20 of them', async () => {
  const image = await imageOf(await pushBlob(fixture, bytesOf(1, 20)), [await pushBlob(fixture, bytesOf(2, 40))]);
  const indexes: Image[] = [];
  for (let i = 0; i < 25; i++) {
    const index = await indexOf([image.digest], { annotations: { i: String(i) } });
    await pushImage(fixture, index);
    indexes.push(index);
  }
  await pushImage(fixture, image);
  const sizes = await Promise.all(indexes.map(async (index) => (await measured(index))[0]));
  expect(sizes.filter((size) => size === 60)).toHaveLength(20);
  expect(sizes.filter((size) => size === 0)).toHaveLength(5);
});

test('pushed again, an image keeps what was measured, and one that was deleted too', async () => {
  const image = await pushSmallImage(fixture, 1, ['latest']);
  expect(await measured(image)).toEqual([60, '']);
  await fixture.registry.deleteManifest(REPOSITORY, image.digest);
  await pushImage(fixture, image, ['latest']);
  expect(await measured(image)).toEqual([60, '']);
});

test('an image that was deleted and stripped completes the index that came meanwhile, when it is pushed again', async () => {
  const image = await pushSmallImage(fixture, 1, ['latest']);
  await fixture.registry.deleteManifest(REPOSITORY, image.digest);
  const database = new Database(env.DB_CENTRAL);
  const start = { version: 0, repository: '', key: '' };
  await database.batch(stripDeleted(await manifestDeletions(database, start, Number.MAX_SAFE_INTEGER, 10)));
  expect(await measured(image)).toEqual([null, null]);
  const index = await indexOf([image.digest]);
  await pushImage(fixture, index, ['latest']);
  expect(await measured(index)).toEqual([0, '']);
  await pushSmallImage(fixture, 1, []);
  expect([await measured(image), await measured(index)]).toEqual([
    [60, ''],
    [60, ''],
  ]);
});

test('a refused push measures nothing', async () => {
  const index = await indexOf([(await imageOf(digestOf(7), [])).digest]);
  await pushImage(fixture, index, ['latest']);
  await expect(pushImage(fixture, await imageOf(digestOf(7), []))).rejects.toThrow();
  expect(await rowsOf('SELECT digest FROM manifests')).toEqual([{ digest: index.digest }]);
});

test.each([
  ['a byte-order mark', '\uFEFF{"schemaVersion":2,"layers":[{"mediaType":"application/vnd.unikraft.rom.v1"}]}', ''],
  ['layers that are none', '{"layers":"x"}', ''],
  ['layers of everything', '{"layers":[null,1,"a",[],{},{"annotations":[]},{"annotations":"x"},{"mediaType":{}}]}', ''],
  ['an initrd by its media type', '{"layers":[{"mediaType":"application/vnd.unikraft.initrd.v1"}]}', 'initrd'],
  ['an initrd by its annotation', '{"layers":[{"annotations":{"org.unikraft.kernel.initrd":"/unikraft/bin/initrd"}}]}', 'initrd'],
  [
    'an initrd and a ROM',
    '{"layers":[{"mediaType":"application/vnd.unikraft.rom.v1"},{"mediaType":"application/vnd.unikraft.initrd.v1"}]}',
    'rom',
  ],
])('of any document the kind is told: %s', async (_name, text, kind) => {
  const bytes = Uint8Array.from(new TextEncoder().encode(text));
  const image = { bytes, digest: await hash('sha256', bytes), manifest: parseManifest(bytes, 'application/x-own') };
  await pushImage(fixture, image, ['latest']);
  expect(await measured(image)).toEqual([0, kind]);
});
