/** Sizes and kinds of images, in whatever order their rows arrive. */
import { env } from 'cloudflare:workers';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type Digest, digestOf as hash } from '../../../src/oci/digest.ts';
import { parseManifest } from '../../../src/oci/manifest.ts';
import { Database } from '../../../src/stores/database.ts';
import { findImages } from '../../../src/registry/images/list-rows.ts';
import { NO_CLAIMS } from '../../../src/stores/manifests/manifest-type.ts';
import { type ManifestRecord, mergeRows } from '../../../src/stores/merge.ts';
import { manifestDeletions, stripDeleted } from '../../../src/maintenance/collection/tombstone-rows.ts';
import { countD1, resetCounts } from '../../support/counting.ts';
import {
  bytesOf,
  documentOf,
  type Fixture,
  first,
  type Image,
  imageOf,
  indexOf,
  ofLength,
  openFixture,
  pushBlob,
  pushImage,
  pushSmallImage,
  REPOSITORY,
  rowsOf,
} from '../../support/fixture.ts';
import { describeManifests } from '../../support/descriptors.ts';
import { withoutTriggers } from '../../support/without-triggers.ts';
import { SAMPLE } from '../../support/sample.ts';

let fixture: Fixture;
beforeEach(async () => {
  fixture = await openFixture();
});

/** Returns the size and kind that a list shows. */
async function shown({ digest }: Image): Promise<[number | undefined, string | undefined]> {
  const asked = { repository: REPOSITORY, reference: { kind: 'digest', digest }, granted: true } as const;
  const [row] = await findImages(new Database(env.DB_CENTRAL), [asked]);
  return [row?.size, row?.kind];
}

async function measured({ digest }: Image): Promise<[number | null, string | null]> {
  const row = first(
    await rowsOf<{ image_size: number | null; image_kind: string | null }>(
      'SELECT image_size, image_kind FROM manifests WHERE digest = ?1',
      digest,
    ),
  );
  return [row.image_size, row.image_kind];
}

/** Returns the manifest as another store sends it, with the sizes of its blobs from their descriptors. */
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
    descriptors: manifest.references.flatMap(({ size, ...reference }) =>
      reference.kind === 'subject' ? [] : [{ ...reference, size: size ?? 0 }],
    ),
    contents: [manifest.text],
  };
}

async function merge(...images: readonly Image[]): Promise<void> {
  const rows = { tags: [], lifecycles: [], manifests: images.map(recordOf), blobs: [] };
  await new Database(env.DB_CENTRAL).batch(mergeRows(rows, fixture.now));
}

const digestOf = (i: number): Digest => `sha256:${i.toString(16).padStart(64, '0')}` as Digest;
const romOf = (i: number, bytes: number): Promise<Image> =>
  documentOf('application/vnd.oci.image.manifest.v1+json', {
    config: { mediaType: 'application/x', digest: digestOf(1), size: 5 },
    layers: [{ mediaType: 'application/vnd.unikraft.rom.v1', digest: digestOf(i), size: bytes }],
  });

describe('rows from another store', () => {
  test('are measured alike, together or one after another', async () => {
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
        expect([await shown(inner), await shown(outer)]).toEqual([
          [305, 'rom'],
          [305, 'rom'],
        ]);
      }
    }
  });

  test('are not measured while only the deletion is known', async () => {
    const image = await romOf(2, 100);
    const lifecycle = { repository: REPOSITORY, digest: image.digest, created: 0, deleted: 3 };
    await new Database(env.DB_CENTRAL).batch(
      mergeRows({ tags: [], lifecycles: [lifecycle], manifests: [], blobs: [] }, fixture.now),
    );
    expect(await measured(image)).toEqual([null, null]);
    await merge(image);
    expect(await measured(image)).toEqual([105, 'rom']);
  });
});

test('an index that was pushed before its children is measured again when it is shown, up to 20 of them', async () => {
  const image = await imageOf(await pushBlob(fixture, bytesOf(1, 20)), [await pushBlob(fixture, bytesOf(2, 40))]);
  const indexes: Image[] = [];
  for (let i = 0; i < 25; i++) {
    const index = await indexOf([image.digest], { annotations: { i: String(i) } });
    await pushImage(fixture, index);
    indexes.push(index);
  }
  await pushImage(fixture, image);
  const sizes = await Promise.all(indexes.map(async (index) => (await shown(index))[0]));
  expect(sizes.filter((size) => size === 60)).toHaveLength(20);
  expect(sizes.filter((size) => size === 0)).toHaveLength(5);
});

