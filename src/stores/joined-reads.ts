/**
 * A D1 database that answers reads together. The parts of a page ask the same store side by side, each on its own. All
 * that they ask before the first of them has to wait goes to D1 as one batch, in one round trip. A batch is a
 * transaction, so one failed read fails the whole batch, whose reads all belong to one page and one store.
 *
 * Only reads are joined. A write goes to D1 by itself, so that no read that fails can undo it.
 */
interface Asked {
  readonly statements: readonly D1PreparedStatement[];
  readonly answer: (results: D1Result<never>[]) => void;
  readonly fail: (cause: unknown) => void;
}

/** Matches statements that may change rows. */
const WRITES = /\b(?:INSERT|UPDATE|DELETE)\b/i;

/** @param database used for one request alone, because the answers of several requests must not wait for each other */
export function joinedReads(database: D1Database): D1Database {
  /** D1's own statements, by the wrapped ones that callers hold. */
  const reads = new WeakMap<D1PreparedStatement, D1PreparedStatement>();
  let waiting: Asked[] = [];

  const send = async (): Promise<void> => {
    const asked = waiting;
    waiting = [];
    try {
      const results = await database.batch<never>(asked.flatMap(({ statements }) => statements));
      for (const { statements, answer } of asked) answer(results.splice(0, statements.length));
    } catch (cause) {
      for (const { fail } of asked) fail(cause);
    }
  };
  const join = (statements: readonly D1PreparedStatement[]): Promise<D1Result<never>[]> => {
    const { promise, resolve: answer, reject: fail } = Promise.withResolvers<D1Result<never>[]>();
    // Settled promises run before the timer, so by then every part of the page has asked and waits.
    if (waiting.length === 0) setTimeout(() => void send(), 0);
    waiting.push({ statements, answer, fail });
    return promise;
  };
  const reading = (statement: D1PreparedStatement): D1PreparedStatement => {
    const all = async (): Promise<D1Result<never> | undefined> => (await join([statement]))[0];
    const bind = (...values: unknown[]): D1PreparedStatement => reading(statement.bind(...values));
    const read = { bind, all, run: all } as unknown as D1PreparedStatement;
    reads.set(read, statement);
    return read;
  };
  return {
    prepare: (query: string) => (WRITES.test(query) ? database.prepare(query) : reading(database.prepare(query))),
    batch: (statements: D1PreparedStatement[]) =>
      statements.every((statement) => reads.has(statement))
        ? join(statements.map((statement) => reads.get(statement) ?? statement))
        : database.batch(statements.map((statement) => reads.get(statement) ?? statement)),
    withSession: (start?: string) => database.withSession(start),
  } as unknown as D1Database;
}
