/** Deletions are forgotten once every store has applied them, and nothing deleted comes back. */
import { beforeEach, expect, test } from 'vitest';
import type { RepositoryName, Tag } from '../../../src/oci/reference.ts';
import {
  collectAll,
  contextOf,
  leftovers,
  pull,
  pushImage,
  putManifest,
  rowsAt,
  stoppedAt,
} from '../../support/collecting.ts';
import { GRACE, granted, indexOf, REPOSITORY } from '../../support/fixture.ts';
import { type HostName, type Hosts, openHosts } from '../../support/hosts.ts';
import { collectTombstones } from '../../support/maintenance.ts';

let hosts: Hosts;

const forget = (): Promise<void> => collectTombstones(contextOf(hosts));
const tombstones = (host: HostName) => rowsAt(host, 'SELECT name FROM tags WHERE digest IS NULL');
const deletions = (host: HostName) => rowsAt(host, 'SELECT digest FROM manifests WHERE deleted_version > 0');
const byTag = (name: string) => ({ kind: 'tag', tag: name as Tag }) as const;

beforeEach(async () => {
  hosts = await openHosts();
});

test('a tag’s tombstone and history are removed after the grace time, once every node has applied it', async () => {
  await pushImage(hosts.central, 1, ['a']);
  await hosts.central.registry.deleteTag(REPOSITORY, 'a' as Tag);
  hosts.now += 2 * GRACE;
  await forget();
  expect(await tombstones('central')).toHaveLength(1);
  await hosts.drain();
  expect(await tombstones('node1')).toHaveLength(1);
  hosts.now += GRACE;
  await forget();
  for (const host of ['central', 'node1', 'node2'] as const) {
    expect(await tombstones(host)).toEqual([]);
    expect(await rowsAt(host, 'SELECT * FROM tag_history')).toEqual([]);
  }
});

test('a tombstone stays until the grace time is over', async () => {
  await hosts.drain();
  await pushImage(hosts.central, 1, ['a']);
  await hosts.central.registry.deleteTag(REPOSITORY, 'a' as Tag);
  await hosts.drain();
  hosts.now += GRACE - 1;
  await forget();
  expect(await tombstones('central')).toHaveLength(1);
  hosts.now += GRACE / 4 + 1;
  await forget();
  expect(await tombstones('central')).toEqual([]);
});

test('a tombstone stays while a node has an older outbox entry, whose push then changes nothing', async () => {
  const image = await pushImage(hosts.central, 1, []);
  await hosts.drain();
  await putManifest(hosts.node1, image, ['a']);
  hosts.now += 1000;
  await putManifest(hosts.central, image, ['a']);
  await hosts.central.registry.deleteTag(REPOSITORY, 'a' as Tag);
  // The paused queue applies and announces nothing.
  hosts.node1.state.setPaused(true);
  await hosts.drain();
  hosts.now += 2 * GRACE;
  await forget();
  expect(await tombstones('central')).toHaveLength(1);
  hosts.node1.state.setPaused(false);
  await hosts.drain();
  hosts.now += GRACE;
  await forget();
  expect(await tombstones('central')).toEqual([]);
  for (const { registry } of hosts.all) {
    await expect(registry.getManifest(granted(), byTag('a'))).rejects.toMatchObject({ kind: 'MANIFEST_UNKNOWN' });
  }
});

test('a node that does not answer stops the task, which reports it', async () => {
  await hosts.drain();
  hosts.node1.gate = async () => {
    throw new Error('D1_ERROR: Network connection lost.');
  };
  await expect(forget()).rejects.toThrow();
  expect(await stoppedAt('central', 'tombstones')).toMatch(/node1 does not answer/);
});

test('a manifest’s deletion is forgotten after the tags that it hides', async () => {
  const image = await pushImage(hosts.central, 1, ['a', 'b']);
  await hosts.drain();
  await hosts.central.registry.deleteManifest(REPOSITORY, image.digest);
  await hosts.drain();
  hosts.now += 2 * GRACE;
  await forget();
  // The hidden tags are tombstones now, and the nodes have yet to apply them.
  expect(await tombstones('central')).toHaveLength(2);
  expect(await deletions('central')).toHaveLength(1);
  for (let round = 0; round < 3; round++) {
    await hosts.drain();
    hosts.now += GRACE;
    await forget();
  }
  for (const host of ['central', 'node1', 'node2'] as const) {
    expect(await rowsAt(host, 'SELECT * FROM tags')).toEqual([]);
    expect(await rowsAt(host, 'SELECT * FROM manifests')).toEqual([]);
    expect(await rowsAt(host, 'SELECT * FROM manifest_contents')).toEqual([]);
  }
});

test('an older write of a hidden tag that a node still has does not show again', async () => {
  const older = await pushImage(hosts.node1, 1, ['a', 'keep']);
  await hosts.drain();
  hosts.now += 1000;
  const newer = await pushImage(hosts.central, 5, ['a']);
  await hosts.central.registry.deleteManifest(REPOSITORY, newer.digest);
  await hosts.drain();
  const isUnknown = async (): Promise<void> => {
    for (const { registry } of hosts.all) {
      await expect(registry.getManifest(granted(), byTag('a'))).rejects.toMatchObject({ kind: 'MANIFEST_UNKNOWN' });
    }
  };
  for (let round = 0; round < 6; round++) {
    await isUnknown();
    hosts.now += GRACE;
    await forget();
    await isUnknown();
    if (round % 2 === 1) await hosts.drain();
  }
  expect(await rowsAt('central', "SELECT * FROM tags WHERE name = 'a'")).toEqual([]);
  await pull(hosts.node1, older.digest);
});

