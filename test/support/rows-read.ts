/** Wraps a D1 database to record the rows that each statement reads, with its declared bound. */
import { allStatements, type Sql, wholeTableStatements } from '../../src/stores/database.ts';

export type Operation = () => Promise<unknown>;

/** Ignores a refusal: the statements that led to it have run. */
export const refused = (): undefined => undefined;

export interface Reading {
  readonly statement: Sql;
  readonly read: number;
  readonly bound: number;
}

const known = new Map<string, Sql>();

/** Finds a declared statement, among the modules loaded at the first call. */
function declared(query: string): Sql {
  if (known.size === 0)
    for (const statement of [...allStatements, ...wholeTableStatements]) known.set(statement.text, statement);
  const statement = known.get(query);
  if (statement === undefined) throw new Error(`the statement is not declared with sql: ${query}`);
  return statement;
}

/** Records only statements that go through a `Database`, not a test's own queries. */
export function recordReads(database: D1Database, readings: Reading[]): D1Database {
  const originals = new WeakMap<
    object,
    { readonly prepared: D1PreparedStatement; readonly query: string; readonly values: readonly unknown[] }
  >();
  const note = <Row>(query: string, values: readonly unknown[], result: D1Result<Row>): D1Result<Row> => {
    const statement = declared(query);
    const { rows_read: read, rows_written: written } = result.meta;
    const lists = values.map((value) =>
      typeof value === 'string' && value.startsWith('[') ? (JSON.parse(value) as unknown[]).length : undefined,
    );
    const run = {
      keys: lists.reduce<number>((sum, length) => sum + (length ?? 0), 0),
      asked: (parameter: number) => lists[parameter - 1] ?? (Number(values[parameter - 1]) || 0),
      returned: result.results.length,
      written,
    };
    readings.push({ statement, read, bound: statement.readsAtMost(run) });
    return result;
  };
  const wrap = (prepared: D1PreparedStatement, query: string, values: readonly unknown[]): D1PreparedStatement => {
    const wrapped = {
      bind: (...bound: unknown[]) => wrap(prepared.bind(...bound), query, bound),
      all: async <Row>() => note(query, values, await prepared.all<Row>()),
      run: async <Row>() => note(query, values, await prepared.run<Row>()),
    } as unknown as D1PreparedStatement;
    originals.set(wrapped, { prepared, query, values });
    return wrapped;
  };
  const recorded = (session: Pick<D1Database, 'prepare' | 'batch'>) => ({
    prepare: (query: string) => wrap(session.prepare(query), query, []),
    batch: async <Row>(statements: D1PreparedStatement[]): Promise<D1Result<Row>[]> => {
      const all = statements.map((statement) => {
        const original = originals.get(statement);
        if (original === undefined) throw new Error('the statement was prepared by another database');
        return original;
      });
      const results = await session.batch<Row>(all.map(({ prepared }) => prepared));
      return results.map((result, i) => note(all[i]?.query ?? '', all[i]?.values ?? [], result));
    },
  });
  return {
    ...recorded(database),
    withSession: (start?: string) => recorded(database.withSession(start)),
  } as D1Database;
}
