/** Reads of one page that go to D1 together. */
import { env } from 'cloudflare:workers';
import { beforeEach, expect, test } from 'vitest';
import { Database, Sql } from '../../src/stores/database.ts';
import { joinedReads } from '../../src/stores/joined-reads.ts';
import { countD1, noCounts } from '../support/counting.ts';

const counts = noCounts();
let database: Database;

beforeEach(() => {
  Object.assign(counts, noCounts());
  database = new Database(joinedReads(countD1(env.DB_CENTRAL, counts)));
});

// Not by `sql`, which adds to the statements that `rows-read.test.ts` requires operations of.
const NUMBER = new Sql<{ number: number }>('SELECT CAST(?1 AS INTEGER) AS number');
const NOTHING = new Sql<{ number: number }>('SELECT 1 AS number WHERE ?1 = 0');
const ADD = new Sql<{ name: string }>('INSERT INTO organizations (name, created_at) VALUES (?1, 0) RETURNING name');
const ADDED = new Sql<{ name: string }>("SELECT name FROM organizations WHERE name IN ('one', 'two')");
const FAILS = new Sql('SELECT json(?1)');

test('reads that are asked for side by side take one round trip, and each gets its own rows', async () => {
  const [one, none, both] = await Promise.all([
    database.all(NUMBER, 1),
    database.all(NOTHING, 1),
    Promise.resolve().then(() => database.batch({ two: [NUMBER, 2], three: [NUMBER, 3] })),
  ]);
  expect([one, none, both]).toEqual([[{ number: 1 }], [], { two: [{ number: 2 }], three: [{ number: 3 }] }]);
  expect(counts.d1).toBe(1);
});

test('a read that needs the answer of another goes with the next ones', async () => {
  const chain = async (first: number): Promise<number | undefined> => {
    const row = await database.first(NUMBER, first);
    return (await database.first(NUMBER, (row?.number ?? 0) + 1))?.number;
  };
  expect(await Promise.all([chain(1), chain(5), database.first(NUMBER, 9)])).toEqual([2, 6, { number: 9 }]);
  expect(counts.d1).toBe(2);
});

test('a read that fails does not undo a write that was asked for at the same time', async () => {
  const [write, batch, read, other] = await Promise.allSettled([
    database.all(ADD, 'one'),
    database.batch({ added: [ADD, 'two'], number: [NUMBER, 1] }),
    database.all(FAILS, 'no JSON'),
    database.all(NUMBER, 1),
  ]);
  expect([write.status, batch.status, read.status, other.status]).toEqual([
    'fulfilled',
    'fulfilled',
    'rejected',
    'rejected',
  ]);
  expect(await database.all(ADDED)).toHaveLength(2);
  expect(counts.d1).toBe(4);
});
