/** The rows that a push, a page and a restoration read of a tag's history do not depend on its length. */
import { env } from 'cloudflare:workers';
import { expect, test } from 'vitest';
import type { Tag } from '../../../src/oci/reference.ts';
import { Database } from '../../../src/stores/database.ts';
import { historyOfTag, writeOfTag } from '../../../src/stores/manifests/tag-history.ts';
import { countD1, resetCounts } from '../../support/counting.ts';
import { openFixture, pushImage, pushSmallImage, REPOSITORY, rowsOf } from '../../support/fixture.ts';

const LATEST = 'latest' as Tag;
const ENTRIES = 100;

async function rowsReadWith(count: number): Promise<Record<string, number>> {
  const fixture = await openFixture();
  const { counts } = fixture;
  const image = await pushSmallImage(fixture, 1, [LATEST]);
  await env.DB_CENTRAL.prepare('DELETE FROM tag_history').run();
  await env.DB_CENTRAL.prepare(
    `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
     INSERT INTO tag_history SELECT ?2, ?3, i, 'central', ?4, ?5, '' FROM n`,
  )
    .bind(count, REPOSITORY, LATEST, image.digest, fixture.now)
    .run();
  const database = new Database(countD1(env.DB_CENTRAL, counts));
  const read: Record<string, number> = {};
  const measure = async (name: string, work: () => Promise<unknown>): Promise<void> => {
    resetCounts(counts);
    await work();
    await fixture.settled();
    read[name] = counts.rowsRead;
  };
  const page = (version: number, since: number) =>
    historyOfTag(database, REPOSITORY, LATEST, { version, origin: '' }, { entries: ENTRIES, since }, 10);
  await measure('first page', () => page(Number.MAX_SAFE_INTEGER, 0));
  await measure('later page', () => page(count - 50, 0));
  await measure('page of expired entries', () => page(Number.MAX_SAFE_INTEGER, fixture.now + 1));
  await measure('one write', () => writeOfTag(database, REPOSITORY, LATEST, { version: count - 5, origin: 'central' }));
  await measure('push', () => pushImage(fixture, image, [LATEST]));
  return read;
}

test('rows read do not depend on the length of the history', async () => {
  const short = await rowsReadWith(2 * ENTRIES);
  const long = await rowsReadWith(100 * ENTRIES);
  expect(long).toEqual(short);
  for (const [name, rows] of Object.entries(long)) expect([name, rows]).toEqual([name, Math.min(rows, 4 * ENTRIES)]);
});

test('a push removes a bounded number of excess entries, the oldest first, and repeated pushes remove all', async () => {
  await rowsReadWith(ENTRIES + 25);
  const versions = async (): Promise<number[]> =>
    (await rowsOf<{ version: number }>('SELECT version FROM tag_history ORDER BY version')).map(
      ({ version }) => version,
    );
  expect((await versions())[0]).toBe(11);
  const fixture = await openFixture();
  const image = await pushSmallImage(fixture, 1, []);
  for (let i = 0; i < 5; i++) await pushImage(fixture, image, [LATEST]);
  expect(await versions()).toHaveLength(ENTRIES);
});
