/**
 * The descriptors of manifests. The row of a manifest holds them as JSON, unless they are long. `manifests` is a b-tree
 * without rowids: while SQLite searches for a row, it reads the overflow pages of every row that it compares. With long
 * rows, one tenant's indexes would slow the look-ups of all.
 */

/** The most characters of descriptors in the row of a manifest. A row of this size has at most one overflow page. */
export const MOST_INLINE = 4000;

/** No descriptor has more characters than this, not even one with a sha512 digest. */
export const DESCRIPTOR_CHARACTERS = 200;

/** SQL for the descriptors of a row of `manifests`, as JSON; NULL if the row only records a deletion. */
export function descriptorsOf(row: string): string {
  return `coalesce(${row}.descriptors, (SELECT large.descriptors FROM large_descriptors large
    WHERE large.repository = ${row}.repository AND large.digest = ${row}.digest))`;
}

/** SQL for the value of `descriptors` in a manifest's row; NULL if they are too long for the row. */
export function inline(descriptors: string): string {
  return `iif(length(${descriptors}) > ${MOST_INLINE}, NULL, ${descriptors})`;
}

/** Tells whether a manifest's descriptors may be too long for its row. */
export function mayBeLarge(descriptors: readonly unknown[]): boolean {
  return descriptors.length * DESCRIPTOR_CHARACTERS > MOST_INLINE;
}
