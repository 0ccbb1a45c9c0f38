/**
 * The one way to D1. Statements are values made by `sql`, so that a test can explain every one of them, refuse a table
 * scan, and hold it to the rows that it may read (`rows-read.ts`). `sql<Row>` states what the rows hold, so that no
 * caller casts them. A batch is one transaction in one round trip; its statements run in the order in which they are
 * written.
 *
 * D1 binds JavaScript numbers as REAL: statements CAST versions and times to INTEGER, or take lists as one JSON
 * parameter. A D1 that does not answer becomes UNAVAILABLE; a statement that is wrong stays the bug that it is.
 */
import { OciError } from '../oci/errors.ts';
import { within } from './deadline.ts';
import { keyed, type ReadsAtMost } from './rows-read.ts';

/** How long D1 may take to answer: it ends a query itself after 30 seconds, so what is given up does not run on. */
export const DATABASE_MILLISECONDS = 35_000;

/** A statement. `Row` holds the columns that it returns; it is `never` if it returns none, or if callers state them. */
export class Sql<Row = unknown> {
  /** Never set: it only carries the type. */
  declare readonly row?: Row;
  readonly text: string;
  #readsAtMost: ReadsAtMost = keyed;

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
const statementsOfWholeTables: Sql[] = [];

/** Every statement of the modules loaded so far, but for those that read a whole table. */
export const allStatements: readonly Sql[] = statements;
/** The others. */
export const wholeTableStatements: readonly Sql[] = statementsOfWholeTables;

/**
 * Declares a statement. Interpolates only other SQL, never values: those are numbered parameters (`?1`).
 *
 * @example const SELECT_KEY = sql<{ key: string }>`SELECT key FROM locations WHERE digest = ?1`;
 */
export function sql<Row = never>(strings: TemplateStringsArray, ...fragments: readonly string[]): Sql<Row> {
  return declared(statements, String.raw({ raw: strings }, ...fragments));
}

/**
 * As {@link sql}, for the few that read a whole table on purpose: one that has a row for each store or task, not for
 * what tenants write.
 */
export function sqlOfWholeTable<Row = never>(strings: TemplateStringsArray, ...fragments: readonly string[]): Sql<Row> {
  return declared(statementsOfWholeTables, String.raw({ raw: strings }, ...fragments));
}

function declared<Row>(list: Sql[], text: string): Sql<Row> {
  const statement = new Sql<Row>(text);
  list.push(statement);
  return statement;
}

const PROBE = sql`SELECT 1`;

export type Parameter = string | number | null;
/** A statement and its parameters. `Row` is `never` if nobody reads its rows. */
export type BoundStatement<Row = never> = readonly [statement: Sql<Row>, ...parameters: Parameter[]];

/**
 * Statements by name. They run in the order in which the names are written. A name holds one statement, a list of
 * statements whose rows need not be told apart, or another batch. A name that looks like a whole number is refused,
 * because JavaScript moves such keys to the front.
 */
export interface Batch {
  readonly [name: string]: BoundStatement<unknown> | readonly BoundStatement<unknown>[] | Batch;
}

/** The rows of a batch, under the names of its statements. A name whose statements return no rows is left out. */
export type RowsOf<Asked> = {
  [Name in keyof Asked as [Answer<Asked[Name]>] extends [never[]] ? never : Name]: Answer<Asked[Name]>;
};

type Answer<Asked> = [Asked] extends [readonly unknown[]] ? RowOf<Asked>[] : RowsOf<Asked>;

type RowOf<Asked> =
  Asked extends BoundStatement<infer Row> ? Row : Asked extends readonly (infer Each)[] ? RowOf<Each> : never;

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
   * To read the nearest replica, which may lag behind the primary; the primary itself where the database has no
   * replicas (D1, "Global read replication"). For one reader: what it reads never goes back in time.
   */
  nearestReplica(): Database {
    return this.#replicas === undefined ? this : new Database(this.#replicas.withSession('first-unconstrained'));
  }

  /** Whether a replica gave an answer. */
  get lags(): boolean {
    return this.#lags;
  }

  /** Rows of one statement. */
  async all<Row>(statement: Sql<Row>, ...parameters: Parameter[]): Promise<Row[]> {
    const { results, meta } = await answered(this.#bind([statement, ...parameters]).all<Row>());
    this.#lags ||= meta.served_by_primary === false;
    return results;
  }

  async first<Row>(statement: Sql<Row>, ...parameters: Parameter[]): Promise<Row | undefined> {
    return (await this.all<Row>(statement, ...parameters))[0];
  }

  async run(statement: Sql, ...parameters: Parameter[]): Promise<void> {
    await answered(this.#bind([statement, ...parameters]).run());
  }

  /** Runs statements whose rows nobody reads, in their order. */
  async batch(statements: readonly BoundStatement<unknown>[]): Promise<void>;
  /**
   * Runs statements by name, in the order in which the names are written.
   * @returns the rows by the same names; the rows of a list of statements are one list, in the statements' order
   * @example
   * const { session, location } = await database.batch({
   *   session: selectUpload(id),
   *   commit: commitObject(blob, key, size), // two statements without rows
   *   location: selectLocation(blob),
   * });
   */
  async batch<const Asked extends Batch>(asked: Asked): Promise<RowsOf<Asked>>;
  async batch(asked: readonly BoundStatement<unknown>[] | Batch): Promise<unknown> {
    const bound = statementsIn(asked).map((statement) => this.#bind(statement));
    const results = await answered(this.#d1.batch(bound));
    return isList(asked) ? undefined : rowsIn(asked, results.values());
  }

  /** Whether D1 answers at all. @throws OciError UNAVAILABLE */
  async probe(): Promise<void> {
    await this.run(PROBE);
  }

  #bind([statement, ...parameters]: BoundStatement<unknown>): D1PreparedStatement {
    return this.#d1.prepare(statement.text).bind(...parameters);
  }
}

type Statements = BoundStatement<unknown> | readonly BoundStatement<unknown>[] | Batch;

function isStatement(asked: Statements): asked is BoundStatement<unknown> {
  return Array.isArray(asked) && asked[0] instanceof Sql;
}

function isList(asked: Statements): asked is readonly BoundStatement<unknown>[] {
  return Array.isArray(asked);
}

/** In the order in which they run. */
function statementsIn(asked: Statements): readonly BoundStatement<unknown>[] {
  if (isStatement(asked)) return [asked];
  if (isList(asked)) return asked;
  return Object.entries(asked).flatMap(([name, each]) => {
    if (/^\d+$/.test(name))
      throw new TypeError(`a batch cannot name a statement ${name}: it would run before the others`);
    return statementsIn(each);
  });
}

/** Takes the results in the order of {@link statementsIn}. */
function rowsIn(asked: Statements, results: Iterator<D1Result>): unknown {
  if (isStatement(asked)) return results.next().value?.results;
  if (isList(asked)) return asked.flatMap((each) => rowsIn(each, results));
  return Object.fromEntries(Object.entries(asked).map(([name, each]) => [name, rowsIn(each, results)]));
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
