/**
 * Pins, which keep images from being evicted from a node. A pin by tag keeps whatever the tag names at eviction time.
 */
import type { Digest } from '../../oci/digest.ts';
import type { RepositoryName, Tag } from '../../oci/reference.ts';
import { auditChanged, BERTH_ITSELF, ofRepository } from '../../stores/organizations/audit-rows.ts';
import { type Database, sql } from '../../stores/database.ts';
import { ofRepository as organizationIn } from '../../stores/organizations/usage-rows.ts';

// A slow clock dates a pin no earlier than its organization: the node drops those of an earlier organization.
const PIN = sql`
  INSERT INTO pins (repository, reference, created_at)
  VALUES (?1, ?2, max(CAST(?3 AS INTEGER),
    coalesce((SELECT created_at FROM organizations WHERE name = ${organizationIn('?1')}), 0)))
  ON CONFLICT DO NOTHING`;
const UNPIN = sql<{ reference: string }>`DELETE FROM pins WHERE repository = ?1 AND reference = ?2 RETURNING reference`;
const SELECT_PIN = sql`SELECT created_at FROM pins WHERE repository = ?1 AND reference = ?2`;

/** Pins an image, which the node may not have yet. `now`: milliseconds since the epoch. */
export async function pin(
  node: Database,
  repository: RepositoryName,
  reference: Tag | Digest,
  now: number,
  by = BERTH_ITSELF,
): Promise<void> {
  await node.batch([
    [PIN, repository, reference, now],
    auditChanged('pin image', { ...ofRepository(repository), key: reference }, by, now),
  ]);
}

/** Removes a pin. Returns whether there was one. `now`: milliseconds since the epoch. */
export async function unpin(
  node: Database,
  repository: RepositoryName,
  reference: Tag | Digest,
  now: number,
  by = BERTH_ITSELF,
): Promise<boolean> {
  const { removed } = await node.batch({
    removed: [UNPIN, repository, reference],
    audit: auditChanged('unpin image', { ...ofRepository(repository), key: reference }, by, now),
  });
  return removed.length > 0;
}

/** Returns when the image was pinned, in milliseconds since the epoch; undefined if it is not. */
export async function pinnedAt(
  node: Database,
  repository: RepositoryName,
  reference: Tag | Digest,
): Promise<number | undefined> {
  return (await node.first<{ created_at: number }>(SELECT_PIN, repository, reference))?.created_at;
}
