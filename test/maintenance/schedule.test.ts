/** A whole run of maintenance, as the cron trigger starts it. */
import { expect, test, vi } from 'vitest';
import { parseConfig } from '../../src/config.ts';
import { env } from 'cloudflare:workers';
import { MINUTE } from '../../src/durations.ts';
import { maintain, scrubStores } from '../../src/maintenance/schedule.ts';
import { digestOf } from '../../src/oci/digest.ts';
import { SESSION_MILLISECONDS } from '../../src/stores/uploads/upload-reference.ts';
import { HOUR, objectsAt, pushBlob, pushImage, stoppedAt } from '../support/collecting.ts';
import { faulty } from '../support/faults.ts';
import {
  bodyOf,
  bytesOf,
  GRACE,
  granted,
  objectKeys,
  openFixture,
  pushBlob as pushTo,
  REPOSITORY,
  rowsOf,
  session,
  SUBJECT,
} from '../support/fixture.ts';
import { openHosts } from '../support/hosts.ts';
import { DATABASES } from '../support/objects.ts';

test('expired sessions are removed with their objects; blobs and younger sessions stay', async () => {
  const fixture = await openFixture({ now: Date.UTC(2026, 0, 1) });
  const upload = async (seed: number) => {
    const open = await fixture.registry.openUpload(REPOSITORY, SUBJECT, 'sha256');
    return fixture.registry.appendChunk(session(open), undefined, bodyOf(bytesOf(seed, 100)));
  };
  await upload(1);
  const finished = await upload(2);
  const digest = await digestOf('sha256', bytesOf(2, 100));
  await fixture.registry.finishUpload(session(finished), digest, undefined, undefined);
  const cancelled = await upload(3);
  await fixture.registry.cancelUpload(session(cancelled));
  await fixture.settled();
  fixture.now += 3_600_000;
  const younger = await upload(4);
  expect(await objectKeys()).toHaveLength(3);

  const config = parseConfig(env);
  const run = (now: number) => maintain(config, env, now);
  const end = fixture.now - 3_600_000 + SESSION_MILLISECONDS;
  // The rows of the two ended sessions are removed first.
  expect(await run(end - HOUR / 2)).toMatchObject({ expiredUploads: 2, changeLogEntries: 0 });
  // Without collection, only sessions without objects are removed.
  expect(await maintain({ ...config, collects: false }, env, end + HOUR)).toMatchObject({ expiredUploads: 0 });
  expect(await objectKeys()).toHaveLength(3);
  expect(await run(end + HOUR + MINUTE)).toMatchObject({ expiredUploads: 1, changeLogEntries: 0 });
  expect(await objectKeys()).toHaveLength(2);
  expect(await rowsOf('SELECT state FROM uploads')).toEqual([{ state: 'open' }]);
  expect((await fixture.registry.getBlob(granted(), digest)).size).toBe(100);
  expect((await fixture.registry.uploadProgress(session(younger))).size).toBe(100);

  fixture.now += SESSION_MILLISECONDS;
  await expect(fixture.registry.uploadProgress(session(younger))).rejects.toMatchObject({ kind: 'UPLOAD_UNKNOWN' });
});

test('sessions with objects that stay do not delay those without objects, however many there are', async () => {
  const now = Date.UTC(2026, 0, 2);
  const numbers = 'WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)';
  const insert = (state: string, count: number, id: string, key = 'NULL') =>
    env.DB_CENTRAL.prepare(
      `INSERT INTO uploads (hour, repository, id, state, size, write_id, expires_at, key)
        ${numbers} SELECT 0, 'alice/app', ${id}, '${state}', 0, '', i, ${key} FROM n`,
    ).bind(count);
  await env.DB_CENTRAL.batch([
    insert('open', 10_001, "printf('%05d', i)", "'chunks/' || i"),
    // These come at the end of the first page and after it.
    insert('finished', 3, "printf('%05df', 9998 + i)"),
  ]);
  const config = { ...parseConfig(env), collects: false };
  let expiredUploads = 0;
  for (let run = 0; run < 2; run++) {
    expiredUploads += (await maintain(config, env, now + run * MINUTE)).expiredUploads;
  }
  expect(expiredUploads).toBe(3);
  expect(await rowsOf('SELECT count(*) AS left FROM uploads')).toEqual([{ left: 10_001 }]);
  // The third run starts again, and finds a session that has expired since.
  await insert('cancelled', 1, "'00000'").run();
  expect((await maintain(config, env, now + 2 * MINUTE)).expiredUploads).toBe(1);
}, 60_000);

