/**
 * Readers get 503 for a damaged blob, and pushers are told that it is unknown, until it is repaired from another store,
 * an orphan, or a push.
 */
import { env } from 'cloudflare:workers';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { noteDamage } from '../../../src/maintenance/integrity/damage.ts';
import type { Digest } from '../../../src/oci/digest.ts';
import type { RepositoryName, Tag } from '../../../src/oci/reference.ts';
import {
  bodyOf,
  bytesOf,
  granted,
  imageOf,
  pushBlob,
  pushImage,
  pushSmallImage,
  REPOSITORY,
  session,
  SUBJECT,
} from '../../support/fixture.ts';
import type { Host, Hosts } from '../../support/hosts.ts';
import { faulty } from '../../support/faults.ts';
import { gateD1 } from '../../support/links.ts';
import {
  at,
  BUCKETS,
  contextOf,
  counterAt,
  DATABASES,
  DAY,
  errorLines,
  keyAt,
  locationAt,
  lookAfter,
  lose,
  openHostsNow,
  orphansAt,
  read,
  spoil,
} from '../../support/objects.ts';
import { repair } from '../../support/maintenance.ts';

const CONTENT = bytesOf(1, 100);
const OTHER = 'bob/tool' as RepositoryName;

let hosts: Hosts;

beforeEach(async () => {
  hosts = await openHostsNow();
});

afterEach(() => void vi.restoreAllMocks());

const DAMAGES = [
  ['lost', lose, 'missing'],
  ['wrong', spoil, 'wrong bytes'],
] as const;

/** Pushes an image with one layer, {@link CONTENT}. */
async function image(host: Host): Promise<{ layer: Digest; push: () => Promise<void> }> {
  const layer = await pushBlob(at(host), CONTENT);
  const config = await pushBlob(at(host), bytesOf(2, 30));
  const whole = await imageOf(config, [layer]);
  await pushImage(at(host), whole, ['latest']);
  return { layer, push: () => pushImage(at(host), whole, ['again']) };
}

describe.each(DAMAGES)('an object that is %s, and that no store has', (_what, damage, problem) => {
  let layer: Digest;
  let push: () => Promise<void>;

  beforeEach(async () => {
    ({ layer, push } = await image(hosts.central));
    await damage('central', layer);
    errorLines();
    await lookAfter(contextOf(hosts));
    vi.restoreAllMocks();
  });

  test('is 503 to readers at every host, with a line in the log', async () => {
    const key = await keyAt('central', layer);
    for (const host of hosts.all) {
      const lines = errorLines();
      await expect(host.registry.getBlob(granted(), layer)).rejects.toMatchObject({ kind: 'UNAVAILABLE' });
      await expect(host.registry.resolveBlob(granted(), layer, false)).rejects.toMatchObject({ kind: 'UNAVAILABLE' });
      const line = { unreadable: layer, store: 'central', key, problem };
      expect(lines).toEqual([line, line]);
      vi.restoreAllMocks();
    }
  });

  test('is unknown to pushers, refuses mounts and manifests, and is repaired by a push', async () => {
    for (const host of hosts.all) {
      await expect(host.registry.resolveBlob(granted(), layer, true)).rejects.toMatchObject({ kind: 'BLOB_UNKNOWN' });
      expect(await host.registry.mountBlob(OTHER, layer, granted())).toBe(false);
      await expect(host.registry.getBlob(granted(OTHER), layer)).rejects.toMatchObject({ kind: 'BLOB_UNKNOWN' });
    }
    await expect(push()).rejects.toMatchObject({ kind: 'MANIFEST_BLOB_UNKNOWN' });
    await pushBlob(at(hosts.central), CONTENT);
    await push();
    for (const host of hosts.all) expect(await read(host, layer)).toEqual(CONTENT);
    expect(await locationAt('central', layer)).toMatchObject({ damage: null });
  });

  test('is repaired by a push in every form', async () => {
    const open = () => hosts.central.registry.openUpload(REPOSITORY, SUBJECT, 'sha256');
    const { registry } = hosts.central;
    const spoilAgain = async (): Promise<void> => {
      await hosts.settled();
      expect(await read(hosts.central, layer)).toEqual(CONTENT);
      await damage('central', layer);
      await DATABASES.central.prepare('UPDATE locations SET damage = ?1 WHERE digest = ?2').bind(problem, layer).run();
    };
    const whole = await open();
    await registry.finishUpload(session(whole), layer, undefined, bodyOf(CONTENT));
    await spoilAgain();
    const chunk = await registry.appendChunk(session(await open()), undefined, bodyOf(CONTENT, 'unknown'));
    await registry.finishUpload(session(chunk), layer, undefined, undefined);
    await spoilAgain();
    const first = await registry.appendChunk(session(await open()), undefined, bodyOf(CONTENT.slice(0, 40)));
    const both = await registry.appendChunk(session(first), undefined, bodyOf(CONTENT.slice(40)));
    await registry.finishUpload(session(both), layer, undefined, undefined);
    await hosts.settled();
    expect(await read(hosts.central, layer)).toEqual(CONTENT);
    const { results } = await DATABASES.central.prepare('SELECT key FROM upload_chunks').all();
    expect(results).toEqual([]);
  });

  test('is repaired by a push to a node, which central then reads and copies up', async () => {
    await pushBlob(at(hosts.node1), CONTENT);
    const config = await pushBlob(at(hosts.node1), bytesOf(2, 30));
    await pushImage(at(hosts.node1), await imageOf(config, [layer]), ['node']);
    await hosts.drain();
    expect(await locationAt('central', layer)).toMatchObject({ damage: null });
    expect(await read(hosts.central, layer)).toEqual(CONTENT);
    await BUCKETS.node1.delete(await keyAt('node1', layer));
    expect(await read(hosts.central, layer)).toEqual(CONTENT);
  });
});

