/** Maintenance trims the histories of tags, in slices. */
import { env } from 'cloudflare:workers';
import { expect, test } from 'vitest';
import { parseConfig } from '../../src/config.ts';
import { maintain } from '../../src/maintenance/schedule.ts';
import { openStore } from '../../src/stores/store.ts';
import { countD1, noCounts } from '../support/counting.ts';
import { DATABASES } from '../support/objects.ts';
import { openRun, removeOldHistories } from '../support/maintenance.ts';

const DAY = 86_400_000;
const NOW = Date.UTC(2026, 0, 2);

/**
 * Adds history entries with versions from 1. All were replaced now, or, if aging, the last one now and each earlier one
 * a day before the next.
 */
async function addEntries(database: D1Database, tag: string, count: number, isAging = false, repository = 'alice/app') {
  await database
    .prepare(
      `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?3)
       INSERT INTO tag_history SELECT ?1, ?2, i, 'central', 'sha256:' || i, ?4 - ?5 * (?3 - i), '' FROM n`,
    )
    .bind(repository, tag, count, NOW, isAging ? DAY : 0)
    .run();
}

async function versionsOf(database: D1Database, tag: string): Promise<number[]> {
  const query = database.prepare('SELECT version FROM tag_history WHERE name = ?1 ORDER BY version').bind(tag);
  return (await query.all<{ version: number }>()).results.map(({ version }) => version);
}

test('every store keeps a limited number of entries of each tag, and none that is too old', async () => {
  for (const database of Object.values(DATABASES)) {
    await addEntries(database, 'many', 8);
    await addEntries(database, 'old', 5, true);
    await addEntries(database, 'few', 2);
    // Two stores that had not heard of each other gave equal versions. Neither takes precedence.
    await database
      .prepare("INSERT INTO tag_history VALUES ('alice/app', 'many', 5, 'node1', NULL, ?1, '')")
      .bind(NOW)
      .run();
  }
  const config = parseConfig({
    ...env,
    REGISTRY: { ...env.REGISTRY, history_entries: 4, history_days: 2.5, collect: false },
  });
  await maintain(config, env, NOW);
  for (const database of Object.values(DATABASES)) {
    expect(await versionsOf(database, 'many')).toEqual([5, 5, 6, 7, 8].slice(-5));
    expect(await versionsOf(database, 'old')).toEqual([3, 4, 5]);
    expect(await versionsOf(database, 'few')).toEqual([1, 2]);
  }
});

test('an organization with very many tags keeps fewer entries of each, and others keep all', async () => {
  for (const [repository, tag] of [
    ['alice/app', 'many'],
    ['alice/web', 'more'],
    ['bob/app', 'other'],
  ] as const) {
    await addEntries(env.DB_CENTRAL, tag, 8, false, repository);
  }
  await env.DB_CENTRAL.prepare("INSERT INTO usage (organization, tag_rows) VALUES ('alice', 500000), ('bob', 2)").run();
  await maintain(parseConfig({ ...env, REGISTRY: { ...env.REGISTRY, collect: false } }), env, NOW);
  for (const tag of ['many', 'more']) expect(await versionsOf(env.DB_CENTRAL, tag)).toEqual([5, 6, 7, 8]);
  expect(await versionsOf(env.DB_CENTRAL, 'other')).toHaveLength(8);
});

test('a slice looks at tags of many organizations, each of which has its own share', async () => {
  await env.DB_CENTRAL.prepare(
    `WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 359)
     INSERT INTO tag_history SELECT 'o' || (i / 6) || '/app', 'o' || (i / 6), i % 6 + 1, 'central', NULL, ?1, '' FROM n`,
  )
    .bind(NOW)
    .run();
  await env.DB_CENTRAL.prepare("INSERT INTO usage (organization, tag_rows) VALUES ('o7', 1000000), ('o8', 2)").run();
  let pauses = 0;
  const store = openStore('central', env.DB_CENTRAL, env.BLOBS_CENTRAL);
  const { limits } = parseConfig({ ...env, REGISTRY: { ...env.REGISTRY, history_entries: 4 } });
  const pause = async (): Promise<void> => void pauses++;
  const changes = { limits, historyMilliseconds: NOW, pause };
  await removeOldHistories(openRun({ central: store, nodes: [], now: () => NOW }, changes), store);
  expect(pauses).toBe(1);
  expect(await versionsOf(env.DB_CENTRAL, 'o7')).toEqual([5, 6]);
  for (const name of ['o0', 'o8', 'o59']) expect(await versionsOf(env.DB_CENTRAL, name)).toEqual([3, 4, 5, 6]);
});

test('a slice reads and removes a bounded number of rows, however long the histories are', async () => {
  const [long, tags, slices] = [5000, 120, 20];
  await addEntries(env.DB_CENTRAL, 'long', long);
  for (let i = 0; i < tags; i++) await addEntries(env.DB_CENTRAL, `tag${i}`, 3, false, 'alice/other');
  const counts = noCounts();
  const store = openStore('central', countD1(env.DB_CENTRAL, counts), env.BLOBS_CENTRAL);
  const read: number[] = [];
  const written: number[] = [];
  const pause = async (): Promise<void> => {
    read.push(counts.rowsRead);
    written.push(counts.rowsWritten);
    counts.rowsRead = 0;
    counts.rowsWritten = 0;
  };
  const config = parseConfig({ ...env, REGISTRY: { ...env.REGISTRY, history_entries: 10 } });
  const context = openRun(
    { central: store, nodes: [], now: () => NOW },
    { limits: config.limits, historyMilliseconds: NOW, mayGoOn: () => read.length < slices, pause },
  );
  await removeOldHistories(context, store);
  expect(await versionsOf(env.DB_CENTRAL, 'long')).toEqual(Array.from({ length: 10 }, (_, i) => long - 9 + i));
  expect(await versionsOf(env.DB_CENTRAL, 'tag7')).toEqual([1, 2, 3]);
  // The 4,990 entries take five slices, and the 121 tags two more.
  expect(read.length).toBeLessThan(8);
  expect(Math.max(...written)).toBeLessThan(1100);
  expect(Math.max(...read)).toBeLessThan(6100);
});
