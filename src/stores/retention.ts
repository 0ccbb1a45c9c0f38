/**
 * The conditions that keep a blob: a live manifest of its repository names it, or a lease records a promise to a
 * client. Collection, eviction and copies share these conditions. Each uses them inside the statement that removes a
 * row (invariant 5).
 */
import { keyed, type ReadsAtMost } from './rows-read.ts';

/** SQL that holds if a live manifest of `repository` names the blob `digest`. */
export const namedIn = (repository: string, digest: string): string => `EXISTS (
  SELECT 1 FROM manifest_references r
  WHERE r.digest = ${digest} AND r.repository = ${repository})`;

/** The most links of a blob that are examined. A blob with more is kept until unneeded links are removed. */
export const LINKS_PER_BLOB = 100;

/**
 * SQL that holds if a live manifest names the blob `digest` in any repository that links the blob, or if the blob has
 * too many links to tell.
 */
export const isReferenced = (digest: string): string => `(EXISTS (
  SELECT 1 FROM (SELECT k.repository FROM links k WHERE k.digest = ${digest} LIMIT ${LINKS_PER_BLOB}) AS linked
  CROSS JOIN manifest_references r
    ON r.digest = ${digest} AND r.repository = linked.repository)
  OR EXISTS (SELECT 1 FROM links k WHERE k.digest = ${digest} LIMIT 1 OFFSET ${LINKS_PER_BLOB}))`;

/** The most rows that {@link isReferenced} reads, for each digest in a JSON array. */
export const perBlob: ReadsAtMost = (run) => keyed(run) + 4 * LINKS_PER_BLOB * run.keys;

/** SQL that holds if a lease keeps the blob `digest` beyond `now`. */
export const isPromised = (digest: string, now: string): string => `EXISTS (
  SELECT 1 FROM locations o WHERE o.digest = ${digest} AND o.lease_until > CAST(${now} AS INTEGER))`;

/** SQL that holds, at central, if nothing keeps the blob. */
export const BLOB_IS_UNREFERENCED = (digest: string, now: string): string =>
  `NOT ${isPromised(digest, now)} AND NOT ${isReferenced(digest)}`;
