/**
 * Sweeping a removed repository. Its content is hidden as soon as the removal is answered, and its rows are deleted in
 * slices of bounded work.
 */
import { env } from 'cloudflare:workers';
import { beforeEach, describe, expect, test } from 'vitest';
import type { Digest } from '../../../src/oci/digest.ts';
import { parseManifest } from '../../../src/oci/manifest.ts';
import type { Tag } from '../../../src/oci/reference.ts';
import { Database } from '../../../src/stores/database.ts';
import { deleteRepository, deleteTag } from '../../../src/stores/deletion/deletions.ts';
import { typeOf } from '../../../src/stores/manifests/manifest-type.ts';
import { sweepSlice, unsweptRemovals } from '../../../src/stores/deletion/sweep-rows.ts';
import { countD1, type Counts, noCounts, resetCounts } from '../../support/counting.ts';
import {
  bytesOf,
  contentDigest,
  type Fixture,
  first,
  granted,
  imageOf,
  indexOf,
  openFixture,
  pushBlob,
  pushImage,
  pushSmallImage,
  REPOSITORY,
  rowsOf,
  utf8,
} from '../../support/fixture.ts';
import { keptUsage, NOTHING, scannedUsage } from '../../support/usage.ts';
import { WRONGLY_VISIBLE } from '../../support/visible.ts';
import { SAMPLE } from '../../support/sample.ts';

const MANY = 350;
const page = { limit: 20, after: '' };

let fixture: Fixture;
let counts: Counts;
let database: Database;

beforeEach(async () => {
  fixture = await openFixture();
  counts = noCounts();
  database = new Database(countD1(env.DB_CENTRAL, counts));
});

/**
 * Inserts manifests, each with one tag, one layer of its own and one shared layer. All but the first are referrers of
 * the first.
 */
async function fill(count: number): Promise<void> {
  const rows = 'WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)';
  const digest = "'sha256:' || printf('%064x', i)";
  const layer = "'sha256:' || printf('%064x', i + 10000000)";
  const shared = `'sha256:${'f'.repeat(64)}'`;
  const insert = (into: string, values: string) =>
    env.DB_CENTRAL.prepare(`INSERT INTO ${into} ${rows} SELECT ${values} FROM n WHERE ?2 <> ''`).bind(
      count,
      REPOSITORY,
    );
  await env.DB_CENTRAL.batch([
    env.DB_CENTRAL.prepare(`INSERT INTO repositories (name, created_at, listed) VALUES (?1, 0, 1)`).bind(REPOSITORY),
    insert(
      'locations (digest, store, key, size, created_at, lease_until)',
      `${layer}, 'central', 'blobs/' || i, 10, 0, 0`,
    ),
    insert('links (repository, digest, created_at)', `?2, ${layer}, 0`),
    env.DB_CENTRAL.prepare(`INSERT INTO links (repository, digest, created_at) VALUES (?1, ${shared}, 0)`).bind(
      REPOSITORY,
    ),
    insert(
      'manifests (repository, digest, media_type, artifact_type, subject, size, created_version, deleted_version, last_pull, descriptors)',
      `?2, ${digest}, 'a/b', 'a/c', iif(i = 1, NULL, 'sha256:' || printf('%064x', 1)), 2, i, 0, 0,
        json_array(json_object('kind', 'layer', 'digest', ${layer}, 'size', 10),
          json_object('kind', 'layer', 'digest', ${shared}, 'size', 10))`,
    ),
    insert('manifest_contents (repository, digest, part, content)', `?2, ${digest}, 0, '{}'`),
    insert(
      'tags (repository, name, digest, version, origin, visible)',
      `?2, 't' || printf('%05d', i), ${digest}, i, 'central', 1`,
    ),
  ]);
}

async function remove(): Promise<void> {
  const context = { origin: 'central', announces: false, now: fixture.now };
  if ((await deleteRepository(database, context, REPOSITORY)) === undefined) throw new Error('nothing was removed');
}

async function sweepAll(): Promise<number> {
  for (let slices = 1; ; slices++) if (!(await sweepSlice(database, REPOSITORY))) return slices;
}