test('a damaged blob of a node is repaired, and its queue tries again to copy it up', async () => {
  const fixture = await openFixture({ now: Date.now() });
  const content = bytesOf(1, 100);
  const digest = await pushTo(fixture, content);
  await env
    .DB_NODE1!.prepare(
      `INSERT INTO locations (digest, store, key, size, created_at, lease_until, damage)
       VALUES (?1, 'node1', 'blobs/lost', 100, 0, ?2, 'missing')`,
    )
    .bind(digest, fixture.now + GRACE)
    .run();
  const retry = vi.fn(async () => 1);
  const get = vi.spyOn(env.REPLICATION_QUEUE, 'get');
  get.mockReturnValue({ retry } as unknown as ReturnType<typeof env.REPLICATION_QUEUE.get>);
  await maintain(parseConfig(env), env, fixture.now);
  get.mockRestore();
  expect(retry.mock.calls).toEqual([['node1', `copy up ${digest}`]]);
  const [key] = await objectKeys(env.BLOBS_NODE1);
  const location = env.DB_NODE1!.prepare('SELECT key, damage FROM locations');
  expect((await location.all()).results).toEqual([{ key, damage: null }]);
});

test('finishing a session while it is being removed fails, and leaves no blob without bytes', async () => {
  const fixture = await openFixture({ now: Date.UTC(2026, 0, 1) });
  const open = await fixture.registry.openUpload(REPOSITORY, SUBJECT, 'sha256');
  const progress = await fixture.registry.appendChunk(session(open), undefined, bodyOf(bytesOf(1, 100)));
  const config = parseConfig(env);
  // The digest's algorithm differs from the hashed one, so the bytes are read back. Meanwhile the session expires.
  const digest = await digestOf('sha512', bytesOf(1, 100));
  const slow: R2Bucket = new Proxy(env.BLOBS_CENTRAL, {
    get: (bucket, name) =>
      name === 'get'
        ? async (key: string) => {
            const object = await bucket.get(key);
            const later = Date.UTC(2026, 0, 3);
            await maintain(config, env, later);
            return object;
          }
        : (Reflect.get(bucket, name) as () => unknown).bind(bucket),
  });
  const finishing = await fixture.fresh({ bucket: slow });
  await expect(finishing.registry.finishUpload(session(progress), digest, undefined, undefined)).rejects.toMatchObject({
    kind: expect.stringMatching(/UPLOAD_UNKNOWN|CHUNK_OUT_OF_ORDER/) as string,
  });
  expect(await rowsOf('SELECT digest FROM locations')).toEqual([]);
});

test('a run collects at every store and evicts by the configured limits, unless told not to collect', async () => {
  const hosts = await openHosts();
  await pushBlob(hosts.central, 1);
  await pushBlob(hosts.node2, 2);
  await pushImage(hosts.node1, 10, ['a']);
  await hosts.drain();
  const limits = { bytes: 100, idleMilliseconds: undefined };
  const config = { ...parseConfig(env), evictionLimits: new Map([['node1', limits]]) };
  hosts.now += 3 * GRACE;
  await maintain({ ...config, collects: false }, env, hosts.now);
  const objects = (): Promise<number[]> =>
    Promise.all((['central', 'node1', 'node2'] as const).map(async (host) => (await objectsAt(host)).length));
  expect(await objects()).toEqual([3, 2, 1]);
  await maintain(config, env, hosts.now);
  await maintain(config, env, hosts.now + 2 * HOUR);
  expect(await objects()).toEqual([2, 0, 0]);
});

test('an eviction that fails delays nothing else', async () => {
  const hosts = await openHosts();
  await pushBlob(hosts.node1, 1);
  hosts.now += 3 * GRACE;
  await env
    .DB_NODE1!.prepare(
      `INSERT INTO maintenance_tasks (task, position, round_started_at, last_slice_at, next_at, slices)
       VALUES ('evict', 'no position', 0, 0, 0, 1)`,
    )
    .run();
  const config = {
    ...parseConfig(env),
    evictionLimits: new Map([['node1', { bytes: 10, idleMilliseconds: undefined }]]),
  };
  const log = vi.spyOn(console, 'error').mockImplementation(() => undefined);
  await maintain(config, env, hosts.now);
  expect(log.mock.calls.flat().join()).toMatch(/maintenance.*no position/);
  log.mockRestore();
  expect(await env.DB_NODE1!.prepare('SELECT count(*) AS count FROM locations').first('count')).toBe(0);
});

