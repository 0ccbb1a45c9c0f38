/** The cost of a read or a write does not grow with the repository: the number of rows read is the same. */
import { env } from 'cloudflare:workers';
import { expect, test } from 'vitest';
import type { Tag } from '../../src/oci/reference.ts';
import { ControlData } from '../../src/stores/organizations/control-data.ts';
import { Database } from '../../src/stores/database.ts';
import { countD1, resetCounts } from '../support/counting.ts';
import {
  bytesOf,
  type Fixture,
  granted,
  imageOf,
  openFixture,
  pushBlob,
  pushImage,
  pushSmallImage,
  REPOSITORY,
  subjectOf,
} from '../support/fixture.ts';

/** Inserts other manifests, tags, links and referrers into the same repository. */
async function grow(fixture: Fixture, count: number): Promise<void> {
  const subject = await imageOf(await pushBlob(fixture, bytesOf(100, 20)), []);
  const rows = 'WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)';
  const digest = "'sha256:' || printf('%064x', i + 1000000)";
  const insert = (statement: string) =>
    env.DB_CENTRAL.prepare(statement.replace('SELECT', `${rows} SELECT`)).bind(count, REPOSITORY);
  await env.DB_CENTRAL.batch([
    insert(`INSERT INTO repositories (name, created_at, listed) SELECT 'aaa/r' || i, 0, 1 FROM n WHERE ?2 <> ''`),
    insert(
      `INSERT INTO repositories (name, created_at, listed) SELECT 'alice/q' || printf('%05d', i), 0, 1 FROM n WHERE ?2 <> ''`,
    ),
    insert(`INSERT INTO tags SELECT ?2, 'other' || i, ${digest}, 1, 'central', 1, '' FROM n`),
    insert(`INSERT INTO links SELECT ?2, ${digest}, 0, NULL, 0 FROM n`),
    insert(`INSERT INTO manifest_contents SELECT ?2, ${digest}, 0, '{}' FROM n`),
    insert(
      `INSERT INTO manifests (repository, digest, media_type, artifact_type, subject, size, created_version,
        deleted_version, last_pull, descriptors)
        SELECT ?2, ${digest}, 'a/b', 'application/other', '${subject.digest}', 2, 1, 0, 0,
          json_array(json_object('kind', 'config', 'digest', ${digest}, 'size', 1)) FROM n`,
    ),
  ]);
}

async function rowsReadBy(count: number): Promise<Record<string, number>> {
  const fixture = await openFixture();
  const { registry, counts } = fixture;
  const control = new ControlData(new Database(countD1(env.DB_CENTRAL, counts)));
  const image = await pushSmallImage(fixture, 1, ['latest', 'second']);
  const subject = await imageOf(await pushBlob(fixture, bytesOf(100, 20)), []);
  for (const artifactType of ['application/a', 'application/a', 'application/z']) {
    const config = await pushBlob(fixture, bytesOf(100, 20));
    await pushImage(
      fixture,
      await imageOf(config, [], { artifactType, subject: subjectOf(subject), note: crypto.randomUUID() }),
    );
  }
  await grow(fixture, count);
  const read: Record<string, number> = {};
  const measure = async (name: string, work: () => Promise<unknown>) => {
    resetCounts(counts);
    await work();
    await fixture.settled();
    read[name] = counts.rowsRead;
  };
  const latest = { kind: 'tag', tag: 'latest' as Tag } as const;
  const byDigest = { kind: 'digest', digest: image.digest } as const;
  const [blob] = image.manifest.requiredBlobs;
  if (blob === undefined) throw new Error('the image must have blobs');
  const page = { limit: 2, after: '' };
  await measure('manifest by tag', () => registry.getManifest(granted(), latest));
  await measure('manifest by digest', () => registry.getManifest(granted(), byDigest));
  await measure('blob', () => registry.getBlob(granted(), blob));
  await measure('HEAD of a blob', () => registry.resolveBlob(granted(), blob, true));
  await measure('page of tags', () => registry.listTags(granted(), page));
  await measure('page of referrers', () => registry.listReferrers(granted(), subject.digest, undefined, page));
  await measure('page of referrers of a type', () =>
    registry.listReferrers(granted(), subject.digest, 'application/z', page),
  );
  await measure('page of the catalog', () =>
    registry.listRepositories({ ranges: [{ from: 'alice/', to: 'alice0' }], withPublic: true }, page),
  );
  await measure('later page of the catalog', () =>
    registry.listRepositories(
      { ranges: [{ from: 'alice/', to: 'alice0' }], withPublic: true },
      { limit: 2, after: 'alice/q00008' },
    ),
  );
  await measure('later page of an organization', () =>
    control.repositories([{ from: 'alice/', to: 'alice0' }], 'alice/q00008', 2),
  );
  await measure('push of a manifest', () => pushImage(fixture, image, ['latest', 'third']));
  await measure('delete of a referenced blob', () => registry.deleteBlob(REPOSITORY, blob).catch(() => undefined));
  await measure('delete of a tag', () => registry.deleteTag(REPOSITORY, 'third' as Tag));
  await measure('delete of a manifest', () => registry.deleteManifest(REPOSITORY, image.digest));
  await measure('delete of a blob', () => registry.deleteBlob(REPOSITORY, blob));
  return read;
}

test('rows read do not depend on the size of the repository', async () => {
  const small = await rowsReadBy(10);
  await env.DB_CENTRAL.batch(
    [
      'repositories',
      'tags',
      'links',
      'manifest_references',
      'manifest_contents',
      'manifests',
      'change_log',
      'audit',
    ].map((table) => env.DB_CENTRAL.prepare(`DELETE FROM ${table}`)),
  );
  const large = await rowsReadBy(3000);
  expect(Object.keys(large)).toEqual(Object.keys(small));
  // At the end of a range, SQLite may read one more row. No step has more than two ranges that end differently.
  const more = Object.entries(large).filter(([name, rows]) => Math.abs(rows - (small[name] ?? 0)) > 2);
  expect(more).toEqual([]);
});
