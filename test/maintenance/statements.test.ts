/** A run of maintenance uses at most 900 statements, however much there is to do, and the next runs do the rest. */
import { env } from 'cloudflare:workers';
import { afterEach, expect, test, vi } from 'vitest';
import { type Config, parseConfig } from '../../src/config.ts';
import { MINUTE } from '../../src/durations.ts';
import { maintain, scrubStores } from '../../src/maintenance/schedule.ts';
import { MOST_STATEMENTS } from '../../src/maintenance/tasks.ts';
import { DATABASES, errorLines } from '../support/objects.ts';
import { countStatements, type StatementCount } from '../support/statements.ts';

const NOW = Date.UTC(2026, 0, 2);

afterEach(() => void vi.restoreAllMocks());

const count: StatementCount = { statements: 0 };
const counted = countStatements(env, count);

type Work = (config: Config, env: object, now: number) => Promise<{ readonly statements: number }>;

/** Runs maintenance without its pauses, and returns the statements that D1 was asked to run. */
async function run(config: Config, now: number, work: Work = maintain): Promise<number> {
  count.statements = 0;
  vi.spyOn(scheduler, 'wait').mockResolvedValue(undefined);
  const { statements } = await work(config, counted, now);
  expect(statements).toBe(count.statements);
  expect(count.statements).toBeLessThanOrEqual(MOST_STATEMENTS);
  return count.statements;
}

const NUMBERS = 'WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)';

const WORK: readonly (readonly [what: string, rows: number, insert: string, left: string])[] = [
  [
    'expired uploads with chunks',
    40,
    `INSERT INTO uploads (hour, repository, id, state, size, write_id, expires_at)
      {n} SELECT 0, 'alice/app', 'u' || i, 'open', 1, '', i FROM n`,
    'SELECT count(*) AS left FROM uploads',
  ],
  [
    'their chunks',
    40,
    "INSERT INTO upload_chunks (upload, start, size, key) {n} SELECT 'u' || i, 0, 1, 'blobs/u' || i FROM n",
    'SELECT 0 AS left',
  ],
  [
    'removals to sweep',
    40,
    "INSERT INTO removals {n} SELECT 'alice/r' || i, 1, 1, 0, '' FROM n",
    'SELECT count(*) AS left FROM removals WHERE swept = 0',
  ],
  [
    'histories to look through',
    1000,
    "INSERT INTO tag_history {n} SELECT 'alice/app', 't' || i, i, 'central', NULL, 0, '' FROM n",
    'SELECT count(*) AS left FROM tag_history',
  ],
  [
    'objects to delete',
    5000,
    "INSERT INTO delete_queue {n} SELECT 1, 'blobs/d' || i, 1 FROM n",
    'SELECT count(*) AS left FROM delete_queue',
  ],
  [
    'links to collect',
    5000,
    "INSERT INTO links (repository, digest, created_at) {n} SELECT 'alice/app', 'sha256:' || i, 0 FROM n",
    'SELECT count(*) AS left FROM links',
  ],
];

test('all stores together stay within the limit, with much to do at central and a node', async () => {
  for (const name of ['central', 'node1'] as const) {
    for (const [, rows, insert] of WORK) await DATABASES[name].prepare(insert.replace('{n}', NUMBERS)).bind(rows).run();
  }
  const config = parseConfig(env);
  const left = async (): Promise<string[]> => {
    const found: string[] = [];
    for (const name of ['central', 'node1'] as const) {
      for (const [what, , , query] of WORK) {
        if ((await DATABASES[name].prepare(query).first<number>('left')) !== 0) found.push(`${name}: ${what}`);
      }
    }
    return found;
  };
  const used: number[] = [];
  while ((await left()).length > 0) {
    if (used.length === 30) throw new Error(`after 30 runs there is left: ${(await left()).join(', ')}`);
    used.push(await run(config, NOW + used.length * MINUTE));
  }
  // The first runs have more to do than they may.
  expect(used.length).toBeGreaterThan(3);
  expect(Math.max(...used)).toBeGreaterThan(MOST_STATEMENTS / 2);
}, 60_000);

test('a pass that always has work leaves the others their share', async () => {
  const config = parseConfig(env);
  const removals = "INSERT INTO removals {n} SELECT 'alice/r' || i, 1, 1, 0, '' FROM n".replace('{n}', NUMBERS);
  for (const database of Object.values(DATABASES)) await database.prepare(removals).bind(500).run();
  await run(config, NOW);
  for (const database of Object.values(DATABASES)) {
    const { results } = await database
      .prepare('SELECT task FROM maintenance_tasks ORDER BY task')
      .all<{ task: string }>();
    const tasks = results.map(({ task }) => task);
    expect(tasks).toEqual(expect.arrayContaining(['collect', 'comparison', 'histories', 'sweep', 'tombstones']));
  }
});

test('a run with nothing to do uses some 18 statements for each store', async () => {
  const config = parseConfig(env);
  // The first run begins the rounds of a day.
  for (let minute = 0; minute < 3; minute++) await run(config, NOW + minute * MINUTE);
  expect(await run(config, NOW + 3 * MINUTE)).toBeLessThanOrEqual(18 * 3 + 5);
});

test('with a hundred nodes, all are looked after in turn', async () => {
  const config = parseConfig(env);
  const names = Array.from({ length: 100 }, (_, i) => `node${i + 1}`);
  const seen = new Map<string, number>();
  const bindings: Record<string, unknown> = { ...env };
  for (const name of names) {
    // They share the two databases of the tests. The counts are the same.
    const suffix = name.toUpperCase();
    bindings[`DB_${suffix}`] = env.DB_NODE1!;
    bindings[`BLOBS_${suffix}`] = env.BLOBS_NODE1!;
  }
  const many = { ...config, stores: [config.central.store, ...names] } as Config;
  vi.spyOn(scheduler, 'wait').mockResolvedValue(undefined);
  for (let minute = 0; minute < 7; minute++) {
    const watched = Object.fromEntries(
      Object.entries(bindings).map(([name, binding]) => {
        if (!name.startsWith('DB_')) return [name, binding];
        const tally: StatementCount = {
          get statements() {
            return seen.get(name) ?? 0;
          },
          set statements(value) {
            seen.set(name, value);
          },
        };
        return [name, countStatements({ [name]: binding }, tally)[name]];
      }),
    );
    const { statements } = await maintain(many, watched, NOW + minute * MINUTE);
    expect(statements).toBeLessThanOrEqual(MOST_STATEMENTS);
  }
  for (const name of names) expect(seen.get(`DB_${name.toUpperCase()}`) ?? 0).toBeGreaterThan(8);
}, 60_000);

test('the scrub of an hour is counted too', async () => {
  expect(await run(parseConfig(env), NOW, scrubStores)).toBeGreaterThan(0);
});

test('many expired uploads leave the tasks beside them their share, and no slice is cut off', async () => {
  const config = parseConfig(env);
  const old = `INSERT INTO audit (at, action, organization, repository, key, subject, name, host)
    VALUES (1, '', '', '', '', '', '', '')`;
  for (const database of Object.values(DATABASES)) {
    for (const [, rows, insert] of WORK.slice(0, 2))
      await database.prepare(insert.replace('{n}', NUMBERS)).bind(rows).run();
    await database.prepare(old).run();
  }
  const lines = errorLines();
  await run(config, NOW);
  for (const database of Object.values(DATABASES))
    expect(await database.prepare('SELECT count(*) AS left FROM audit WHERE at = 1').first<number>('left')).toBe(0);
  expect(lines).toEqual([]);
});
