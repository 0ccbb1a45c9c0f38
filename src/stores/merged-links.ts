/**
 * The links of merged manifests. Their blobs are counted together, so an announcement writes the usage of an
 * organization once, however many blobs the announcement has.
 */
import { type BoundStatement, sql } from './database.ts';
import { isAliveLink, isAliveManifest } from './deletion/removals.ts';
import { ofRepository } from './organizations/usage-rows.ts';

// ?1: the blobs, as JSON. Only a live manifest links its blobs.
const LINKED = `
  SELECT DISTINCT m.repository, blob.value ->> 'digest' AS digest FROM json_each(?1) AS blob
  CROSS JOIN manifests m ON m.repository = blob.value ->> 'repository' AND m.digest = blob.value ->> 'manifest'
  WHERE ${isAliveManifest('m')}`;
const NEWLY_LINKED = `
  SELECT ${ofRepository('k.repository')} AS organization, k.digest,
    (SELECT l.size FROM locations l WHERE l.digest = k.digest LIMIT 1) AS size
  FROM (${LINKED}) AS k
  WHERE NOT EXISTS (SELECT 1 FROM links x WHERE x.repository = k.repository AND x.digest = k.digest)`;
// A live manifest names each of these blobs, so none is in flight.
const COUNT_SUMS = sql`
  INSERT INTO usage_added (organization, blobs, bytes)
  SELECT organization, count(*), sum(size)
  FROM (SELECT DISTINCT * FROM (${NEWLY_LINKED})) AS linked
  WHERE NOT EXISTS (SELECT 1 FROM usage_blobs u WHERE u.organization = linked.organization AND u.digest = linked.digest)
  GROUP BY organization`;
const COUNT_BLOBS = sql`
  INSERT INTO usage_blobs (organization, digest, size, uses, known)
  SELECT organization, digest, size, count(*), 0 FROM (${NEWLY_LINKED}) GROUP BY organization, digest
  ON CONFLICT (organization, digest) DO UPDATE SET uses = uses + excluded.uses`;

// A live manifest needs the link, so no removal older than the manifest may hide it, not even one that this store has
// yet to receive. That is why an existing link gets the time `now`. `usable_until` 0 tells the trigger of `links` that
// the blob is counted already.
const MERGE_LINKS = sql`
  INSERT INTO links (repository, digest, created_at, usable_until)
  SELECT repository, digest, CAST(?2 AS INTEGER), 0 FROM (${LINKED}) WHERE true
  ON CONFLICT (repository, digest) DO UPDATE SET created_at = max(links.created_at, excluded.created_at)
  WHERE links.created_at < excluded.created_at OR NOT ${isAliveLink('links')}`;

/**
 * Links blobs, and counts those that the organization did not have.
 * @param blobs JSON of rows with `repository`, `digest` and `manifest`
 * @param now milliseconds since the epoch
 */
export function mergeLinks(blobs: string, now: number): BoundStatement[] {
  return [
    [COUNT_SUMS, blobs],
    [COUNT_BLOBS, blobs],
    [MERGE_LINKS, blobs, now],
  ];
}