const TABLES = ['manifests', 'manifest_contents', 'manifest_references', 'links', 'usage_blobs', 'repositories'];

async function rowsLeft(): Promise<number[]> {
  return Promise.all(
    TABLES.map(async (table) => first(await rowsOf<{ n: number }>(`SELECT count(*) AS n FROM ${table}`)).n),
  );
}

const refused = (error: { kind: string }): string => error.kind;
const FIRST = { kind: 'tag', tag: 't00001' as Tag } as const;
const DIGEST = `sha256:${'1'.padStart(64, '0')}` as Digest;
const LAYER = `sha256:${(10_000_001).toString(16).padStart(64, '0')}` as Digest;

test('hiding a repository reads and writes the same number of rows, however many it holds', async () => {
  const cost: number[][] = [];
  // The first removal also starts the numbering of the change log.
  for (const count of [10, 10, 1000]) {
    await fill(count);
    resetCounts(counts);
    await remove();
    cost.push([counts.d1, counts.rowsRead, counts.rowsWritten]);
    await sweepAll();
    await env.DB_CENTRAL.batch(
      ['locations', 'removals', 'tags', 'change_log', 'audit'].map((table) =>
        env.DB_CENTRAL.prepare(`DELETE FROM ${table}`),
      ),
    );
  }
  expect(cost[2]).toEqual(cost[1]);
});

test('no read shows anything of it before the first slice, or between two', async () => {
  await fill(MANY);
  await remove();
  const seen = async (): Promise<unknown> => ({
    tag: await fixture.registry.resolveManifest(granted(), FIRST).then(() => 'there', refused),
    digest: await fixture.registry
      .resolveManifest(granted(), { kind: 'digest', digest: DIGEST })
      .then(() => 'there', refused),
    blob: await fixture.registry.resolveBlob(granted(), LAYER, false).then(() => 'there', refused),
    promised: await fixture.registry.resolveBlob(granted(), LAYER, true).then(() => 'there', refused),
    tags: await fixture.registry.listTags(granted(), page).then(({ items }) => items, refused),
    referrers: (await fixture.registry.listReferrers(granted(), DIGEST, undefined, page)).items,
    repositories: (
      await fixture.registry.listRepositories({ ranges: [{ from: 'a', to: 'b' }], withPublic: false }, page)
    ).items,
    images: (
      await fixture.registry.listImages({ ranges: [{ from: 'a', to: 'b' }], publicWithin: undefined }, true, page)
    ).items,
    deleted: await fixture.registry.deleteTag(REPOSITORY, FIRST.tag).then(() => 'done', refused),
    removed: await fixture.registry.deleteRepository(REPOSITORY).then(() => 'done', refused),
  });
  const nothing = {
    tag: 'NAME_UNKNOWN',
    digest: 'NAME_UNKNOWN',
    blob: 'BLOB_UNKNOWN',
    promised: 'BLOB_UNKNOWN',
    tags: 'NAME_UNKNOWN',
    referrers: [],
    repositories: [],
    images: [],
    deleted: 'NAME_UNKNOWN',
    removed: 'NAME_UNKNOWN',
  };
  expect(await seen()).toEqual(nothing);
  while (await sweepSlice(database, REPOSITORY)) expect(await seen()).toEqual(nothing);
  expect(await seen()).toEqual(nothing);
  expect(await rowsLeft()).toEqual(TABLES.map(() => 0));
});

test('the cost of a slice depends on the rows that it deletes, not on those that are left', async () => {
  const most: number[][] = [];
  for (const count of [MANY, SAMPLE === 1 ? 10 * MANY : 3 * MANY]) {
    await fill(count);
    await remove();
    const costs: number[][] = [];
    for (let more = true; more;) {
      resetCounts(counts);
      more = await sweepSlice(database, REPOSITORY);
      costs.push([counts.rowsRead, counts.rowsWritten]);
    }
    most.push([0, 1].map((i) => Math.max(...costs.map((cost) => cost[i] ?? 0))));
    await env.DB_CENTRAL.batch(
      ['locations', 'removals', 'tags'].map((table) => env.DB_CENTRAL.prepare(`DELETE FROM ${table}`)),
    );
  }
  const [small = [], large = []] = most;
  expect(large[0]).toBeLessThanOrEqual((small[0] ?? 0) * 1.1);
  expect(large[1]).toBeLessThanOrEqual((small[1] ?? 0) * 1.1);
  expect(large[0]).toBeLessThan(12_000);
});

