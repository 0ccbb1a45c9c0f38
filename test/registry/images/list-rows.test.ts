/**
 * The cost of lists of images. A page costs the same, whatever the store holds; a digest costs as much as a HEAD of its
 * manifest.
 */
import { env } from 'cloudflare:workers';
import { beforeEach, expect, test } from 'vitest';
import { listable } from '../../../src/auth/listable.ts';
import type { Digest } from '../../../src/oci/digest.ts';
import type { OrganizationName, RepositoryName, Tag } from '../../../src/oci/reference.ts';
import { allStatements } from '../../../src/stores/database.ts';
import { MAX_TAGS_OF_PAGE } from '../../../src/registry/images/list-rows.ts';
import type { ListedImage, Page } from '../../../src/registry/registry.ts';
import { resetCounts } from '../../support/counting.ts';
import { type Fixture, granted, ifPublic, openFixture, pushImage, pushSmallImage } from '../../support/fixture.ts';
import { describeManifests } from '../../support/descriptors.ts';
import { withoutTriggers } from '../../support/without-triggers.ts';
import { SAMPLE } from '../../support/sample.ts';

const ALICE = {
  kind: 'organization',
  id: 'alice',
  organization: 'alice' as OrganizationName,
  rights: ['pull'],
  repositories: ['alice/*'],
} as const;
const PLATFORM = { kind: 'platform', id: 'platform' } as const;
const digestOf = (i: number): Digest => `sha256:${i.toString(16).padStart(64, '0')}` as Digest;

/** Inserts images with one tag and one child each, ten in each repository; every tenth repository is public. */
async function fill(organization: string, images: number, organizations = 1): Promise<void> {
  const rows = 'WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)';
  const name = `?2 || iif(?3 = 1, '', i % ?3) || '/r' || printf('%06d', i / 10)`;
  const digest = `'sha256:' || printf('%064x', i)`;
  const child = `'sha256:' || printf('%064x', i + 10000000)`;
  const columns = `(repository, digest, media_type, artifact_type, subject, size, created_version, deleted_version, last_pull, image_size, image_kind)`;
  const insert = async (statements: readonly string[]) => {
    for (const statement of statements) {
      await env.DB_CENTRAL.prepare(statement.replace('SELECT', `${rows} SELECT`))
        .bind(images, organization, organizations)
        .run();
    }
  };
  await insert([
    `INSERT OR IGNORE INTO repositories (name, created_at, listed) SELECT ${name}, 0, 1 FROM n`,
    `INSERT OR IGNORE INTO public_repositories (name) SELECT ${name} FROM n WHERE i / 10 % 10 = 1`,
  ]);
  // The test does not use the counts of these triggers.
  await withoutTriggers(env.DB_CENTRAL, async () => {
    await insert([
      `INSERT INTO tags SELECT ${name}, 't' || i, ${digest}, 1000, 'central', 1, '' FROM n`,
      `INSERT INTO manifests ${columns} SELECT ${name}, ${digest}, 'a/b', '', NULL, 2, 1, 0, 0, 1, '' FROM n`,
      `INSERT INTO manifests ${columns} SELECT ${name}, ${child}, 'a/b', '', NULL, 2, 1, 0, 0, 1, '' FROM n`,
      `INSERT INTO manifest_references (repository, digest, manifest, kind, size)
        SELECT ${name}, ${child}, ${digest}, 'child', 1 FROM n`,
    ]);
    await describeManifests(env.DB_CENTRAL);
  });
}

let fixture: Fixture;
beforeEach(async () => {
  fixture = await openFixture();
});

interface Cost {
  readonly rows: number;
  readonly trips: number;
  readonly written: number;
}

async function costOf(work: () => Promise<unknown>): Promise<Cost> {
  resetCounts(fixture.counts);
  await work();
  await fixture.settled();
  const { rowsRead, rowsWritten, d1, classA, classB } = fixture.counts;
  expect(classA + classB).toBe(0);
  return { rows: rowsRead, trips: d1, written: rowsWritten };
}

async function costs(): Promise<Record<string, Cost>> {
  const { registry } = fixture;
  const local = listable(ALICE, undefined);
  const some = listable({ ...ALICE, repositories: ['alice/r000001', 'alice/r000003', 'alice/x/*'] }, undefined);
  const all = listable(PLATFORM, undefined);
  const ofBob = listable(ALICE, 'bob' as OrganizationName);
  const first = { limit: 10, after: '' };
  const access = granted('alice/r000001' as RepositoryName);
  return {
    'own, first page': await costOf(() => registry.listImages(local, false, first)),
    'own, later page': await costOf(() => registry.listImages(local, false, { limit: 10, after: 'alice/r000002:t29' })),
    'own, with untagged images': await costOf(() => registry.listImages(local, true, first)),
    'own, untagged images': await costOf(() => registry.listImages(local, true, { limit: 10, after: '@' })),
    'some repositories': await costOf(() => registry.listImages(some, false, first)),
    'everything, first page': await costOf(() => registry.listImages(all, false, first)),
    "another's, public": await costOf(() => registry.listImages(ofBob, false, first)),
    'by digest alone': await costOf(() =>
      registry.listImagesOf(local, { kind: 'digest', digest: digestOf(15) }, first),
    ),
    'by tag alone': await costOf(() => registry.listImagesOf(local, { kind: 'tag', tag: 't15' as Tag }, first)),
    'one by digest': await costOf(() =>
      registry.findImages([{ access, reference: { kind: 'digest', digest: digestOf(15) } }]),
    ),
    'one by tag': await costOf(() => registry.findImages([{ access, reference: { kind: 'tag', tag: 't15' as Tag } }])),
  };
}

