/**
 * The only access to D1. Statements are values made by `sql`, so that a test can explain each one, refuse table scans,
 * and hold it to the rows that it may read (`rows-read.ts`). `sql<Row>` declares the type of the rows, so that no
 * caller casts them. A batch is one transaction in one round trip; its statements run in the order in which they are
 * written.
 *
 * D1 binds JavaScript numbers as REAL, so statements CAST versions and times to INTEGER, or take lists as one JSON
 * parameter. An unreachable D1 becomes UNAVAILABLE; an invalid statement stays an ordinary error, because it is a bug.
 *
 * D1 itself repeats only queries that write nothing. A batch that may be repeated says so ({@link Repeatable}), and is
 * then tried again here.
 */
import { isUnavailable, OciError } from '../oci/errors.ts';
import { within } from './deadline.ts';
import { keyed, type ReadsAtMost } from './rows-read.ts';
import { OutOfStatements, type StatementMeter } from './statement-meter.ts';

/**
 * The longest that D1 may take to answer. D1 itself stops a query after 30 seconds, so an abandoned query does not keep
 * running.
 */
export const DATABASE_MILLISECONDS = 35_000;

/**
 * A statement. `Row` is the type of the rows that it returns; `never` if it returns none or its callers declare the
 * type.
 */
export class Sql<Row = unknown> {
  /** Never set; it only carries the type. */
  declare readonly row?: Row;
  readonly text: string;
  #readsAtMost: ReadsAtMost = keyed;

  constructor(text: string) {
    this.text = text;
  }

  get readsAtMost(): ReadsAtMost {
    return this.#readsAtMost;
  }

  /** Declares how many rows the statement may read, if that is more than a look-up by key needs. */
  reading(atMost: ReadsAtMost): this {
    this.#readsAtMost = atMost;
    return this;
  }
}

const statements: Sql[] = [];
const statementsOfWholeTables: Sql[] = [];

/** Every statement of the modules loaded so far, except those that read a whole table. */
export const allStatements: readonly Sql[] = statements;
/** Every statement of the modules loaded so far that reads a whole table. */
export const wholeTableStatements: readonly Sql[] = statementsOfWholeTables;

/**
 * Declares a statement. Interpolate only other SQL, never values: pass those as numbered parameters (`?1`).
 *
 * @example const SELECT_KEY = sql<{ key: string }>`SELECT key FROM locations WHERE digest = ?1`;
 */
export function sql<Row = never>(strings: TemplateStringsArray, ...fragments: readonly string[]): Sql<Row> {
  return declared(statements, String.raw({ raw: strings }, ...fragments));
}

/**
 * Like {@link sql}, for the few statements that read a whole table on purpose. Such a table has a row for each store or
 * task, and does not grow with what tenants write.
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
/** A statement and its parameters. `Row` is `never` if nobody reads the rows. */
export type BoundStatement<Row = never> = readonly [statement: Sql<Row>, ...parameters: Parameter[]];

/**
 * Statements by name. They run in the order in which the names are written. A name holds one statement, a list of
 * statements whose rows belong together, or another batch. A name may not look like a whole number, because JavaScript
 * moves such keys to the front.
 */
export interface Batch {
  readonly [name: string]: BoundStatement<unknown> | readonly BoundStatement<unknown>[] | Batch;
}

/** The rows of a batch, under the names of its statements. It omits names whose statements return no rows. */
type RowsOf<Asked> = {
  [Name in keyof Asked as [Answer<Asked[Name]>] extends [never[]] ? never : Name]: Answer<Asked[Name]>;
};

type Answer<Asked> = [Asked] extends [readonly unknown[]] ? RowOf<Asked>[] : RowsOf<Asked>;

type RowOf<Asked> =
  Asked extends BoundStatement<infer Row> ? Row : Asked extends readonly (infer Each)[] ? RowOf<Each> : never;

/**
 * Whether a batch may run again after a failure that leaves open whether it was committed. `true` if a second run
 * changes nothing and returns what the first would have returned. Otherwise a function that tells whether the rows of a
 * second run are the answer: if not, the batch counts as failed, and its caller has to find out what happened.
 */
export interface Repeatable<Rows> {
  readonly again: true | ((rows: Rows) => boolean);
}

export class Database {
  readonly #d1: Pick<D1Database, 'prepare' | 'batch'>;
  readonly #replicas: D1Database | undefined;
  readonly #meter: StatementMeter | undefined;
  #lags = false;

  /**
   * @param d1 the database, or a session, which has no replicas of its own
   * @param meter counts the statements, and may refuse them
   */
  constructor(d1: D1Database | D1DatabaseSession, meter?: StatementMeter) {
    this.#d1 = d1;
    this.#meter = meter;
    this.#replicas = 'withSession' in d1 ? d1 : undefined;
  }