test('usage is right during a sweep, and zero after it', async () => {
  await fill(MANY);
  await remove();
  let more = true;
  while (more) {
    more = await sweepSlice(database, REPOSITORY);
    expect(await keptUsage(env.DB_CENTRAL)).toEqual(await scannedUsage(env.DB_CENTRAL));
  }
  // Rows of deleted tags count until they are forgotten.
  const { sums } = await keptUsage(env.DB_CENTRAL);
  const [sum, ...others] = Object.values(sums);
  expect(others).toEqual([]);
  expect({ ...sum, tag_rows: 0 }).toEqual(NOTHING);
});

test('the cost of a page of a list does not grow with the dead rows before live ones, and all pages together show the live ones', async () => {
  await fill(MANY);
  await remove();
  fixture.now += 1000;
  await pushSmallImage(fixture, 1, ['zz']);
  const tags: Tag[] = [];
  let after = '';
  resetCounts(fixture.counts);
  for (;;) {
    const before = fixture.counts.rowsRead;
    const { items, last } = await fixture.registry.listTags(granted(), { limit: 50, after });
    expect(fixture.counts.rowsRead - before).toBeLessThan(120);
    tags.push(...items);
    if (last === undefined) break;
    after = last;
  }
  expect(tags).toEqual(['zz']);
});

describe('a push during a sweep', () => {
  test.each([0, 1, 2, 3])(
    'after %i slices stays, from then on, and nothing else comes back with it',
    async (slices) => {
      await fill(MANY);
      await remove();
      for (let i = 0; i < slices; i++) await sweepSlice(database, REPOSITORY);
      const image = await pushSmallImage(fixture, 1, ['new', FIRST.tag]);
      await sweepAll();
      expect((await fixture.registry.listTags(granted(), page)).items).toEqual(['new', FIRST.tag]);
      expect((await fixture.registry.resolveManifest(granted(), FIRST)).digest).toBe(image.digest);
      for (const digest of image.manifest.requiredBlobs) {
        expect((await fixture.registry.resolveBlob(granted(), digest, false)).digest).toBe(digest);
      }
      expect(await rowsOf(WRONGLY_VISIBLE)).toEqual([]);
      expect(await rowsOf('SELECT listed FROM repositories')).toEqual([{ listed: 1 }]);
      expect(await keptUsage(env.DB_CENTRAL)).toEqual(await scannedUsage(env.DB_CENTRAL));
    },
  );

  test('of a blob that the repository had, in the same millisecond as the removal, links it again', async () => {
    const blob = bytesOf(1, 20);
    const digest = await pushBlob(fixture, blob);
    await pushImage(fixture, await imageOf(digest, []), ['old']);
    await fill(MANY).catch(() => undefined);
    await remove();
    const refusal = pushImage(fixture, await imageOf(digest, []), ['new']);
    await expect(refusal).rejects.toMatchObject({ kind: 'MANIFEST_BLOB_UNKNOWN' });
    await pushBlob(fixture, blob);
    await pushImage(fixture, await imageOf(digest, []), ['new']);
    await sweepAll();
    expect((await fixture.registry.resolveBlob(granted(), digest, false)).digest).toBe(digest);
  });

  test('that is deleted again leaves the repository empty', async () => {
    await fill(MANY);
    await remove();
    fixture.now += 1000;
    await pushSmallImage(fixture, 1, ['new']);
    const context = { origin: 'central', announces: false, now: fixture.now };
    await deleteTag(database, context, REPOSITORY, 'new' as Tag);
    await sweepAll();
    expect((await fixture.registry.listTags(granted(), page)).items).toEqual([]);
  });
});

