/**
 * SQL for the limit of an organization's blobs, which holds even without a quota. Open uploads count too, because each
 * of them may become a blob. So an upload is judged when it begins, and closing it is never refused. A statement that
 * refuses a blob for the quota refuses it for the limit, too.
 *
 * At a node the count has two parts, as usage has: see `usage-rows.ts`.
 */
import { addedBy, counts, exceedsQuota, ofRepository } from './usage-rows.ts';

/** SQL for the blobs and open uploads of a repository's organization. */
export const blobsOf = (repository: string): string => `(
  coalesce((SELECT blobs + open_uploads FROM usage WHERE organization = ${ofRepository(repository)}), 0)
  + coalesce((SELECT blobs FROM usage_at_central WHERE organization = ${ofRepository(repository)}), 0))`;

/** SQL that holds if the organization of a repository may not have another blob. @param most the limit */
export function hasTooManyBlobs(repository: string, most: string): string {
  return `${blobsOf(repository)} >= CAST(${most} AS INTEGER)`;
}

/** SQL that holds if a blob would exceed the quota or the limit of a repository's organization. */
export function hasNoRoom(repository: string, digest: string, bytes: string, most: string): string {
  return `(${exceedsQuota(repository, addedBy(digest, bytes))}
    OR (${hasTooManyBlobs(repository, most)} AND NOT ${counts(repository, digest)}))`;
}

/**
 * SQL that holds if a manifest would exceed the limit. `blobs` is a JSON array. Blobs that the repository lacks, or
 * that count already, add nothing. The rows of the blobs are read only if all of them together would exceed the limit.
 */
export function manifestExceedsBlobs(repository: string, blobs: string, most: string): string {
  const added = `(SELECT count(*) FROM json_each(${blobs}) AS blob
    CROSS JOIN links k ON k.repository = ${repository} AND k.digest = blob.value
    WHERE NOT ${counts(repository, 'blob.value')})`;
  const room = `(${most} - ${blobsOf(repository)})`;
  return `(json_array_length(${blobs}) > ${room} AND ${added} > max(0, ${room}))`;
}
