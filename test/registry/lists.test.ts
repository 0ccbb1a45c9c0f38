import { beforeEach, describe, expect, test } from 'vitest';
import type { RepositoryName, Tag } from '../../src/oci/reference.ts';
import { resetCounts } from '../support/counting.ts';
import {
  bytesOf,
  descriptorOf,
  documentOf,
  type Fixture,
  granted,
  imageOf,
  openFixture,
  pushBlob,
  pushImage,
  pushSmallImage,
  REPOSITORY,
} from '../support/fixture.ts';

let fixture: Fixture;

beforeEach(async () => {
  fixture = await openFixture();
});

/** Returns all items of a list, page by page. Each page but the last says where the next one starts. */
async function collect<Item>(
  page: (after: string) => Promise<{ items: readonly Item[]; last: string | undefined }>,
): Promise<Item[][]> {
  const pages: Item[][] = [];
  for (let after: string | undefined = ''; after !== undefined;) {
    const { items, last }: { items: readonly Item[]; last: string | undefined } = await page(after);
    pages.push([...items]);
    after = last;
  }
  return pages;
}

describe('tags', () => {
  test('come in byte order, in pages that say whether another follows', async () => {
    await pushSmallImage(fixture, 1, ['b', 'a', 'Z', '_', '9', 'a.1', 'a-1']);
    const all = ['9', 'Z', '_', 'a', 'a-1', 'a.1', 'b'];
    for (const limit of [1, 2, 3, 7, 100]) {
      const pages = await collect((after) => fixture.registry.listTags(granted(), { limit, after }));
      expect(pages.flat()).toEqual(all);
      expect(pages.every((page) => page.length > 0 && page.length <= limit)).toBe(true);
    }
    expect(await fixture.registry.listTags(granted(), { limit: 0, after: '' })).toEqual({ items: [], last: undefined });
    expect((await fixture.registry.listTags(granted(), { limit: 9, after: 'a' })).items).toEqual(['a-1', 'a.1', 'b']);
  });

  test('of an unknown repository are unknown', async () => {
    await expect(fixture.registry.listTags(granted(), { limit: 9, after: '' })).rejects.toMatchObject({
      kind: 'NAME_UNKNOWN',
    });
  });

  test('the cost of a page does not depend on deleted rows before it', async () => {
    const many = Array.from({ length: 400 }, (_, i) => `t${String(i).padStart(4, '0')}`);
    const doomed = await pushSmallImage(fixture, 1, many.slice(0, 300));
    await pushSmallImage(fixture, 3, many.slice(300));
    await fixture.registry.deleteManifest(REPOSITORY, doomed.digest);
    for (const name of many.slice(300, 350)) await fixture.registry.deleteTag(REPOSITORY, name as Tag);
    resetCounts(fixture.counts);
    const page = await fixture.registry.listTags(granted(), { limit: 10, after: '' });
    expect(page.items).toEqual(many.slice(350, 360));
    expect(fixture.counts.rowsRead).toBeLessThan(20);
    expect(fixture.counts.d1).toBe(1);
  });
});

describe('referrers', () => {
  const SUBJECT_TYPE = 'application/vnd.oci.image.manifest.v1+json';

  async function attach(artifactType: string | undefined, note: string): Promise<void> {
    const [subject] = [await imageOf(await pushBlob(fixture, bytesOf(1, 10)), [])];
    const referrer = await imageOf(await pushBlob(fixture, bytesOf(2, 10)), [], {
      subject: descriptorOf(subject.digest, SUBJECT_TYPE),
      ...(artifactType === undefined ? {} : { artifactType }),
      annotations: { note },
    });
    await pushImage(fixture, referrer);
  }

  const subjectDigest = async () => (await imageOf(await pushBlob(fixture, bytesOf(1, 10)), [])).digest;

  test('come once each, with artifact type and annotations, filtered and in pages', async () => {
    for (const [type, note] of [
      ['application/a', '1'],
      ['application/b', '2'],
      ['application/a', '3'],
      [undefined, '4'],
    ] as const) {
      await attach(type, note);
    }
    const subject = await subjectDigest();
    for (const limit of [1, 2, 100]) {
      const all = await collect((after) =>
        fixture.registry.listReferrers(granted(), subject, undefined, { limit, after }),
      );
      expect(
        all
          .flat()
          .map(({ annotations }) => annotations?.['note'])
          .toSorted(),
      ).toEqual(['1', '2', '3', '4']);
      const some = await collect((after) =>
        fixture.registry.listReferrers(granted(), subject, 'application/a', { limit, after }),
      );
      expect(
        some
          .flat()
          .map(({ annotations }) => annotations?.['note'])
          .toSorted(),
      ).toEqual(['1', '3']);
    }
    const [, , , last] = (
      await fixture.registry.listReferrers(granted(), subject, undefined, { limit: 9, after: '' })
    ).items.toSorted((a, b) => a.artifactType.localeCompare(b.artifactType));
    expect(last?.artifactType).toBe('application/vnd.oci.image.config.v1+json');
  });

  test('a page also ends by bytes, and no referrer is lost', async () => {
    for (const note of ['1', '2', '3']) await attach('application/large', note + 'x'.repeat(1_900_000));
    const pages = await collect(async (after) =>
      fixture.registry.listReferrers(granted(), await subjectDigest(), undefined, { limit: 100, after }),
    );
    expect(pages.map((page) => page.length)).toEqual([2, 1]);
  });

  test('an index without an artifact type lists none; deleted referrers are gone; an unknown repository has none', async () => {
    const subject = await subjectDigest();
    const index = await documentOf('application/vnd.oci.image.index.v1+json', {
      manifests: [],
      subject: descriptorOf(subject, SUBJECT_TYPE),
    });
    await pushImage(fixture, index);
    const list = () => fixture.registry.listReferrers(granted(), subject, undefined, { limit: 9, after: '' });
    expect((await list()).items).toMatchObject([{ digest: index.digest, artifactType: '' }]);
    await fixture.registry.deleteManifest(REPOSITORY, index.digest);
    expect((await list()).items).toEqual([]);
    const unknown = granted('alice/unknown' as RepositoryName);
    expect((await fixture.registry.listReferrers(unknown, subject, undefined, { limit: 9, after: '' })).items).toEqual(
      [],
    );
  });
});

test('the catalog shows the given ranges and public repositories, each once, in pages', async () => {
  const names = ['alice/a', 'alice/b', 'alice0/x', 'bob/a', 'carol/open'] as RepositoryName[];
  for (const [i, name] of names.entries()) await pushSmallImage(fixture, 10 * i + 1, ['latest'], name);
  const { env } = await import('cloudflare:workers');
  await env.DB_CENTRAL.prepare(
    "INSERT INTO public_repositories (name) VALUES ('carol/open'), ('alice/a'), ('carol/never-pushed')",
  ).run();
  const pullable = { ranges: [{ from: 'alice/', to: 'alice0' }], withPublic: true };
  for (const limit of [1, 2, 100]) {
    const pages = await collect((after) => fixture.registry.listRepositories(pullable, { limit, after }));
    expect(pages.flat()).toEqual(['alice/a', 'alice/b', 'carol/open']);
  }
});