describe('the rows read to measure a manifest depend only on its own document', () => {
  const INDEXES = 30;
  const CHILDREN = 4000 / SAMPLE;
  const numbers = 'WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < ?1 - 1)';
  const name = (prefix: string, i: string) => `'sha256:' || printf('${prefix}%063x', ${i})`;
  const run = (statement: string, ...parameters: unknown[]) =>
    env.DB_CENTRAL.prepare(statement)
      .bind(...parameters)
      .run();

  afterEach(() =>
    withoutTriggers(env.DB_CENTRAL, async () => {
      await run('DELETE FROM manifest_references');
    }),
  );

  /** Inserts indexes that each list very many absent manifests, and all indexes before it. */
  const addLargeIndexes = async () => {
    await run(
      `${numbers} INSERT INTO manifest_references (repository, digest, manifest, kind, size)
       SELECT ?2, ${name('c', `i % ${CHILDREN}`)}, ${name('a', `i / ${CHILDREN}`)}, 'child', 0 FROM n`,
      INDEXES * CHILDREN,
      REPOSITORY,
    );
    await run(
      `${numbers} INSERT INTO manifest_references (repository, digest, manifest, kind, size)
       SELECT ?2, ${name('a', 'n.i')}, ${name('a', 'o.i')}, 'child', 0 FROM n CROSS JOIN n AS o WHERE n.i < o.i`,
      INDEXES,
      REPOSITORY,
    );
    await run(
      `${numbers} INSERT INTO manifests (repository, digest, media_type, artifact_type, subject, size, created_version, deleted_version, last_pull, image_size, image_kind)
       SELECT ?2, ${name('a', 'i')}, 'application/vnd.oci.image.index.v1+json', '', NULL, 600000, 1, 0, 0, 0, ''
       FROM n`,
      INDEXES,
      REPOSITORY,
    );
    await describeManifests(env.DB_CENTRAL);
  };

  test('not on the number of references in the repository, nor on the indexes above it or the manifests below it', async () => {
    await withoutTriggers(env.DB_CENTRAL, addLargeIndexes);
    const readBy = async (work: () => Promise<unknown>): Promise<number> => {
      resetCounts(fixture.counts);
      await work();
      return fixture.counts.rowsRead;
    };
    const image = await imageOf(await pushBlob(fixture, bytesOf(1, 20)), []);
    await run(
      `INSERT INTO manifest_references (repository, digest, manifest, kind, size)
       SELECT repository, ?1, digest, 'child', 0 FROM manifests`,
      image.digest,
    );
    const top = ofLength(`sha256:a${(INDEXES - 1).toString(16).padStart(63, '0')}` as Digest, 600_000);
    expect(await readBy(() => pushImage(fixture, image, ['listed-by-all']))).toBeLessThan(500);
    expect(await readBy(async () => pushImage(fixture, await indexOf([top]), ['of-all']))).toBeLessThan(30_000);
    const many = Array.from({ length: 400 }, (_, i) => digestOf(i));
    expect(await readBy(async () => pushImage(fixture, await indexOf(many), ['of-nothing']))).toBeLessThan(400 * 40);
  });

  test('and a list reads a bounded number of rows, however many images are unmeasured', async () => {
    await withoutTriggers(env.DB_CENTRAL, addLargeIndexes);
    await run('UPDATE manifests SET image_size = NULL');
    const database = new Database(countD1(env.DB_CENTRAL, fixture.counts));
    const asked = Array.from(
      { length: INDEXES },
      (_, i) =>
        ({
          repository: REPOSITORY,
          reference: { kind: 'digest', digest: `sha256:a${i.toString(16).padStart(63, '0')}` as Digest },
          granted: true,
        }) as const,
    );
    resetCounts(fixture.counts);
    expect(await findImages(database, asked)).toHaveLength(INDEXES);
    expect(fixture.counts.rowsRead).toBeLessThan(500_000);
  });
});

test('an image that is pushed again keeps its measurement, even after a deletion', async () => {
  const image = await pushSmallImage(fixture, 1, ['latest']);
  expect(await measured(image)).toEqual([60, '']);
  await fixture.registry.deleteManifest(REPOSITORY, image.digest);
  await pushImage(fixture, image, ['latest']);
  expect(await measured(image)).toEqual([60, '']);
});

test('a deleted and stripped image that is pushed again completes the index that was pushed meanwhile', async () => {
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
  expect([await measured(image), await shown(index)]).toEqual([
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
  ['invalid layers', '{"layers":"x"}', ''],
  [
    'layers of every type of value',
    '{"layers":[null,1,"a",[],{},{"annotations":[]},{"annotations":"x"},{"mediaType":{}}]}',
    '',
  ],
  ['an initrd by its media type', '{"layers":[{"mediaType":"application/vnd.unikraft.initrd.v1"}]}', 'initrd'],
  [
    'an initrd by its annotation',
    '{"layers":[{"annotations":{"org.unikraft.kernel.initrd":"/unikraft/bin/initrd"}}]}',
    'initrd',
  ],
  [
    'an initrd and a ROM',
    '{"layers":[{"mediaType":"application/vnd.unikraft.rom.v1"},{"mediaType":"application/vnd.unikraft.initrd.v1"}]}',
    'rom',
  ],
])('the kind of any document is determined: %s', async (_name, text, kind) => {
  const bytes = Uint8Array.from(new TextEncoder().encode(text));
  const image = { bytes, digest: await hash('sha256', bytes), manifest: parseManifest(bytes, 'application/x-own') };
  await pushImage(fixture, image, ['latest']);
  expect(await measured(image)).toEqual([0, kind]);
});
