/**
 * A store's database is restored to an earlier moment, and its bucket is not. The tests take the steps of
 * docs/operations.md, "Restoring central's database" and "Restoring a node's database", and check what it promises.
 */
import { env } from 'cloudflare:workers';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { parseConfig } from '../../../src/config.ts';
import { maintain } from '../../../src/maintenance/schedule.ts';
import { type Digest, digestOf } from '../../../src/oci/digest.ts';
import type { RepositoryName, Tag } from '../../../src/oci/reference.ts';
import { copyImageDown } from '../../../src/replication/copy-down.ts';
import { DEFAULT_LIMITS } from '../../../src/stores/organizations/limits.ts';
import { announceAll } from '../../../src/stores/outbox-rows.ts';
import {
  bodyOf,
  bytesOf,
  GRACE,
  granted,
  type Image,
  imageOf,
  objectKeys,
  pushBlob,
  pushImage,
  session,
  SUBJECT,
} from '../../support/fixture.ts';
import type { Host, HostName, Hosts } from '../../support/hosts.ts';
import {
  at,
  BUCKETS,
  contextOf,
  DATABASES,
  DAY,
  errorLines,
  keyAt,
  locationAt,
  lookAfter,
  openHostsNow,
  orphansAt,
  read,
} from '../../support/objects.ts';

const HOUR = DAY / 24;

type Row = Record<string, string | number | null>;
type Dump = ReadonlyMap<string, readonly Row[]>;

/** Reads all rows of a host's database. */
async function dump(host: HostName): Promise<Dump> {
  const database = DATABASES[host];
  const tables = await database
    .prepare(
      `SELECT name FROM sqlite_master WHERE type = 'table'
         AND name NOT GLOB '_cf*' AND name NOT GLOB 'd1_*' AND name NOT GLOB 'sqlite_*'`,
    )
    .all<{ name: string }>();
  const rows = tables.results.map(async ({ name }) => {
    // `table_info` leaves out generated columns.
    const columns = await database.prepare(`PRAGMA table_info(${name})`).all<{ name: string }>();
    const list = columns.results.map((column) => column.name).join();
    return [name, (await database.prepare(`SELECT ${list} FROM ${name}`).all<Row>()).results] as const;
  });
  return new Map(await Promise.all(rows));
}

async function restore(host: HostName, rows: Dump): Promise<void> {
  const database = DATABASES[host];
  await database.batch([
    ...[...rows.keys()].map((table) => database.prepare(`DELETE FROM ${table}`)),
    ...[...rows].flatMap(([table, all]) =>
      all.map((row) => {
        const columns = Object.keys(row);
        const values = columns.map((_, i) => `?${i + 1}`).join();
        return database
          .prepare(`REPLACE INTO ${table} (${columns.join()}) VALUES (${values})`)
          .bind(...Object.values(row));
      }),
    ),
  ]);
}

interface Pushed extends Image {
  readonly repository: RepositoryName;
  readonly layer: Digest;
  readonly content: Uint8Array<ArrayBuffer>;
}

type SendBlob = (content: Uint8Array<ArrayBuffer>, repository: RepositoryName) => Promise<Digest>;

/** Pushes an image to its own repository, with the tag `latest`. @param send sends its layer */
async function push(
  host: Host,
  name: string,
  seed: number,
  send: SendBlob = (content, repository) => pushBlob(at(host), content, repository),
): Promise<Pushed> {
  const repository = `alice/${name}` as RepositoryName;
  const content = layerOf(seed);
  const layer = await send(content, repository);
  const configuration = bytesOf(seed + 1, 2000 + seed);
  const config = await pushBlob(at(host), configuration, repository);
  const descriptor = (digest: Digest, { byteLength: size }: Uint8Array) => ({
    mediaType: 'application/x.blob',
    digest,
    size,
  });
  const image = await imageOf(config, [layer], {
    config: descriptor(config, configuration),
    layers: [descriptor(layer, content)],
  });
  await pushImage(at(host), image, ['latest'], repository);
  return { ...image, repository, layer, content };
}

function layerOf(seed: number): Uint8Array<ArrayBuffer> {
  return bytesOf(seed, 1000 + seed);
}

/** Sends a whole layer in one chunk. Returns a function that closes the session and makes that chunk the blob. */
async function sendChunk({ registry }: Host, name: string, seed: number): Promise<SendBlob> {
  const repository = `alice/${name}` as RepositoryName;
  const opened = await registry.openUpload(repository, SUBJECT, 'sha256');
  const sent = await registry.appendChunk(session(opened, repository), undefined, bodyOf(layerOf(seed)));
  return async (content) => {
    const digest = await digestOf('sha256', content);
    await registry.finishUpload(session(sent, repository), digest, undefined, undefined);
    return digest;
  };
}

/** Runs maintenance once. @param collects whether the configuration collects */
async function cron(collects: boolean, now: number): Promise<void> {
  await maintain({ ...parseConfig(env), collects }, env, now);
}