describe.each(DAMAGES)('an object that is %s', (_what, damage, problem) => {
  test('at central is repaired from a node that has it, under a new key', async () => {
    const { layer } = await image(hosts.central);
    const key = await keyAt('central', layer);
    await read(hosts.node1, layer);
    await hosts.drain();
    await damage('central', layer);
    errorLines();
    expect(await lookAfter(contextOf(hosts))).toEqual([layer]);
    const repaired = await locationAt('central', layer);
    expect(repaired).toMatchObject({ damage: null });
    expect(repaired?.key).not.toBe(key);
    expect(await read(hosts.central, layer)).toEqual(CONTENT);
    expect(await counterAt('central', 'repaired')).toBe(1);
    // The object with wrong bytes stays as an orphan.
    hosts.now += 2 * DAY;
    await lookAfter(contextOf(hosts));
    expect(await orphansAt('central')).toEqual(problem === 'missing' ? [] : [key]);
  });

  test("at a node is repaired from central, and so is central's row of it", async () => {
    const { layer } = await image(hosts.node1);
    await hosts.drain();
    expect(await locationAt('central', layer, 'node1')).toMatchObject({ key: await keyAt('node1', layer) });
    await damage('node1', layer);
    errorLines();
    expect(await lookAfter(contextOf(hosts))).toEqual([layer]);
    expect(await locationAt('node1', layer)).toMatchObject({ damage: null });
    expect(await locationAt('central', layer, 'node1')).toEqual(await locationAt('node1', layer));
    expect(await read(hosts.node1, layer)).toEqual(CONTENT);
  });

  test('at a node is read from central, and the read copies it down', async () => {
    const { layer } = await image(hosts.node1);
    await hosts.drain();
    await damage('node1', layer);
    await DATABASES.node1.prepare('UPDATE locations SET damage = ?1 WHERE digest = ?2').bind(problem, layer).run();
    expect(await read(hosts.node1, layer)).toEqual(CONTENT);
    await hosts.drain();
    expect(await locationAt('node1', layer)).toMatchObject({ damage: null });
    expect(await BUCKETS.node1.head(await keyAt('node1', layer))).not.toBeNull();
  });

  test('at a node is not copied up, and its image does not settle', async () => {
    const { layer } = await image(hosts.node1);
    await hosts.node1.queue.moveMetadata(() => true);
    await damage('node1', layer);
    errorLines();
    await lookAfter(contextOf(hosts));
    await hosts.drain();
    expect(await locationAt('central', layer)).toBeUndefined();
    expect(hosts.node1.state.parkedCount()).toBe(0);
    await pushBlob(at(hosts.node1), CONTENT);
    hosts.now += DAY;
    await lookAfter(contextOf(hosts));
    await hosts.drain();
    expect(await read(hosts.central, layer)).toEqual(CONTENT);
    expect(await locationAt('central', layer)).toMatchObject({ damage: null });
  });
});

