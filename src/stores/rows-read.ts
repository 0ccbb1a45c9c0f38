/**
 * The most rows that a statement may read. The bound is declared with the statement. It depends on what the statement
 * was asked about, never on what a tenant stored earlier: D1 runs one statement at a time, so a caller that reads many
 * rows delays all others. `test/stores/rows-read.test.ts` holds every statement to its bound.
 *
 * Rows of tables and indexes count, and so do the rows that triggers read, as in D1's `meta.rows_read`.
 */
import { MAX_TAGS_ON_MANIFEST } from './organizations/limits.ts';

/** One run of a statement. */
export interface Run {
  /** Elements of the JSON arrays among the parameters. */
  readonly keys: number;
  /** The length of one parameter that is a JSON array, or the value of one that is a number. */
  asked(parameter: number): number;
  /** Rows that the statement returned. */
  readonly returned: number;
  /** Rows of tables and indexes that it wrote. */
  readonly written: number;
}

/** The most rows that a run may read. */
export type ReadsAtMost = (run: Run) => number;

/** The most rows that one look-up by key may read: the row itself and the few that belong to it alone. */
const ROWS_PER_KEY = 24;

/** Bounds look-ups by key: of one thing, or of each element of a JSON array. This is the default. */
export const keyed: ReadsAtMost = ({ keys }) => ROWS_PER_KEY * (1 + keys);

/** Bounds a page: `rowsEach` rows for each that the parameter numbered `limit` allows. */
export function paged(limit: number, rowsEach = 2): ReadsAtMost {
  return (run) => keyed(run) + rowsEach * run.asked(limit);
}

/**
 * Bounds a statement that reads a whole thing, such as the references of a manifest: `rowsEach` rows for each row that
 * it returns or writes.
 */
export function inFull(rowsEach = 4): ReadsAtMost {
  return (run) => keyed(run) + rowsEach * (run.returned + run.written);
}

/** Bounds a statement that reads at most a fixed number of rows, such as a slice of maintenance. */
export function atMost(rows: number): ReadsAtMost {
  return (run) => keyed(run) + rows;
}

/**
 * Bounds a statement that reads a table with a few rows for each store, task or counter: only the configuration and the
 * code add to it.
 */
export const configured: ReadsAtMost = atMost(1000);

/**
 * The number of stores whose pushes may tag one manifest: central and nine nodes. Each further node can add as many
 * rows as one of these.
 */
const STORES = 10;
/** The most rows read for one tag: its row and index entry, its manifest, its removal, and its organization's usage. */
const ROWS_PER_TAG = 12;

/**
 * Bounds a statement that reads all tags on one manifest, or on each that an element of the JSON arrays names. A store
 * limits how many tags its own clients put on a manifest, and merges all that other stores accepted.
 */
export const perTag: ReadsAtMost = (run) =>
  keyed(run) + ROWS_PER_TAG * Math.max(1, run.keys) * STORES * MAX_TAGS_ON_MANIFEST;