test('a page costs one round trip, and reads as many rows among 100 images as among very many', async () => {
  const tables = ['repositories', 'public_repositories', 'tags', 'manifests', 'manifest_references'];
  await fill('alice', 100);
  await fill('bob', 300);
  const small = await costs();
  const clear = async () => {
    await env.DB_CENTRAL.batch(tables.map((table) => env.DB_CENTRAL.prepare(`DELETE FROM ${table}`)));
  };
  await clear();
  // This inserts 200,000 images in a full run.
  await fill('alice', 100_000 / SAMPLE);
  await fill('bob', 50_000 / SAMPLE);
  await fill('org', 50_000 / SAMPLE, 500);
  const large = await costs();
  const differ = Object.entries(large).filter(([name, { rows }]) => Math.abs(rows - (small[name]?.rows ?? 0)) > 2);
  expect(differ).toEqual([]);
  for (const [name, { rows, trips, written }] of Object.entries(large)) {
    expect([name, trips, written]).toEqual([name, 1, 0]);
    expect([name, rows, rows <= 200]).toEqual([name, rows, true]);
  }
  await withoutTriggers(env.DB_CENTRAL, clear);
});

test('a page of the images of a digest ends early if they have many tags, and the pages together have them all', async () => {
  const [repositories, tagsEach] = [250, 100];
  const numbers = 'WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?1)';
  const name = "'alice/r' || printf('%03d', i % ?2)";
  const columns =
    'repository, digest, media_type, artifact_type, size, created_version, deleted_version, last_pull, image_size, image_kind';
  const insert = (count: number, into: string) =>
    env.DB_CENTRAL.prepare(into.replace('SELECT', `${numbers} SELECT`))
      .bind(count, repositories, digestOf(1))
      .run();
  await withoutTriggers(env.DB_CENTRAL, async () => {
    await insert(
      repositories,
      `INSERT INTO repositories (name, created_at, listed) SELECT ${name}, 0, 1 FROM n WHERE ?3 <> ''`,
    );
    await insert(
      repositories,
      `INSERT INTO manifests (${columns}) SELECT ${name}, ?3, 'a/b', '', 2, 1, 0, 0, 1, '' FROM n`,
    );
    await insert(
      repositories * tagsEach,
      `INSERT INTO tags SELECT ${name}, 't' || (i / ?2), ?3, 1000, 'central', 1, '' FROM n`,
    );
  });
  for (const patterns of [['alice/*'], ['alice/r007', 'alice/r100', 'alice/r249', 'alice/x/*']]) {
    const scope = listable({ ...ALICE, repositories: patterns }, undefined);
    const found: string[] = [];
    let after: string | undefined = '';
    while (after !== undefined) {
      const page: Page<ListedImage> = await fixture.registry.listImagesOf(
        scope,
        { kind: 'digest', digest: digestOf(1) },
        { limit: 1000, after },
      );
      const tags = page.items.reduce((sum, image) => sum + image.tags.length, 0);
      expect(tags).toBeLessThanOrEqual(MAX_TAGS_OF_PAGE + tagsEach);
      expect(page.items.every((image) => image.tags.length === tagsEach)).toBe(true);
      found.push(...page.items.map(({ repository }) => repository));
      after = page.last;
    }
    expect(found).toHaveLength(patterns.length === 1 ? repositories : 3);
    expect(found).toEqual([...new Set(found)].toSorted());
  }
});

test('an image by its digest costs as much as a HEAD of its manifest', async () => {
  const image = await pushSmallImage(fixture, 1, ['latest']);
  const reference = { kind: 'digest', digest: image.digest } as const;
  const head = await costOf(() => fixture.registry.resolveManifest(granted(), reference));
  const listed = await costOf(() => fixture.registry.findImages([{ access: granted(), reference }]));
  expect([head.trips, listed.trips, listed.written]).toEqual([1, 1, 0]);
  expect(listed.rows).toBeLessThanOrEqual(head.rows + 2);
  const missing = { kind: 'digest', digest: digestOf(1) } as const;
  const absent = await costOf(() => fixture.registry.findImages([{ access: granted(), reference: missing }]));
  expect([absent.trips, absent.rows <= head.rows]).toEqual([1, true]);
  expect(await fixture.registry.findImages([{ access: ifPublic(), reference }])).toEqual([]);
});

test('pushing again measures nothing', async () => {
  const image = await pushSmallImage(fixture, 1, ['latest']);
  const again = await costOf(() => pushImage(fixture, image, ['latest']));
  await env.DB_CENTRAL.prepare("UPDATE manifests SET image_size = 5, image_kind = 'rom'").run();
  await pushImage(fixture, image, ['latest']);
  const row = await env.DB_CENTRAL.prepare('SELECT image_size, image_kind FROM manifests').first();
  expect([again.trips, row]).toEqual([1, { image_size: 5, image_kind: 'rom' }]);
});

const LISTS = allStatements
  .map(({ text }) => text)
  .filter((text) => /image_size AS size/.test(text) && /LIMIT CAST/.test(text));

test('every list is covered by the check below', () => {
  expect(LISTS).toHaveLength(6);
});

test.each(LISTS)('a page is read in the order of its index: %s', async (statement) => {
  const query = env.DB_CENTRAL.prepare(`EXPLAIN QUERY PLAN ${statement}`).bind(
    ...Array.from({ length: Math.max(...[...statement.matchAll(/\?(\d)/g)].map(([, at]) => Number(at))) }, () => null),
  );
  const steps = (await query.all<{ detail: string }>()).results.map(({ detail }) => detail);
  expect(steps.filter((step) => step.includes('TEMP B-TREE'))).toEqual([]);
});