test('a damaged blob at central is settled again by the node that announces it', async () => {
  const { layer } = await image(hosts.central);
  await lose('central', layer);
  errorLines();
  await lookAfter(contextOf(hosts));
  await image(hosts.node1);
  await hosts.drain();
  expect(await locationAt('central', layer)).toMatchObject({ damage: null });
  await lose('node1', layer);
  expect(await read(hosts.central, layer)).toEqual(CONTENT);
});

test('a blob that no store has is tried again ten minutes after the end of the round', async () => {
  const { layer } = await image(hosts.central);
  await lose('central', layer);
  errorLines();
  await lookAfter(contextOf(hosts));
  hosts.now += DAY;
  // The round takes an hour.
  const slow = contextOf(hosts, env, { repaired: async () => undefined, mayGoOn: () => (hosts.now += DAY / 48) > 0 });
  await repair(slow, slow.central);
  const row = await DATABASES.central
    .prepare("SELECT next_at, position FROM maintenance_tasks WHERE task = 'repair'")
    .first<{ next_at: number; position: string }>();
  expect(row?.position).toBe('');
  expect(row?.next_at).toBeGreaterThanOrEqual(hosts.now + 10 * 60_000 - DAY / 24);
  expect(row?.next_at).toBeGreaterThan(hosts.now);
});

test("a repair at a node that needs central's database says so while central is away", async () => {
  const { layer } = await image(hosts.node1);
  await lose('node1', layer);
  errorLines();
  await lookAfter(contextOf(hosts));
  hosts.now += DAY;
  const away = gateD1(DATABASES.central, async () => {
    throw new Error('D1_ERROR: Network connection lost.');
  });
  const context = contextOf(hosts, { ...env, DB_CENTRAL: away });
  await repair(context, context.nodes[0]!);
  const stopped = await DATABASES.node1
    .prepare("SELECT stopped FROM maintenance_tasks WHERE task = 'repair'")
    .first('stopped');
  expect(stopped).toBe("central's database does not answer: this task waits until it does");
});

test('orphans of the same size are hashed, and one with the right bytes replaces the lost object', async () => {
  const { layer } = await image(hosts.central);
  await lose('central', layer);
  await BUCKETS.central.put('blobs/other', bytesOf(7, 100));
  await BUCKETS.central.put('blobs/same', CONTENT);
  await BUCKETS.central.put('blobs/longer', bytesOf(8, 101));
  hosts.now += DAY;
  errorLines();
  expect(await lookAfter(contextOf(hosts))).toEqual([layer]);
  expect(await locationAt('central', layer)).toEqual({ key: 'blobs/same', damage: null });
  expect(await orphansAt('central')).toEqual(['blobs/longer', 'blobs/other']);
  const { results } = await DATABASES.central.prepare('SELECT key FROM orphans WHERE sha256 IS NOT NULL').all();
  expect(results).toEqual([{ key: 'blobs/other' }]);
  expect(await read(hosts.central, layer)).toEqual(CONTENT);
});

