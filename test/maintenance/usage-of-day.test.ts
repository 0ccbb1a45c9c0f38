import { env } from 'cloudflare:workers';
import { expect, test } from 'vitest';
import { DAY } from '../../src/durations.ts';
import { goRound } from '../../src/maintenance/round.ts';
import { usageOfDay } from '../../src/maintenance/usage-of-day.ts';
import { openStore } from '../../src/stores/store.ts';
import { openRun } from '../support/maintenance.ts';

const central = openStore('central', env.DB_CENTRAL, env.BLOBS_CENTRAL);

/** Runs one round. It is cut off after each slice, and the clock goes on. */
async function round(day: number): Promise<number> {
  let slices = 0;
  let end: { round_ended_at: number | null } | null = null;
  do {
    const now = day * DAY + slices++ * 60_000;
    let left = 1;
    await goRound(openRun({ central, nodes: [], now: () => now }, { mayGoOn: () => left-- > 0 }), usageOfDay, central);
    end = await env.DB_CENTRAL.prepare("SELECT round_ended_at FROM maintenance_tasks WHERE task = 'usage'").first();
  } while ((end?.round_ended_at ?? 0) < day * DAY);
  return slices;
}

const insert = (into: string, rows: number): Promise<unknown> =>
  env.DB_CENTRAL.prepare(
    `WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < ?1 - 1) INSERT INTO ${into} FROM n`,
  )
    .bind(rows)
    .run();

async function rowsByDay(): Promise<Record<string, number>> {
  const { results } = await env.DB_CENTRAL.prepare(
    'SELECT day, count(*) AS rows FROM usage_by_day GROUP BY day ORDER BY day',
  ).all<{ day: number; rows: number }>();
  return Object.fromEntries(results.map(({ day, rows }) => [day, rows]));
}

test('each round notes every organization in slices, and removes everything that is 90 days old', async () => {
  await insert("organizations (name, created_at) SELECT printf('org%05d', i), 0", 2500);
  await insert("usage_by_day (day, organization, noted_at, used) SELECT 10, printf('gone%05d', i), 0, 1", 4200);
  await insert("usage_by_day (day, organization, noted_at, used) SELECT 11, printf('org%05d', i), 0, 1", 3);
  await env.DB_CENTRAL.prepare("UPDATE organizations SET removed_at = 1 WHERE name = 'org00007'").run();
  // Three slices record the usage, and two more remove the old records.
  expect(await round(100)).toBe(5);
  expect(await rowsByDay()).toEqual({ 11: 3, 100: 2499 });
});
