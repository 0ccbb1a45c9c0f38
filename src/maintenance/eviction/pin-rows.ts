/** Pins: images that are never evicted from a node. A pin by tag is of what the tag names when something is evicted. */
import type { Digest } from '../../oci/digest.ts';
import type { RepositoryName, Tag } from '../../oci/reference.ts';
import { auditChanged, BERTH_ITSELF, ofRepository } from '../../stores/organizations/audit-rows.ts';
import { type Database, sql } from '../../stores/database.ts';

const PIN = sql`
  INSERT INTO pins (repository, reference, created_at) VALUES (?1, ?2, CAST(?3 AS INTEGER)) ON CONFLICT DO NOTHING`;
const UNPIN = sql<{ reference: string }>`DELETE FROM pins WHERE repository = ?1 AND reference = ?2 RETURNING reference`;
const SELECT_PIN = sql`SELECT created_at FROM pins WHERE repository = ?1 AND reference = ?2`;

/** The image may be there already or come later. `now`: milliseconds since the epoch. */
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

/** Answers whether there was one. */
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

/** When it was pinned, in milliseconds since the epoch; undefined where it is not. */
export async function pinnedAt(
  node: Database,
  repository: RepositoryName,
  reference: Tag | Digest,
): Promise<number | undefined> {
  return (await node.first<{ created_at: number }>(SELECT_PIN, repository, reference))?.created_at;
}