test('a node that is away stops the tasks that need all nodes, and each store reports it', async () => {
  const hosts = await openHosts();
  await pushBlob(hosts.node2, 2);
  hosts.now += 3 * GRACE;
  const away = faulty(env, ({ store }) => (store === 'node1' ? 'before' : 'ok'));
  await maintain(parseConfig(away), away, hosts.now);
  expect(await stoppedAt('central')).toMatch(/node1 does not answer/);
  expect(await stoppedAt('node2')).toMatch(/node1 does not answer/);
  expect(await objectsAt('node2')).toHaveLength(1);
});

/** Returns the tasks that have run at a store, in alphabetical order. */
async function tasksRunAt(store: 'central' | 'node1' | 'node2'): Promise<string[]> {
  const rows = DATABASES[store].prepare('SELECT task FROM maintenance_tasks ORDER BY task');
  return (await rows.all<{ task: string }>()).results.map(({ task }) => task);
}

test.each(['central', 'node1'] as const)(
  'a store whose database fails every call stops no task of another store: %s',
  async (failing) => {
    const now = Date.UTC(2026, 0, 2);
    const others = (['central', 'node1', 'node2'] as const).filter((store) => store !== failing);
    // Gives work to the tasks that would otherwise leave no row.
    for (const store of others) {
      await DATABASES[store].batch([
        DATABASES[store].prepare(
          "INSERT INTO uploads (hour, repository, id, state, size, write_id, expires_at) VALUES (0, 'alice/app', 'u', 'finished', 0, '', 1)",
        ),
        DATABASES[store].prepare(
          `INSERT INTO audit (at, action, organization, repository, key, subject, name, host)
           VALUES (0, '', '', '', '', '', '', '')`,
        ),
        DATABASES[store].prepare("INSERT INTO removals VALUES ('alice/gone', 1, 1, 0, '')"),
        DATABASES[store].prepare("INSERT INTO delete_queue VALUES (1, 'blobs/gone', 1)"),
        DATABASES[store]
          .prepare(
            `INSERT INTO locations (digest, store, key, size, created_at, lease_until, damage)
             VALUES ('sha256:lost', ?1, 'blobs/lost', 1, 0, 0, 'missing')`,
          )
          .bind(store),
      ]);
    }
    const broken = faulty(env, ({ store, kind }) =>
      store === failing && (kind === 'query' || kind === 'batch') ? 'before' : 'ok',
    );
    const limits = { bytes: 100, idleMilliseconds: undefined };
    const config = { ...parseConfig(broken), evictionLimits: new Map(others.map((store) => [store, limits])) };
    await maintain(config, broken, now);
    await scrubStores(config, broken, now);
    for (const store of others) {
      expect(await tasksRunAt(store)).toEqual(
        [
          'audit',
          'collect',
          'comparison',
          'delete_queue',
          ...(store === 'central' ? [] : ['evict']),
          'histories',
          ...(store === 'central' ? ['largest'] : []),
          'repair',
          'scrub',
          'sweep',
          'tombstones',
          'uploads',
          ...(store === 'central' ? ['documents', 'mirrors', 'repositories', 'usage', 'wanted'] : []),
        ].toSorted(),
      );
    }
  },
);

/** Returns the stores whose comparison has begun a slice and not ended it: it is due again in minutes, not in a day. */
async function inSlice(now: number): Promise<string[]> {
  const due = "SELECT 1 FROM maintenance_tasks WHERE task = 'comparison' AND next_at < ?1";
  const found = await Promise.all(
    Object.entries(DATABASES).map(async ([store, database]) => {
      const row = await database
        .prepare(due)
        .bind(now + HOUR)
        .first();
      return row === null ? [] : [store];
    }),
  );
  return found.flat();
}

test('stores are compared one at a time, a different one first each minute, and a failure delays no other', async () => {
  const firsts = new Set<string>();
  for (let minute = 0; minute < 3; minute++) {
    const now = Date.UTC(2026, 0, 2) + minute * 60_000;
    const order: string[] = [];
    const listed = async (store: string): Promise<void> => {
      // A slice lists the bucket more than once.
      if (order.at(-1) !== store) order.push(store);
      // The slice that failed is never recorded as ended.
      expect(await inSlice(now)).toEqual(order.filter((other) => other === store || other === 'node1').toSorted());
      if (store === 'node1') throw new Error('internal error: please try again (10001)');
    };
    const watched = faulty(env, ({ store, kind }) => (kind === 'list' ? { until: listed(store) } : 'ok'));
    await maintain(parseConfig(watched), watched, now);
    expect(order.toSorted()).toEqual(['central', 'node1', 'node2']);
    firsts.add(order[0] ?? '');
    for (const database of Object.values(DATABASES)) await database.prepare('DELETE FROM maintenance_tasks').run();
  }
  expect([...firsts].toSorted()).toEqual(['central', 'node1', 'node2']);
});
