/** Comparing the objects in a bucket with the rows that name them, in both directions. */
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { bodyOf, bytesOf, pushBlob, REPOSITORY, session, SUBJECT } from '../../support/fixture.ts';
import type { Hosts } from '../../support/hosts.ts';
import {
  at,
  BUCKETS,
  compare,
  contextOf,
  counterAt,
  DATABASES,
  DAY,
  errorLines,
  keyAt,
  leak,
  locationAt,
  lose,
  openHostsNow,
  ORPHAN_DAYS,
  orphansAt,
} from '../../support/objects.ts';
import { compareObjects } from '../../support/maintenance.ts';

const HOUR = DAY / 24;

let hosts: Hosts;

beforeEach(async () => {
  hosts = await openHostsNow();
});

afterEach(() => void vi.restoreAllMocks());

test('a location whose object is gone is marked as damaged, and others are not', async () => {
  const lost = await pushBlob(at(hosts.central), bytesOf(1, 100));
  const kept = await pushBlob(at(hosts.central), bytesOf(2, 100));
  await lose('central', lost);
  const lines = errorLines();
  await compare(hosts);
  expect(await locationAt('central', lost)).toMatchObject({ damage: 'missing' });
  expect(await locationAt('central', kept)).toMatchObject({ damage: null });
  expect(lines).toEqual([{ damaged: lost, store: 'central', key: await keyAt('central', lost), problem: 'missing' }]);
});

describe('an object without a row', () => {
  test('is left alone while a request may yet name it, then is an orphan, and is deleted after 30 days', async () => {
    const blob = await pushBlob(at(hosts.central), bytesOf(2, 100));
    const key = await leak('orphan');
    hosts.now = Date.now() + HOUR / 2;
    await compare(hosts);
    expect(await orphansAt('central')).toEqual([]);
    hosts.now += DAY;
    await compare(hosts);
    expect(await orphansAt('central')).toEqual([key]);
    await DATABASES.central.prepare("INSERT INTO repairs (name, progress) VALUES (?, '{}')").bind(key).run();
    hosts.now += ORPHAN_DAYS * DAY - 1;
    await compare(hosts);
    expect(await BUCKETS.central.head(key)).not.toBeNull();
    hosts.now += DAY;
    await compare(hosts);
    expect(await BUCKETS.central.head(key)).toBeNull();
    expect(await orphansAt('central')).toEqual([]);
    expect(await DATABASES.central.prepare('SELECT count(*) AS count FROM repairs').first('count')).toBe(0);
    expect(await BUCKETS.central.head(await keyAt('central', blob))).not.toBeNull();
    expect(await counterAt('central', 'orphans_found')).toBe(1);
    expect(await counterAt('central', 'orphans_deleted')).toBe(1);
  });

  test('stays, and is not an orphan, once a restored database names it again', async () => {
    const digest = await pushBlob(at(hosts.central), bytesOf(2, 100));
    const key = await keyAt('central', digest);
    const { results } = await DATABASES.central
      .prepare('SELECT * FROM locations')
      .all<Record<string, string | number | null>>();
    await DATABASES.central.prepare('DELETE FROM locations').run();
    hosts.now += DAY;
    await compare(hosts);
    expect(await orphansAt('central')).toEqual([key]);
    const row = results[0]!;
    const columns = Object.keys(row);
    await DATABASES.central
      .prepare(`INSERT INTO locations (${columns.join()}) VALUES (${columns.map((_, i) => `?${i + 1}`).join()})`)
      .bind(...Object.values(row))
      .run();
    hosts.now += (ORPHAN_DAYS + 1) * DAY;
    await compare(hosts);
    expect(await orphansAt('central')).toEqual([]);
    expect(await BUCKETS.central.head(key)).not.toBeNull();
  });

  test('is not an orphan if it belongs to an upload under way', async () => {
    const open = await hosts.central.registry.openUpload(REPOSITORY, SUBJECT, 'sha256');
    await hosts.central.registry.appendChunk(session(open), undefined, bodyOf(bytesOf(3, 50)));
    hosts.now += 2 * HOUR;
    await compare(hosts);
    expect(await orphansAt('central')).toEqual([]);
  });

  test('is forgotten if somebody else deletes it', async () => {
    const key = await leak('orphan');
    hosts.now += DAY;
    await compare(hosts);
    await BUCKETS.central.delete(key);
    hosts.now += DAY;
    await compare(hosts);
    expect(await orphansAt('central')).toEqual([]);
    expect(await counterAt('central', 'orphans_deleted')).toBe(0);
  });

  /** Puts an object into node1's bucket, and lets node1 take it for an orphan from now on. */
  async function orphanThatCentralNames(): Promise<string> {
    const key = await leak('at-node', BUCKETS.node1);
    const insert = `
      INSERT INTO locations (digest, store, key, size, created_at, lease_until)
      VALUES ('sha256:x', 'node1', ?1, 10, 0, 0)`;
    await DATABASES.central.prepare(insert).bind(key).run();
    hosts.now += DAY;
    await compare(hosts, 'node1');
    return key;
  }

  test("at a node stays for as long as central's rows name it", async () => {
    const key = await orphanThatCentralNames();
    hosts.now += (ORPHAN_DAYS + 1) * DAY;
    await compare(hosts, 'node1');
    expect(await BUCKETS.node1.head(key)).not.toBeNull();
    await DATABASES.central.prepare('DELETE FROM locations').run();
    hosts.now += DAY;
    await compare(hosts, 'node1');
    expect(await BUCKETS.node1.head(key)).toBeNull();
  });

  test('at a node stays if it becomes due between the question to central and the deletion', async () => {
    const key = await orphanThatCentralNames();
    hosts.now += ORPHAN_DAYS * DAY - 1;
    const context = contextOf(hosts);
    const [store] = context.nodes;
    const all = store!.database.all.bind(store!.database);
    const asked = vi.spyOn(store!.database, 'all').mockImplementation(async (statement, ...parameters) => {
      if (statement.text.includes('FROM orphans')) hosts.now += 1;
      return all(statement, ...parameters);
    });
    await compareObjects(context, store!, ORPHAN_DAYS * DAY);
    expect(asked.mock.calls.filter(([{ text }]) => text.includes('FROM orphans'))).toHaveLength(2);
    expect(await BUCKETS.node1.head(key)).not.toBeNull();
  });
});

test('parts of mirrored blobs stay while a fetch may have them, and go after seven days', async () => {
  const key = 'mirror/one/0';
  await BUCKETS.central.put(key, bytesOf(1, 10));
  hosts.now = Date.now() + 7 * DAY - HOUR;
  await compare(hosts);
  expect(await BUCKETS.central.head(key)).not.toBeNull();
  hosts.now += DAY;
  await compare(hosts);
  expect(await BUCKETS.central.head(key)).toBeNull();
  expect(await orphansAt('central')).toEqual([]);
});
