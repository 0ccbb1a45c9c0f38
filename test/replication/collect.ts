/**
 * Collects at central as far as its promises allow: blobs that no live manifest of a linking repository references and
 * whose lease is over, while no node has an old outbox entry. Rows are deleted first, objects after.
 */
import { env } from 'cloudflare:workers';
import { outboxDepth } from '../../src/stores/outbox-rows.ts';
import { GRACE } from '../support/fixture.ts';
import type { Hosts } from '../support/hosts.ts';
import type { Content } from './content.ts';

const COLLECT = `
  DELETE FROM locations WHERE store = 'central' AND digest IN (SELECT value FROM json_each(?1))
    AND lease_until < CAST(?2 AS INTEGER)
    AND NOT EXISTS (SELECT 1 FROM links k JOIN manifest_references r ON r.repository = k.repository
      AND r.digest = k.digest
      JOIN manifests m ON m.repository = r.repository AND m.digest = r.manifest
      WHERE k.digest = locations.digest AND m.created_version > m.deleted_version)
  RETURNING key`;

export async function collectAtCentral({ nodes, central, now }: Hosts, { blobs }: Content): Promise<void> {
  for (const { store, skew } of nodes) {
    // A node that does not answer stops the collection.
    const { oldest } = await outboxDepth(store.database).catch(() => ({ oldest: 0 }));
    if (oldest !== null && oldest - skew <= now - GRACE / 2) return;
  }
  const digests = JSON.stringify(blobs.map(({ digest }) => digest));
  const { results } = await env.DB_CENTRAL.prepare(COLLECT)
    .bind(digests, now + central.skew)
    .all<{ key: string }>();
  if (results.length > 0) await env.BLOBS_CENTRAL.delete(results.map(({ key }) => key));
}
