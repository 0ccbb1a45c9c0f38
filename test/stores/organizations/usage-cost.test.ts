/**
 * The cost of keeping the usage of organizations: the D1 rows of a push with the triggers and without. They add no
 * round trip, as `operation-counts.test.ts` shows.
 */
import { env } from 'cloudflare:workers';
import { expect, test } from 'vitest';
import type { OrganizationName } from '../../../src/oci/reference.ts';
import { ControlData } from '../../../src/stores/organizations/control-data.ts';
import { Database } from '../../../src/stores/database.ts';
import { resetCounts } from '../../support/counting.ts';
import {
  bodyOf,
  bytesOf,
  type Fixture,
  contentDigest,
  imageOf,
  openFixture,
  pushBlob,
  pushImage,
  REPOSITORY,
  rowsOf,
  session,
  SUBJECT,
} from '../../support/fixture.ts';

const LAYERS = 10;

/** Returns the rows that each step writes and reads. */
async function costs(seed: number): Promise<Record<string, readonly [written: number, read: number]>> {
  const fixture: Fixture = await openFixture();
  const { registry, counts } = fixture;
  const rows: Record<string, readonly [number, number]> = {};
  const measure = async <T>(name: string, work: () => Promise<T>): Promise<T> => {
    resetCounts(counts);
    const answer = await work();
    await fixture.settled();
    rows[name] = [counts.rowsWritten, counts.rowsRead];
    return answer;
  };
  const contents = Array.from({ length: LAYERS + 2 }, (_, i) => bytesOf(seed + i, 20 + i));
  const digests = await Promise.all(contents.map((content) => contentDigest(content)));
  await pushImage(fixture, await imageOf(await pushBlob(fixture, bytesOf(seed + 99, 5)), []));
  await measure('POST with the digest', () => registry.putBlob(REPOSITORY, digests[0]!, bodyOf(contents[0]!)));
  await measure('POST and PUT', async () => {
    const open = await registry.openUpload(REPOSITORY, SUBJECT, 'sha256');
    await registry.finishUpload(session(open), digests[1]!, undefined, bodyOf(contents[1]!));
  });
  await measure('POST, PATCH and PUT', async () => {
    const open = await registry.openUpload(REPOSITORY, SUBJECT, 'sha256');
    const progress = await registry.appendChunk(session(open), undefined, bodyOf(contents[2]!));
    await registry.finishUpload(session(progress), digests[2]!, undefined, undefined);
  });
  for (const content of contents.slice(3)) await pushBlob(fixture, content);
  const image = await imageOf(digests[0]!, digests.slice(1, 1 + LAYERS));
  await measure('PUT of a manifest of 11 new blobs', () => pushImage(fixture, image, ['latest']));
  const next = await imageOf(digests[0]!, digests.slice(1, 1 + LAYERS), { annotations: { n: '2' } });
  await measure('PUT of another with the same blobs', () => pushImage(fixture, next, ['latest']));
  await measure('PUT of an existing one', () => pushImage(fixture, next, ['latest']));
  await measure('DELETE of the second', () => registry.deleteManifest(REPOSITORY, next.digest));
  return rows;
}

async function triggers(): Promise<{ readonly name: string; readonly sql: string }[]> {
  // The triggers of a store's own bytes stay, because eviction needs them.
  return rowsOf(
    "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND name NOT IN ('locations_added', 'locations_removed')",
  );
}

test('a push writes and reads this many rows more with the triggers than without', async () => {
  const kept = await costs(1000);
  await new ControlData(new Database(env.DB_CENTRAL)).addOrganization('alice' as OrganizationName, 0, 0);
  await env.DB_CENTRAL.prepare("UPDATE organizations SET quota_bytes = 1000000 WHERE name = 'alice'").run();
  const limited = await costs(2000);
  await env.DB_CENTRAL.prepare("UPDATE organizations SET quota_bytes = NULL WHERE name = 'alice'").run();
  const dropped = await triggers();
  await env.DB_CENTRAL.batch(dropped.map(({ name }) => env.DB_CENTRAL.prepare(`DROP TRIGGER ${name}`)));
  const without = await costs(3000);
  // Test files may share the database.
  await env.DB_CENTRAL.batch(dropped.map(({ sql }) => env.DB_CENTRAL.prepare(sql)));
  const more = (counted: typeof without) =>
    Object.fromEntries(Object.entries(counted).map(([name, [written]]) => [name, written - (without[name]?.[0] ?? 0)]));
  expect({ unlimited: more(kept), limited: more(limited) }).toEqual({
    unlimited: {
      'POST with the digest': 2,
      'POST and PUT': 2,
      'POST, PATCH and PUT': 3,
      // Eleven of these are the references, and two are for the manifest.
      'PUT of a manifest of 11 new blobs': 13,
      'PUT of another with the same blobs': 13,
      'PUT of an existing one': 0,
      'DELETE of the second': 14,
    },
    // With a quota, an index also has the changes that nodes must apply.
    limited: {
      'POST with the digest': 3,
      'POST and PUT': 3,
      'POST, PATCH and PUT': 5,
      'PUT of a manifest of 11 new blobs': 16,
      'PUT of another with the same blobs': 14,
      'PUT of an existing one': 0,
      'DELETE of the second': 16,
    },
  });
  for (const [name, [, read]] of Object.entries(limited)) expect([name, read]).toEqual([name, Math.min(read, 680)]);
});