  /**
   * Returns a connection to the nearest replica, which may lag behind the primary, or to the primary if the database
   * has no replicas (D1, "Global read replication"). Use one for each reader: its reads never go back in time.
   */
  nearestReplica(): Database {
    return this.#replicas === undefined
      ? this
      : new Database(this.#replicas.withSession('first-unconstrained'), this.#meter);
  }

  /** Whether a replica has answered any query of this connection, so that its rows may be old. */
  get lags(): boolean {
    return this.#lags;
  }

  /** Returns the rows of one statement. @throws OciError UNAVAILABLE, OutOfStatements */
  async all<Row>(statement: Sql<Row>, ...parameters: Parameter[]): Promise<Row[]> {
    this.#meter?.count(1);
    const { results, meta } = await answered(this.#bind([statement, ...parameters]).all<Row>());
    this.#lags ||= meta.served_by_primary === false;
    return results;
  }

  /** Returns the first row of a statement. @throws OciError UNAVAILABLE */
  async first<Row>(statement: Sql<Row>, ...parameters: Parameter[]): Promise<Row | undefined> {
    return (await this.all<Row>(statement, ...parameters))[0];
  }

  /** Runs a statement whose rows nobody reads. @throws OciError UNAVAILABLE */
  async run(statement: Sql, ...parameters: Parameter[]): Promise<void> {
    this.#meter?.count(1);
    await answered(this.#bind([statement, ...parameters]).run());
  }

  /** Runs statements whose rows nobody reads, in order, in one transaction. @throws OciError UNAVAILABLE */
  async batch(statements: readonly BoundStatement<unknown>[], repeatable?: Repeatable<void>): Promise<void>;
  /**
   * Runs statements by name, in the order in which the names are written, in one transaction.
   * @returns the rows under the same names; a list of statements returns one list of rows, in the statements' order
   * @throws OciError UNAVAILABLE
   * @example
   * const { session, location } = await database.batch({
   *   session: selectUpload(id),
   *   commit: commitObject(blob, key, size), // two statements without rows
   *   location: selectLocation(blob),
   * });
   */
  async batch<const Asked extends Batch>(asked: Asked, repeatable?: Repeatable<RowsOf<Asked>>): Promise<RowsOf<Asked>>;
  async batch(
    asked: readonly BoundStatement<unknown>[] | Batch,
    // `never` accepts the Repeatable of either overload.
    repeatable?: Repeatable<never>,
  ): Promise<unknown> {
    const bound = statementsIn(asked).map((statement) => this.#bind(statement));
    const run = async (): Promise<unknown> => {
      this.#meter?.count(bound.length);
      const results = await this.#d1.batch(bound);
      return isList(asked) ? undefined : rowsIn(asked, results.values());
    };
    return repeatable === undefined ? answered(run()) : repeated(run, repeatable as Repeatable<unknown>);
  }

  /** Checks that D1 answers at all. @throws OciError UNAVAILABLE */
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

/** Returns the statements in the order in which they run. */
function statementsIn(asked: Statements): readonly BoundStatement<unknown>[] {
  if (isStatement(asked)) return [asked];
  if (isList(asked)) return asked;
  return Object.entries(asked).flatMap(([name, each]) => {
    if (/^\d+$/.test(name))
      throw new TypeError(
        `a batch cannot name a statement ${name}, which would run first: choose a name that is not a number`,
      );
    return statementsIn(each);
  });
}

/** Distributes the results, which are in the order of {@link statementsIn}. */
function rowsIn(asked: Statements, results: Iterator<D1Result>): unknown {
  if (isStatement(asked)) return results.next().value?.results;
  if (isList(asked)) return asked.flatMap((each) => rowsIn(each, results));
  return Object.fromEntries(Object.entries(asked).map(([name, each]) => [name, rowsIn(each, results)]));
}

/** D1's errors for a statement that can never succeed. After any other, a retry may succeed. */
const WRONG_STATEMENT = /SQLITE_(?:ERROR|CONSTRAINT|MISMATCH|RANGE|TOOBIG|MISUSE)|D1_TYPE_ERROR/;

async function answered<Result>(query: Promise<Result>, milliseconds = DATABASE_MILLISECONDS): Promise<Result> {
  try {
    return await within(milliseconds, query);
  } catch (cause) {
    if (cause instanceof OciError || cause instanceof OutOfStatements || WRONG_STATEMENT.test(String(cause)))
      throw cause;
    throw new OciError('UNAVAILABLE', { cause, headers: { 'Retry-After': '2' } });
  }
}

/** D1's errors after which a retry may succeed (D1, "Retry queries"). The statements may have been committed. */
const PASSING = /Network connection lost|storage caused object to be reset|reset because its code was updated/;

const ATTEMPTS = 3;

/** The longest pause before the second attempt, in milliseconds. The next one may be twice as long. */
const PAUSE_MILLISECONDS = 100;

/** Runs a batch until it is answered, within the time that a single attempt has. @throws OciError UNAVAILABLE */
async function repeated<Rows>(run: () => Promise<Rows>, { again }: Repeatable<Rows>): Promise<Rows> {
  const deadline = Date.now() + DATABASE_MILLISECONDS;
  let failure: unknown;
  for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
    if (attempt > 1) await pause(Math.random() * PAUSE_MILLISECONDS * 2 ** (attempt - 2));
    try {
      const rows = await answered(run(), Math.max(1, deadline - Date.now()));
      if (attempt === 1 || again === true || again(rows)) return rows;
      break;
    } catch (error) {
      failure = error;
      if (!isUnavailable(error) || !PASSING.test(String(error.cause))) break;
    }
  }
  throw failure;
}

function pause(milliseconds: number): Promise<void> {
  return new Promise((done) => setTimeout(done, milliseconds));
}
