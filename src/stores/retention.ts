/**
 * What keeps a blob: a live manifest of its repository that names it, a lease, or a promise. Collection, eviction and
 * copies share these conditions, each inside the statement that removes a row (invariant 5).
 */
import { keyed, type ReadsAtMost } from './rows-read.ts';

/** Whether a live manifest of `repository` names the blob `digest`. */
export const namedIn = (repository: string, digest: string): string => `EXISTS (
  SELECT 1 FROM manifest_references r INDEXED BY manifest_references_by_digest
  WHERE r.repository = ${repository} AND r.digest = ${digest} AND r.live = 1 AND r.kind < 'subject')`;

/** Links of a blob that are looked at: one with more is kept until links that nobody needs have gone. */
export const LINKS_PER_BLOB = 100;

/** Whether a live manifest of any repository that may read the blob `digest` names it; or there are too many to say. */
export const isReferenced = (digest: string): string => `(EXISTS (
  SELECT 1 FROM (SELECT k.repository FROM links k WHERE k.digest = ${digest} LIMIT ${LINKS_PER_BLOB}) AS linked
  CROSS JOIN manifest_references r INDEXED BY manifest_references_by_digest
    ON r.repository = linked.repository AND r.digest = ${digest} AND r.live = 1 AND r.kind < 'subject')
  OR EXISTS (SELECT 1 FROM links k WHERE k.digest = ${digest} LIMIT 1 OFFSET ${LINKS_PER_BLOB}))`;

/** Rows that {@link isReferenced} reads at most, of each digest in a JSON array. */
export const perBlob: ReadsAtMost = (run) => keyed(run) + 4 * LINKS_PER_BLOB * run.keys;

/** Whether somebody was promised the blob until after `now`. */
export const isPromised = (digest: string, now: string): string => `EXISTS (
  SELECT 1 FROM locations o WHERE o.digest = ${digest} AND o.lease_until > CAST(${now} AS INTEGER))`;

/** At central: nothing keeps the blob. */
export const BLOB_IS_UNREFERENCED = (digest: string, now: string): string =>
  `NOT ${isPromised(digest, now)} AND NOT ${isReferenced(digest)}`;
