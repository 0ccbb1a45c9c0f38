/** Counts the statements that D1 is asked to run: each query, and each statement of a batch. */
export interface StatementCount {
  statements: number;
}

/** Returns the environment with every `DB_<STORE>` counted. */
export function countStatements<Bindings extends object>(bindings: Bindings, count: StatementCount): Bindings {
  const wrapped = Object.entries(bindings).map(([name, binding]: [string, unknown]): [string, unknown] => [
    name,
    name.startsWith('DB_') ? countStatementsOf(binding as D1Database, count) : binding,
  ]);
  return Object.fromEntries(wrapped) as Bindings;
}

export function countStatementsOf(database: D1Database, count: StatementCount): D1Database {
  const originals = new WeakMap<object, D1PreparedStatement>();
  const wrap = (statement: D1PreparedStatement): D1PreparedStatement => {
    const counted = <Result>(run: () => Promise<Result>): Promise<Result> => {
      count.statements++;
      return run();
    };
    const wrapped = {
      bind: (...values: unknown[]) => wrap(statement.bind(...values)),
      all: () => counted(() => statement.all()),
      run: () => counted(() => statement.run()),
    } as unknown as D1PreparedStatement;
    originals.set(wrapped, statement);
    return wrapped;
  };
  const session = (of: Pick<D1Database, 'prepare' | 'batch'>) => ({
    prepare: (query: string) => wrap(of.prepare(query)),
    batch: (statements: D1PreparedStatement[]) => {
      count.statements += statements.length;
      return of.batch(statements.map((statement) => originals.get(statement) ?? statement));
    },
  });
  return {
    ...session(database),
    withSession: (start?: string) => session(database.withSession(start)),
  } as unknown as D1Database;
}
