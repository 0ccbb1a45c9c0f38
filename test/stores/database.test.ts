/** Batches: rows by name, typed by their statements, which run in the order in which they are written. */
import { env } from 'cloudflare:workers';
import { afterAll, afterEach, beforeEach, describe, expect, expectTypeOf, test, vi } from 'vitest';
import { type BoundStatement, Database, sqlOfWholeTable, wholeTableStatements } from '../../src/stores/database.ts';
import { OutOfStatements, StatementMeter } from '../../src/stores/statement-meter.ts';

const ADD = sqlOfWholeTable`INSERT INTO pins (repository, reference, created_at) VALUES (?1, ?2, 0)`;
const COUNT = sqlOfWholeTable<{ pins: number }>`SELECT count(*) AS pins FROM pins`;
const LIST = sqlOfWholeTable<{ reference: string }>`SELECT reference FROM pins ORDER BY reference`;

// Files share an isolate, and other tests check every statement that is declared in it.
afterAll(() => {
  const declared = wholeTableStatements as unknown[];
  for (const statement of [ADD, COUNT, LIST]) declared.splice(declared.indexOf(statement), 1);
});

const database = new Database(env.DB_NODE1!);
const add = (reference: string): BoundStatement => [ADD, 'alice/app', reference];

/** Returns a D1 that notes the parameters of each statement in a batch. */
function noting(ran: unknown[][]): Database {
  const statement = (values: unknown[]) => ({ bind: (...bound: unknown[]) => statement(bound), values });
  return new Database({
    prepare: () => statement([]),
    batch: async (statements: { values: unknown[] }[]) => {
      ran.push(...statements.map(({ values }) => values));
      return statements.map(({ values }) => ({ results: [{ pins: values[0] }] }));
    },
  } as unknown as D1Database);
}

describe('a batch by name', () => {
  test('returns the rows of each statement under its name', async () => {
    const { before, after, list } = await database.batch({
      before: [COUNT],
      add: add('v1'),
      after: [COUNT],
      list: [LIST],
    });
    expect({ before, after, list }).toEqual({
      before: [{ pins: 0 }],
      after: [{ pins: 1 }],
      list: [{ reference: 'v1' }],
    });
    expectTypeOf(after).toEqualTypeOf<{ pins: number }[]>();
    expectTypeOf(list).toEqualTypeOf<{ reference: string }[]>();
  });

  test('returns the rows of a list of statements as one list, in order', async () => {
    const { counts, none } = await database.batch({ counts: [[COUNT], [COUNT]], none: [] as BoundStatement<object>[] });
    expect({ counts, none }).toEqual({ counts: [{ pins: 0 }, { pins: 0 }], none: [] });
    expectTypeOf(counts).toEqualTypeOf<{ pins: number }[]>();
  });

  test('returns a nested batch by its own names', async () => {
    const repositories = { 'alice/app': 'v1', 'alice/base': 'v2' };
    const byRepository = await database.batch(
      Object.fromEntries(
        Object.entries(repositories).map(([name, tag]) => [name, { add: add(tag), count: [COUNT] as const }] as const),
      ),
    );
    expect(byRepository).toMatchObject({
      'alice/app': { count: [{ pins: 1 }] },
      'alice/base': { count: [{ pins: 2 }] },
    });
    expectTypeOf(byRepository).toEqualTypeOf<Record<string, { readonly count: { pins: number }[] }>>();
  });

  test('has no name for statements without rows', async () => {
    const rows = await database.batch({ add: add('v1'), more: [add('v2'), add('v3')], count: [COUNT] });
    expectTypeOf(rows).toEqualTypeOf<{ readonly count: { pins: number }[] }>();
    // @ts-expect-error
    expect(rows.add).toEqual([]);
    expect(rows.count).toEqual([{ pins: 3 }]);
  });

  test('runs its statements in the order in which they are written', async () => {
    const ran: unknown[][] = [];
    const spread = { y: [COUNT, 6] } as const;
    const rows = await noting(ran).batch({
      z: [COUNT, 1],
      list: [
        [COUNT, 2],
        [COUNT, 3],
      ],
      inner: { b: [COUNT, 4], a: [COUNT, 5] },
      ...spread,
      none: [],
      a: [COUNT, 7],
    });
    expect(ran).toEqual([[1], [2], [3], [4], [5], [6], [7]]);
    expect(rows).toEqual({
      z: [{ pins: 1 }],
      list: [{ pins: 2 }, { pins: 3 }],
      inner: { b: [{ pins: 4 }], a: [{ pins: 5 }] },
      y: [{ pins: 6 }],
      none: [],
      a: [{ pins: 7 }],
    });
  });

  test('is one transaction', async () => {
    await expect(database.batch({ add: add('v1'), again: add('v1'), count: [COUNT] })).rejects.toThrow(/UNIQUE/);
    expect(await database.all(COUNT)).toEqual([{ pins: 0 }]);
  });

  test.each(['0', '7', '10'])('refuses the name %s, which would run first, and runs nothing', async (name) => {
    const ran: unknown[][] = [];
    await expect(noting(ran).batch({ count: [COUNT, 1], inner: { [name]: [COUNT, 2] as const } })).rejects.toThrow(
      TypeError,
    );
    expect(ran).toEqual([]);
  });
});

