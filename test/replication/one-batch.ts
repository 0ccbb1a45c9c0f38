/**
 * Sends queries that are asked at the same time to D1 in one batch, so that the many reads that compare hosts take
 * fewer round trips.
 */

interface Asked {
  readonly statements: readonly D1PreparedStatement[];
  readonly answer: (results: D1Result[]) => void;
  readonly fail: (error: unknown) => void;
}

export class OneBatch {
  /** Whether to combine queries. A combined batch is one transaction instead of several. */
  on = false;

  readonly reach = (database: D1Database): D1Database => {
    let waiting: Asked[] = [];
    const flush = async (): Promise<void> => {
      const asked = waiting;
      waiting = [];
      try {
        const results = await database.batch(asked.flatMap(({ statements }) => [...statements]));
        for (const { statements, answer } of asked) answer(results.splice(0, statements.length));
      } catch (error) {
        for (const { fail } of asked) fail(error);
      }
    };
    const ask = (statements: readonly D1PreparedStatement[]): Promise<D1Result[]> =>
      new Promise((answer, fail) => {
        if (waiting.length === 0) setTimeout(() => void flush(), 0);
        waiting.push({ statements, answer, fail });
      });
    const originals = new WeakMap<object, D1PreparedStatement>();
    const wrap = (statement: D1PreparedStatement): D1PreparedStatement => {
      const wrapped = {
        bind: (...values: unknown[]) => wrap(statement.bind(...values)),
        all: async () => (this.on ? (await ask([statement]))[0] : statement.all()),
        run: () => statement.run(),
      } as unknown as D1PreparedStatement;
      originals.set(wrapped, statement);
      return wrapped;
    };
    const reached = {
      withSession: () => reached,
      prepare: (query: string) => wrap(database.prepare(query)),
      batch: (statements: D1PreparedStatement[]) => {
        const inner = statements.map((statement) => originals.get(statement) ?? statement);
        return this.on ? ask(inner) : database.batch(inner);
      },
    };
    return reached as unknown as D1Database;
  };
}
