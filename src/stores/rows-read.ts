/**
 * How many rows a statement may read. The bound stands beside the statement. It is a function of what the statement was
 * asked about, never of what a tenant stored before: D1 runs one statement at a time, so whoever reads much makes all
 * wait. `test/stores/rows-read.test.ts` holds every statement to its bound.
 *
 * Rows of tables and of indexes count, and so do those that triggers read: as in D1's `meta.rows_read`.
 */

/** One run of a statement. */
export interface Run {
  /** Elements of the JSON arrays among the parameters. */
  readonly keys: number;
  /** The elements of one parameter, a JSON array; or that parameter itself, a number. */
  asked(parameter: number): number;
  /** Rows that the statement answered, and rows of tables and indexes that it wrote. */
  readonly given: number;
  readonly written: number;
}

/** The most rows that a run may read. */
export type ReadsAtMost = (run: Run) => number;

/** Rows that it may take to find one thing by its key, with the few that belong to that thing alone. */
export const ROWS_PER_KEY = 24;

/** For look-ups by key: of one thing, or of each in a JSON array. A statement that names no bound has this one. */
export const keyed: ReadsAtMost = ({ keys }) => ROWS_PER_KEY * (1 + keys);

/** For a page: so many rows for each that `limit`, a parameter, allows. */
export function paged(limit: number, rowsEach = 2): ReadsAtMost {
  return (run) => keyed(run) + rowsEach * run.asked(limit);
}

/**
 * For what reads a thing whole, such as the references of a manifest: so many rows for each that it answers or writes.
 */
export function inFull(rowsEach = 4): ReadsAtMost {
  return (run) => keyed(run) + rowsEach * (run.given + run.written);
}

/** For what reads no more than a fixed number of rows, such as a slice of maintenance. */
export function atMost(rows: number): ReadsAtMost {
  return (run) => keyed(run) + rows;
}

/**
 * For the few that read as much as there is of something that only an administrator adds to, that limits of their own
 * bound, or that is what they are about.
 */
export function asManyAs(_what: string): ReadsAtMost {
  return () => Number.POSITIVE_INFINITY;
}