/** Runs maintenance for longer than sessions, leases and orphans are kept. The nodes' queues run in between. */
async function collectForLong(): Promise<void> {
  for (const step of [2 * HOUR, DAY, DAY, DAY, 29 * DAY, DAY, DAY]) {
    hosts.now += step;
    await hosts.drain();
    await cron(true, hosts.now);
    await cron(true, hosts.now + HOUR);
  }
}

/** Takes the first step that operators are told to take after a restore. */
function forgetSessions(host: HostName): Promise<unknown> {
  const tables = ['upload_chunks', 'uploads', 'orphans', 'repairs'];
  const statements = [...tables.map((table) => `DELETE FROM ${table}`), 'UPDATE usage SET upload_rows = 0'];
  return DATABASES[host].batch(statements.map((statement) => DATABASES[host].prepare(statement)));
}

function resolve(host: Host, { repository }: Pushed): Promise<{ digest: Digest }> {
  return host.registry.resolveManifest(granted(repository), { kind: 'tag', tag: 'latest' as Tag }, false);
}

async function expectWhole(host: Host, image: Pushed): Promise<void> {
  expect((await resolve(host, image)).digest).toBe(image.digest);
  for (const blob of image.manifest.requiredBlobs) await read(host, blob, image.repository);
  expect(await read(host, image.layer, image.repository)).toEqual(image.content);
}

let hosts: Hosts;

beforeEach(async () => {
  hosts = await openHostsNow();
});

afterEach(() => void vi.restoreAllMocks());

describe('an older database, a newer bucket', () => {
  let before: Pushed;
  let deleted: Pushed;
  let pulled: Pushed;
  let known: Pushed;
  let unknown: Pushed;
  let atNode: Pushed;
  let underWay: Pushed;

  /** Pushes before and after the moment, restores the database, and takes the documented steps. */
  beforeEach(async () => {
    errorLines();
    const { central, node1 } = hosts;
    before = await push(central, 'before', 10);
    deleted = await push(central, 'deleted', 20);
    await read(node1, before.layer, before.repository);
    await hosts.drain();
    await lookAfter(contextOf(hosts));
    const finish = await sendChunk(central, 'under-way', 70);
    const moment = await dump('central');

    pulled = await push(central, 'pulled', 30);
    known = await push(central, 'known', 40);
    unknown = await push(central, 'unknown', 50);
    const pair = {
      node: node1.store,
      central: central.store,
      now: () => hosts.now,
      graceMilliseconds: GRACE,
      limits: DEFAULT_LIMITS,
    };
    underWay = await push(central, 'under-way', 70, finish);
    for (const image of [pulled, known, underWay])
      await copyImageDown(pair, image.repository, { kind: 'tag', tag: 'latest' as Tag });
    for (const blob of pulled.manifest.requiredBlobs) await read(node1, blob, pulled.repository);
    atNode = await push(node1, 'at-node', 60);
    await hosts.drain();
    // This image is deleted after the moment, and collected.
    await central.registry.deleteManifest(deleted.repository, deleted.digest);
    await BUCKETS.central.delete(await keyAt('central', deleted.layer));
    await hosts.drain();

    await restore('central', moment);
    // Days pass until the operator takes the next step.
    for (let days = 1; days <= 3; days++) await cron(false, hosts.now + days * DAY);
    await forgetSessions('central');
    const positions = await Promise.all(
      (['node1', 'node2'] as const).map((name) =>
        DATABASES[name].prepare('SELECT position FROM change_log_positions').first<number>('position'),
      ),
    );
    const next = Math.max(...positions.map((position) => position ?? 0)) + 1;
    await env.DB_CENTRAL.prepare(
      `INSERT INTO change_log (position, kind, name, key, version, recorded_at)
       VALUES (?1, 'visibility', '', '', 0, 0)`,
    )
      .bind(next)
      .run();
    await env.DB_CENTRAL.prepare(
      "DELETE FROM maintenance_tasks WHERE task IN ('comparison', 'wanted', 'repair')",
    ).run();
    for (const node of hosts.nodes) {
      await DATABASES[node.name].prepare('DELETE FROM change_log_positions').run();
      await announceAll(node.store.database, hosts.now);
    }
    await hosts.drain();
  });

  test('everything that the docs promise is there again after a round of the comparison and the repair', async () => {
    const { central } = hosts;
    // Before that round, central does not find bytes that no other store had.
    await expect(read(central, known.layer, known.repository)).rejects.toMatchObject({ kind: 'BLOB_UNKNOWN' });
    hosts.now = Date.now() + 2 * HOUR;
    const repaired = await lookAfter(contextOf(hosts));
    expect(repaired).toEqual([]);
    await hosts.drain();
    for (const image of [before, pulled, known, underWay, atNode])
      for (const host of hosts.all) await expectWhole(host, image);
    // Forgotten sessions no longer count in the usage.
    expect(await env.DB_CENTRAL.prepare('SELECT sum(uploading) AS bytes FROM usage').first('bytes')).toBe(0);

    // These blobs were found in the bucket, not copied from another store.
    const { results } = await env.DB_CENTRAL.prepare(
      "SELECT value FROM maintenance_counters WHERE name = 'repaired'",
    ).all();
    expect(results).toEqual([{ value: known.manifest.requiredBlobs.length + underWay.manifest.requiredBlobs.length }]);
    // Central has only the restored tags and those that nodes announced again.
    await expect(resolve(central, unknown)).rejects.toMatchObject({ kind: 'NAME_UNKNOWN' });
  });

  test('collection that is switched on again removes none of it', async () => {
    hosts.now = Date.now() + 2 * HOUR;
    await lookAfter(contextOf(hosts));
    await hosts.drain();
    await collectForLong();
    for (const image of [before, pulled, known, underWay, atNode])
      for (const host of hosts.all) await expectWhole(host, image);
    expect(await orphansAt('central')).toEqual([]);
  });

  test('an image that was deleted after the restored moment shows at central, without its bytes, until it is deleted again', async () => {
    const { central, node1 } = hosts;
    hosts.now = Date.now() + 2 * HOUR;
    await lookAfter(contextOf(hosts));
    expect((await resolve(central, deleted)).digest).toBe(deleted.digest);
    await expect(resolve(node1, deleted)).rejects.toMatchObject({ kind: 'MANIFEST_UNKNOWN' });
    await expect(read(central, deleted.layer, deleted.repository)).rejects.toMatchObject({ kind: 'UNAVAILABLE' });
    await central.registry.deleteManifest(deleted.repository, deleted.digest);
    await hosts.drain();
    for (const host of hosts.all)
      await expect(resolve(host, deleted)).rejects.toMatchObject({ kind: 'MANIFEST_UNKNOWN' });
  });

  test('bytes that no node has stay in the bucket for 30 days, where a push of their manifest finds them', async () => {
    const { central } = hosts;
    hosts.now = Date.now() + 2 * HOUR;
    await lookAfter(contextOf(hosts));
    const lost = await orphansAt('central');
    expect(lost.length).toBeGreaterThanOrEqual(unknown.manifest.requiredBlobs.length);
    hosts.now += 29 * DAY;
    await lookAfter(contextOf(hosts));
    expect(await objectKeys()).toEqual(expect.arrayContaining(lost));
    hosts.now += 2 * DAY;
    await lookAfter(contextOf(hosts));
    expect(await orphansAt('central')).toEqual([]);
    for (const key of lost) expect(await BUCKETS.central.head(key)).toBeNull();
    for (const image of [before, pulled, known, underWay, atNode]) await expectWhole(central, image);
  });
});