test('the deletion of a manifest that was pushed again is forgotten, and its row stays', async () => {
  const image = await pushImage(hosts.central, 1, ['a']);
  await hosts.central.registry.deleteManifest(REPOSITORY, image.digest);
  hosts.now += 1000;
  await putManifest(hosts.central, image, ['b']);
  await hosts.drain();
  await pull(hosts.node1, 'b' as Tag);
  for (let round = 0; round < 4; round++) {
    hosts.now += GRACE;
    await forget();
    await hosts.drain();
    await expect(hosts.node1.registry.getManifest(granted(), byTag('a'))).rejects.toMatchObject({
      kind: 'MANIFEST_UNKNOWN',
    });
  }
  expect(await deletions('central')).toEqual([]);
  expect(await deletions('node1')).toEqual([]);
  await pull(hosts.node1, 'b' as Tag);
});

test('a deleted manifest loses its content after the grace time, and its versions alone revive nothing', async () => {
  const image = await pushImage(hosts.node1, 1, ['a']);
  await hosts.drain();
  await hosts.node1.registry.deleteManifest(REPOSITORY, image.digest);
  hosts.now += 1.5 * GRACE;
  // An older outbox entry keeps the tombstone, but the manifest's content is removed.
  await rowsAt(
    'node2',
    "INSERT INTO outbox (kind, repository, key, version, written_at) VALUES ('tag', 'alice/app', 'x', 1, ?1)",
    hosts.now,
  );
  await forget();
  expect(await rowsAt('central', 'SELECT media_type, created_version FROM manifests')).toEqual([
    { media_type: '', created_version: 0 },
  ]);
  expect(await rowsAt('central', 'SELECT * FROM manifest_references')).toEqual([]);
  await putManifest(hosts.node1, image, ['a']);
  await hosts.drain();
  await pull(hosts.central, 'a' as Tag);
});

test('nothing is left when everything was deleted and every waiting time is over', async () => {
  const other = 'alice/other' as RepositoryName;
  const first = await pushImage(hosts.node1, 1, ['a', 'b']);
  const second = await pushImage(hosts.node2, 3, ['a'], other);
  await putManifest(hosts.node1, await indexOf([first.digest]), ['index']);
  await hosts.drain();
  await pushImage(hosts.central, 5, ['a', 'c']);
  for (const host of hosts.nodes) await pull(host, 'a' as Tag);
  await hosts.drain();
  await putManifest(hosts.node2, second, ['d'], other);
  await hosts.drain();
  await hosts.node1.registry.deleteTag(REPOSITORY, 'b' as Tag);
  await hosts.node2.registry.deleteRepository(REPOSITORY);
  await hosts.central.registry.deleteRepository(other);
  for (let round = 0; round < 8; round++) {
    await hosts.drain();
    hosts.now += GRACE;
    await collectAll(hosts);
  }
  expect(await leftovers()).toEqual([]);
});

/** Wraps databases so that each reading of all outbox entries is recorded. */
function countingOutboxEntryReads(reads: HostName[]) {
  return (database: D1Database, name: HostName): D1Database =>
    new Proxy(database, {
      get(target, property) {
        if (property !== 'prepare') return (Reflect.get(target, property) as () => unknown).bind(target);
        return (query: string) => {
          if (query.includes('min(written_at)')) reads.push(name);
          return target.prepare(query);
        };
      },
    });
}

test('a run reads all outbox entries once, however many deletions it forgets', async () => {
  const reads: HostName[] = [];
  hosts = await openHosts({ reach: countingOutboxEntryReads(reads) });
  await hosts.drain();
  for (const host of ['central', 'node1'] as const) {
    await rowsAt(
      host,
      `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 450)
       INSERT INTO tags (repository, name, digest, version, origin, visible) SELECT ?1, 't' || i, NULL, i, 'central', 0
         FROM n`,
      REPOSITORY,
    );
  }
  await forget();
  expect(await rowsAt('central', "SELECT slices FROM maintenance_tasks WHERE task = 'tombstones'")).toEqual([
    { slices: 5 },
  ]);
  for (const host of ['central', 'node1'] as const) expect(await tombstones(host)).toEqual([]);
  expect(reads.toSorted()).toEqual(['node1', 'node2']);
});

test('a run that is held up reads the outbox entries again after an eighth of the grace time', async () => {
  const reads: HostName[] = [];
  hosts = await openHosts({ reach: countingOutboxEntryReads(reads) });
  await hosts.drain();
  // The first and second slices of central.
  let slices = 0;
  const pause = async (): Promise<void> => void (hosts.now += GRACE / 8);
  await collectTombstones(contextOf(hosts, { mayGoOn: () => slices++ < 2, pause }));
  expect(reads.toSorted()).toEqual(['node1', 'node1', 'node2', 'node2']);
});
