/**
 * The one way to D1. Statements are values made by `sql`, so that a test can explain every one of them, refuse a table scan,
 * and hold it to the rows that it may read (`rows-read.ts`). A batch is one transaction in one round trip.
 *
 * D1 binds JavaScript numbers as REAL: statements CAST stamps and times to INTEGER, or take lists as one JSON
 * parameter. A D1 that does not answer becomes UNAVAILABLE; a statement that is wrong stays the bug that it is.
 */
import { OciError } from '../oci/errors.ts';
import { within } from './deadline.ts';
import { byKey, type ReadsAtMost } from './rows-read.ts';

/** How long D1 may take to answer: it ends a query itself after 30 seconds, so what is given up does not run on. */
export const DATABASE_MILLISECONDS = 35_000;

export class Sql {
  readonly text: string;
  #readsAtMost: ReadsAtMost = byKey;

  constructor(text: string) {
    this.text = text;
  }

  get readsAtMost(): ReadsAtMost {
    return this.#readsAtMost;
  }

  /** Says how many rows the statement may read, where that is more than look-ups by key take. */
  reading(atMost: ReadsAtMost): this {
    this.#readsAtMost = atMost;
    return this;
  }
}

const statements: Sql[] = [];

/** Every statement of the modules loaded so far. */
export const allStatements: readonly Sql[] = statements;

/** Declares a statement. Interpolates only other SQL, never values: those are numbered parameters (`?1`). */
export function sql(strings: TemplateStringsArray, ...fragments: readonly string[]): Sql {
  const statement = new Sql(String.raw({ raw: strings }, ...fragments));
  statements.push(statement);
  return statement;
}

/** As {@link sql}, for the few that read a whole table on purpose: nothing that a push or a pull waits for. */
export function sqlOfWholeTable(strings: TemplateStringsArray, ...fragments: readonly string[]): Sql {
  return new Sql(String.raw({ raw: strings }, ...fragments));
}

const PROBE = sql`SELECT 1`;

export type Parameter = string | number | null;
export type BoundStatement = readonly [statement: Sql, ...parameters: Parameter[]];

export class Database {
  readonly #d1: Pick<D1Database, 'prepare' | 'batch'>;
  readonly #replicas: D1Database | undefined;
  #lags = false;

  /** @param d1 the database; or a session, which has no replicas of its own */
  constructor(d1: D1Database | D1DatabaseSession) {
    this.#d1 = d1;
    this.#replicas = 'withSession' in d1 ? d1 : undefined;
  }

  /**
   * To read the nearest replica, which may lag behind the primary; the primary itself where the database has no replicas
   * (D1, "Global read replication"). For one reader: what it reads never goes back in time.
   */
  nearestReplica(): Database {
    return this.#replicas === undefined ? this : new Database(this.#replicas.withSession('first-unconstrained'));
  }

  /** Whether a replica gave an answer. */
  get lags(): boolean {
    return this.#lags;
  }

  /** Rows of one statement. */
  async all<Row>(statement: Sql, ...parameters: Parameter[]): Promise<Row[]> {
    const { results, meta } = await answered(this.#bind([statement, ...parameters]).all<Row>());
    this.#lags ||= meta.served_by_primary === false;
    return results;
  }

  async first<Row>(statement: Sql, ...parameters: Parameter[]): Promise<Row | undefined> {
    return (await this.all<Row>(statement, ...parameters))[0];
  }

  async run(statement: Sql, ...parameters: Parameter[]): Promise<void> {
    await answered(this.#bind([statement, ...parameters]).run());
  }

  /**
   * Runs the statements as one transaction, in one round trip.
   * @returns the rows of each statement; the caller says their types, in order
   */
  async batch<Rows extends readonly object[]>(
    statementsToRun: readonly BoundStatement[],
  ): Promise<{ [I in keyof Rows]: Rows[I][] }> {
    const results = await answered(this.#d1.batch(statementsToRun.map((statement) => this.#bind(statement))));
    return results.map((result) => result.results) as { [I in keyof Rows]: Rows[I][] };
  }

  /** Whether D1 answers at all. @throws OciError UNAVAILABLE */
  async probe(): Promise<void> {
    await this.run(PROBE);
  }

  #bind([statement, ...parameters]: BoundStatement): D1PreparedStatement {
    return this.#d1.prepare(statement.text).bind(...parameters);
  }
}

/** What D1 says of a statement that can never succeed, as against one that may the next time. */
const WRONG_STATEMENT = /SQLITE_(?:ERROR|CONSTRAINT|MISMATCH|RANGE|TOOBIG|MISUSE)|D1_TYPE_ERROR/;

async function answered<Result>(query: Promise<Result>): Promise<Result> {
  try {
    return await within(DATABASE_MILLISECONDS, query);
  } catch (cause) {
    if (cause instanceof OciError || WRONG_STATEMENT.test(String(cause))) throw cause;
    throw new OciError('UNAVAILABLE', { cause, headers: { 'Retry-After': '2' } });
  }
}