test('orphans stay while nothing is collected, however early restored rows say that they were seen', async () => {
  errorLines();
  await BUCKETS.central.put('blobs/orphan', bytesOf(1, 10));
  await env.DB_CENTRAL.prepare("INSERT INTO orphans (key, size, first_seen) VALUES ('blobs/orphan', 10, 0)").run();
  const later = Date.now() + 2 * HOUR;
  await cron(false, later);
  expect(await orphansAt('central')).toEqual(['blobs/orphan']);
  expect(await BUCKETS.central.head('blobs/orphan')).not.toBeNull();
  await cron(true, later + DAY + HOUR);
  expect(await orphansAt('central')).toEqual([]);
  expect(await BUCKETS.central.head('blobs/orphan')).toBeNull();
});

describe('an older database of a node, a newer bucket', () => {
  test('images announced since are whole everywhere, and stay so when collection is on again', async () => {
    errorLines();
    const { node1, central } = hosts;
    const before = await push(node1, 'before', 10);
    const finish = await sendChunk(node1, 'under-way', 70);
    await hosts.drain();
    await lookAfter(contextOf(hosts));
    const moment = await dump('node1');

    // These images are announced while central's bucket refuses writes, so only the node has their bytes.
    const { gate } = central;
    central.gate = async (call, work) => {
      if (call === 'put') throw new Error('internal error: please try again (10001)');
      return work();
    };
    const underWay = await push(node1, 'under-way', 70, finish);
    const since = await push(node1, 'since', 80);
    await hosts.drain();
    central.gate = gate;
    for (const { requiredBlobs } of [underWay.manifest, since.manifest]) {
      for (const digest of requiredBlobs) expect(await locationAt('central', digest)).toBeUndefined();
    }

    await restore('node1', moment);
    for (let days = 1; days <= 3; days++) await cron(false, hosts.now + days * DAY);
    await forgetSessions('node1');
    await DATABASES.node1.prepare("DELETE FROM maintenance_tasks WHERE task IN ('comparison', 'repair')").run();
    await announceAll(node1.store.database, hosts.now);
    hosts.now = Date.now() + 2 * HOUR;
    await hosts.drain();
    await lookAfter(contextOf(hosts));
    for (const image of [before, underWay, since]) for (const host of hosts.all) await expectWhole(host, image);
    await collectForLong();
    for (const image of [before, underWay, since]) for (const host of hosts.all) await expectWhole(host, image);
  });
});