test('a list of statements runs in order, and returns nothing', async () => {
  const ran: unknown[][] = [];
  const answer: unknown = await noting(ran).batch([[COUNT, 1], add('v1'), [COUNT, 2]]);
  expect(ran).toEqual([[1], ['alice/app', 'v1'], [2]]);
  expect(answer).toBeUndefined();
});

test('a single statement returns rows of its own type', async () => {
  expectTypeOf(database.all(LIST)).resolves.toEqualTypeOf<{ reference: string }[]>();
  // @ts-expect-error
  expect(await database.first<{ name: string }>(COUNT)).toEqual({ pins: 0 });
});

describe('a batch that may run again', () => {
  beforeEach(() => {
    // The pauses between attempts.
    vi.spyOn(Math, 'random').mockReturnValue(0);
  });
  afterEach(() => {
    vi.restoreAllMocks();
  });

  const failing = (message: string, attempts: string[]): Database =>
    new Database({
      prepare: () => ({ bind: () => ({}) }),
      batch: async () => {
        attempts.push(message);
        throw new Error(message);
      },
    } as unknown as D1Database);

  test.each([
    ['D1_ERROR: Network connection lost.', 3],
    ['D1_ERROR: Internal error in D1 DB storage caused object to be reset.', 3],
    ['D1_ERROR: D1 DB reset because its code was updated.', 3],
    ['D1_ERROR: D1 DB is overloaded. Too many requests queued.', 1],
    ['D1_ERROR: D1 DB storage operation exceeded timeout which caused object to be reset.', 1],
    ['D1_ERROR: UNIQUE constraint failed: SQLITE_CONSTRAINT', 1],
  ])('after %j, %i times in all', async (message, times) => {
    const attempts: string[] = [];
    await expect(failing(message, attempts).batch([], { again: true })).rejects.toThrow();
    expect(attempts).toHaveLength(times);
  });

  test('any other batch runs once', async () => {
    const attempts: string[] = [];
    await expect(failing('D1_ERROR: Network connection lost.', attempts).batch([])).rejects.toMatchObject({
      kind: 'UNAVAILABLE',
    });
    expect(attempts).toHaveLength(1);
  });
});

test('a meter counts every statement, and refuses those beyond its limit', async () => {
  const meter = new StatementMeter();
  const metered = new Database(env.DB_NODE1!, meter);
  await metered.all(COUNT);
  await metered.batch([add('one'), add('two')]);
  await metered.batch({ list: { first: [LIST], second: [LIST] }, count: [COUNT] });
  await metered.nearestReplica().first(COUNT);
  await metered.probe();
  expect(meter.counted).toBe(8);
  meter.allow(10);
  await expect(metered.batch([add('three'), add('four'), add('five')])).rejects.toThrow(OutOfStatements);
  expect(meter).toMatchObject({ counted: 8, left: 2 });
  await metered.batch([add('three'), add('four')]);
  await expect(metered.all(COUNT)).rejects.toThrow('has used 10 of 10 statements');
  expect((await database.all(LIST)).filter(({ reference }) => reference === 'five')).toEqual([]);
  await env.DB_NODE1!.prepare('DELETE FROM pins').run();
});