test('a large repository is swept after the removal is answered, and a small one before', async () => {
  await pushSmallImage(fixture, 1, ['a']);
  await fixture.registry.deleteRepository(REPOSITORY);
  expect(await unsweptRemovals(database, '', 10)).toEqual([]);
  await fill(MANY);
  await fixture.registry.deleteRepository(REPOSITORY);
  expect(await unsweptRemovals(database, '', 10)).toEqual([REPOSITORY]);
  await fixture.settled();
  expect(await unsweptRemovals(database, '', 10)).toEqual([]);
  expect(await rowsLeft()).toEqual(TABLES.map(() => 0));
});

test('a removal has one entry in the change log, and one in the audit log', async () => {
  await fill(MANY);
  await remove();
  expect(await rowsOf('SELECT kind, name FROM change_log')).toEqual([{ kind: 'repository', name: REPOSITORY }]);
  expect(await rowsOf('SELECT action, repository FROM audit')).toEqual([
    { action: 'delete repository', repository: REPOSITORY },
  ]);
});

test('a tag that the removal hides does not protect the manifests that its index lists', async () => {
  const child = await pushSmallImage(fixture, 1, []);
  const index = await indexOf([child.digest]);
  await pushImage(fixture, index, ['latest']);
  await remove();
  fixture.now += 1;
  await pushSmallImage(fixture, 1, []);
  await pushImage(fixture, index);
  await fixture.registry.deleteManifest(REPOSITORY, child.digest);
  expect((await fixture.registry.listTags(granted(), page)).items).toEqual([]);
});

test('a manifest that is pushed again has no media type from before the removal', async () => {
  const bytes = utf8('{"schemaVersion":2,"manifests":[]}');
  const pushAs = (mediaType: string): Promise<unknown> =>
    contentDigest(bytes).then((digest) =>
      fixture.registry.putManifest(REPOSITORY, digest, parseManifest(bytes, mediaType), bytes.byteLength, [
        'latest' as Tag,
      ]),
    );
  await pushAs('application/vnd.oci.image.index.v1+json');
  await remove();
  fixture.now += 1;
  await pushAs('application/vnd.example.list');
  const stored = await rowsOf<{ created: number; deleted: number; typed: string; typed_otherwise: string }>(
    'SELECT created_version AS created, deleted_version AS deleted, typed, typed_otherwise FROM manifests',
  );
  const { created, deleted, typed, typed_otherwise: typedOtherwise } = first(stored);
  expect(created > deleted).toBe(true);
  expect(typeOf({ typed, typedOtherwise }, deleted)?.mediaType).toBe('application/vnd.example.list');
});

test('a blob stops counting with its manifest, if both were pushed again before the sweep', async () => {
  const content = bytesOf(1, 100);
  const image = await imageOf(await pushBlob(fixture, content), []);
  await pushImage(fixture, image, ['latest']);
  await remove();
  fixture.now += 1;
  await pushBlob(fixture, content);
  await pushImage(fixture, image, ['latest']);
  await sweepAll();
  expect(await rowsOf('SELECT blobs, bytes FROM usage')).toEqual([{ blobs: 1, bytes: 100 }]);
  await fixture.registry.deleteManifest(REPOSITORY, image.digest);
  expect(await rowsOf('SELECT blobs, bytes FROM usage')).toEqual([{ blobs: 0, bytes: 0 }]);
});

test('a blob that is pushed again during the sweep counts, even after it', async () => {
  const content = bytesOf(1, 100);
  await pushImage(fixture, await imageOf(await pushBlob(fixture, content), []), ['latest']);
  await remove();
  fixture.now += 1;
  await pushBlob(fixture, content);
  await sweepAll();
  expect(await rowsOf('SELECT blobs, bytes FROM usage')).toEqual([{ blobs: 1, bytes: 100 }]);
  expect(await keptUsage(env.DB_CENTRAL)).toEqual(await scannedUsage(env.DB_CENTRAL));
});
