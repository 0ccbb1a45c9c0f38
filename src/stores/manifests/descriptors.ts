/**
 * The descriptors of manifests. The row of a manifest has them as JSON, unless they are long: `manifests` is a b-tree
 * without rowids, and SQLite reads a row's overflow pages for each comparison on the way to another row. So one
 * tenant's long indexes would slow the look-ups of all.
 */

/** The most characters of descriptors in the row of a manifest. A row of this size overflows to one page at most. */
export const MOST_INLINE = 4000;

/** The most characters that one descriptor has: those of one with a sha512 digest. */
export const DESCRIPTOR_CHARACTERS = 200;

/** SQL for the descriptors of a row of `manifests`, as JSON; NULL if the row only records a deletion. */
export function descriptorsOf(row: string): string {
  return `coalesce(${row}.descriptors, (SELECT large.descriptors FROM large_descriptors large
    WHERE large.repository = ${row}.repository AND large.digest = ${row}.digest))`;
}

/** SQL for the column of a manifest's row with its descriptors; NULL if they are too long for the row. */
export function inline(descriptors: string): string {
  return `iif(length(${descriptors}) > ${MOST_INLINE}, NULL, ${descriptors})`;
}

/** Tells whether a manifest's descriptors may be too long for its row. */
export function mayBeLarge(descriptors: readonly unknown[]): boolean {
  return descriptors.length * DESCRIPTOR_CHARACTERS > MOST_INLINE;
}