test('even the last of very many orphans of the same size is tried', async () => {
  const { layer } = await image(hosts.central);
  await lose('central', layer);
  await BUCKETS.central.put('blobs/same', CONTENT);
  await DATABASES.central
    .prepare(
      `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)
       INSERT INTO orphans (key, size, first_seen, sha256)
         SELECT 'blobs/' || printf('%04d', i), 100, ?1, 'sha256:' || i FROM n`,
    )
    .bind(hosts.now)
    .run();
  await DATABASES.central
    .prepare("INSERT INTO orphans (key, size, first_seen) VALUES ('blobs/same', 100, ?1)")
    .bind(hosts.now)
    .run();
  errorLines();
  const context = contextOf(hosts);
  await noteDamage(context, context.central, [{ digest: layer, key: await keyAt('central', layer) }], 'missing');
  await repair(context, context.central, async () => undefined);
  expect(await locationAt('central', layer)).toEqual({ key: 'blobs/same', damage: null });
});

test('an orphan is found for a blob with a sha512 digest', async () => {
  const digest = await pushBlob(at(hosts.central), CONTENT, REPOSITORY, 'sha512');
  await lose('central', digest);
  await BUCKETS.central.put('blobs/same', CONTENT);
  hosts.now += DAY;
  errorLines();
  expect(await lookAfter(contextOf(hosts))).toEqual([digest]);
  expect(await read(hosts.central, digest)).toEqual(CONTENT);
});

test('a lost object that was put back is sound again', async () => {
  const { layer } = await image(hosts.central);
  const key = await keyAt('central', layer);
  await lose('central', layer);
  errorLines();
  expect(await lookAfter(contextOf(hosts))).toEqual([]);
  await BUCKETS.central.put(key, CONTENT);
  hosts.now += DAY / 24;
  expect(await lookAfter(contextOf(hosts))).toEqual([layer]);
  expect(await locationAt('central', layer)).toEqual({ key, damage: null });
});

test('a store whose copy has wrong bytes is marked as damaged, and the next store is asked', async () => {
  const { layer } = await image(hosts.central);
  for (const node of hosts.nodes) await read(node, layer);
  await hosts.drain();
  await spoil('node1', layer);
  await lose('central', layer);
  errorLines();
  const context = contextOf(hosts);
  expect(await lookAfter(context)).toContain(layer);
  expect(await locationAt('central', layer)).toMatchObject({ damage: null });
  expect(await read(hosts.central, layer)).toEqual(CONTENT);
  expect(await locationAt('node1', layer)).toMatchObject({ damage: null });
  expect(await read(hosts.node1, layer)).toEqual(CONTENT);
});

test('a manifest with sound blobs is accepted beside a damaged one', async () => {
  const { layer } = await image(hosts.central);
  await lose('central', layer);
  errorLines();
  await lookAfter(contextOf(hosts));
  await pushSmallImage(at(hosts.central), 40, ['sound']);
  expect(
    await hosts.central.registry.resolveManifest(granted(), { kind: 'tag', tag: 'sound' as Tag }, false),
  ).toBeDefined();
});

test('blobs that were repaired before a failure are reported all the same', async () => {
  const digests: Digest[] = [];
  for (const seed of [1, 2, 3]) {
    await pushBlob(at(hosts.central), bytesOf(seed, 100));
    digests.push(await pushBlob(at(hosts.node1), bytesOf(seed, 100)));
  }
  await DATABASES.node1.prepare("UPDATE locations SET damage = 'missing'").run();
  digests.sort();
  let pointed = 0;
  const failing = faulty(env, ({ store, kind }) =>
    // Central's first batch marks the locations, and each other one points a location at its new object.
    store === 'central' && kind === 'batch' && ++pointed > 2 ? 'before' : 'ok',
  );
  const context = contextOf(hosts, failing);
  const repaired = vi.fn(async () => {});
  await repair(context, context.nodes[0]!, repaired);
  expect(repaired.mock.calls).toEqual([['node1', digests[0]]]);
});
