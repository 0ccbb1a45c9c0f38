import { env } from 'cloudflare:workers';
import { describe, expect, test } from 'vitest';
import { DAY, MINUTE } from '../../src/durations.ts';
import { measureRepositories } from '../../src/maintenance/largest-repositories.ts';
import { goRound } from '../../src/maintenance/round.ts';
import type { OrganizationName } from '../../src/oci/reference.ts';
import { largestRepositories } from '../../src/stores/organizations/largest-repositories-rows.ts';
import { openStore } from '../../src/stores/store.ts';
import { openRun } from '../support/maintenance.ts';

const central = openStore('central', env.DB_CENTRAL, env.BLOBS_CENTRAL);
const START = 100 * DAY;

/**
 * Runs one round. It is cut off after each slice, and the clock goes on. Returns the number of slices.
 * @param between runs after each slice but the last
 */
async function round(day: number, between: (now: number) => Promise<unknown> = async () => 0): Promise<number> {
  let slices = 0;
  let ended = 0;
  for (;;) {
    const now = START + day * DAY + slices++ * 60_000;
    let left = 1;
    const run = openRun({ central, nodes: [], now: () => now }, { mayGoOn: () => left-- > 0 });
    await goRound(run, measureRepositories, central);
    const row = await env.DB_CENTRAL.prepare(
      "SELECT round_ended_at AS ended FROM maintenance_tasks WHERE task = 'repositories'",
    ).first<{ ended: number | null }>();
    ended = row?.ended ?? 0;
    if (ended >= START + day * DAY) return slices;
    await between(now);
  }
}

const digest = (i: number): string => `sha256:${i.toString(16).padStart(64, '0')}`;

/** Gives a repository blobs with the numbers from `first` to `last`; each has as many bytes as its number. */
async function link(repository: string, first: number, last: number, createdAt = 0): Promise<void> {
  const numbers = 'WITH RECURSIVE n (i) AS (SELECT ?1 UNION ALL SELECT i + 1 FROM n WHERE i < ?2)';
  const of = "'sha256:' || printf('%064x', i)";
  await env.DB_CENTRAL.batch(
    [
      `INSERT OR IGNORE INTO locations (digest, store, key, size, created_at, lease_until)
       ${numbers} SELECT ${of}, 'central', 'k' || i, i, 0, 0 FROM n`,
      `INSERT INTO links (repository, digest, created_at) ${numbers} SELECT '${repository}', ${of}, ${createdAt} FROM n`,
    ].map((statement) => env.DB_CENTRAL.prepare(statement).bind(first, last)),
  );
}

async function measured(organization: string): Promise<unknown> {
  return (await largestRepositories(central.database, organization as OrganizationName))?.measured;
}

test('a round adds up each repository, however many slices it takes', async () => {
  await env.DB_CENTRAL.batch(
    ['a', 'a-b'].map((name) =>
      env.DB_CENTRAL.prepare('INSERT INTO organizations (name, created_at) VALUES (?1, 0)').bind(name),
    ),
  );
  await link('a-b/z', 10, 10);
  await link('a/large', 1, 4500);
  await link('a/small', 10, 11);
  await link('a/unshared', 5000, 5000);
  // The blob no longer counts, because nothing names it.
  await env.DB_CENTRAL.prepare("UPDATE links SET counts = 0 WHERE repository = 'a/small' AND digest = ?1")
    .bind(digest(11))
    .run();
  expect(await round(0)).toBe(3);
  const all = (4500 * 4501) / 2;
  expect(await measured('a')).toEqual({
    organization: 'a',
    count: 3,
    bytes: all + 5000,
    largest: [
      { name: 'a/large', bytes: all, unshared: all - 10, share: all - 5 },
      { name: 'a/unshared', bytes: 5000, unshared: 5000, share: 5000 },
      { name: 'a/small', bytes: 10, unshared: 0, share: 5 },
    ],
  });
  expect(await measured('a-b')).toMatchObject({ count: 1, bytes: 10 });
  await env.DB_CENTRAL.prepare("DELETE FROM links WHERE repository = 'a-b/z'").run();
  await round(1);
  expect(await measured('a-b')).toBeUndefined();
  // The next owner of the name sees nothing of it.
  await env.DB_CENTRAL.prepare("UPDATE organizations SET created_at = ?1 WHERE name = 'a'")
    .bind(START + 2 * DAY)
    .run();
  expect(await measured('a')).toBeUndefined();
});

test('only the largest of many repositories are kept by name', async () => {
  await env.DB_CENTRAL.prepare("INSERT INTO organizations (name, created_at) VALUES ('a', 0)").run();
  for (let i = 1; i <= 60; i++) await link(`a/r${i}`, i, i);
  await round(0);
  const found = (await measured('a')) as { count: number; bytes: number; largest: { name: string }[] };
  expect([found.count, found.bytes, found.largest.length]).toEqual([60, 1830, 50]);
  expect([found.largest[0]?.name, found.largest.at(-1)?.name]).toEqual(['a/r60', 'a/r11']);
});

describe('the next owner of a name sees no repositories of the last one', () => {
  /** Removes the organization without sweeping its links, and creates it again a second later. */
  const handOver = (now: number): Promise<unknown> =>
    env.DB_CENTRAL.batch(
      [
        "INSERT INTO removals (name, version, dead_until, swept, position) VALUES ('a', 1, ?1, 0, '')",
        "INSERT OR REPLACE INTO organizations (name, created_at) VALUES ('a', ?1 + 1000)",
      ].map((statement) => env.DB_CENTRAL.prepare(statement).bind(now)),
    );

  test('if a round begins before the sweep ends', async () => {
    await link('a/old', 1, 10);
    await handOver(START - 10 * MINUTE);
    await round(0);
    expect(await measured('a')).toBeUndefined();
    await link('a/new', 20, 21, START);
    await round(1);
    expect(await measured('a')).toMatchObject({ count: 1, bytes: 41, largest: [{ name: 'a/new', bytes: 41 }] });
  });

  test('if the name changes hands during a round', async () => {
    await link('a/old', 1, 2500);
    let handed = false;
    const slices = await round(0, async (now) => {
      if (!handed) await handOver(now);
      handed = true;
    });
    expect(slices).toBe(2);
    expect(await measured('a')).toBeUndefined();
    await round(1);
    expect(await measured('a')).toBeUndefined();
  });
});
