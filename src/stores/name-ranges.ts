/**
 * Ranges of repository names, such as those that a caller may pull. A page over many ranges reads no more rows than a
 * page over one: its statement goes through the ranges in order, and stops when the page is full.
 */

/** Names from `from` (inclusive) to `to` (exclusive), in byte order. */
export interface NameRange {
  readonly from: string;
  readonly to: string;
}

/**
 * Returns what is left of the ranges after a name, in byte order, as JSON for {@link inRanges}.
 * @param ranges any number, in any order, no two of which overlap
 */
export function rangesAfter(ranges: readonly NameRange[], last: string): string {
  const left = ranges
    .filter(({ to }) => last < to)
    .map(({ from, to }) => ({ from: last < from ? from : `${last}\u0000`, to }));
  return JSON.stringify(rangesInOrder(left));
}

/** Sorts ranges of which no two overlap. Names are ASCII, so the order of UTF-16 is that of the bytes. */
export function rangesInOrder<Range extends NameRange>(ranges: readonly Range[]): Range[] {
  return ranges.toSorted((a, b) => (a.from < b.from ? -1 : 1));
}

/**
 * SQL that joins a table with the names in {@link rangesAfter}. The rows come in the order of the scan, which is that
 * of the names: an ORDER BY would read all of them before the LIMIT.
 */
export const inRanges = (ranges: string, table: string, name: string): string =>
  `json_each(${ranges}) AS range CROSS JOIN ${table}
    ON ${name} >= range.value ->> 'from' AND ${name} < range.value ->> 'to'`;
