/** What the cron trigger does once a minute: in slices, so that a run stays short whatever has piled up. */
import type { Config } from '../config.ts';
import { composeStores } from '../registry/compose.ts';
import { deleteOldAudit } from '../stores/audit-rows.ts';
import { removeExpiredUploads } from '../stores/expired-uploads.ts';
import { deleteFollowedEntries } from '../stores/feed-rows.ts';

const FEED_ENTRIES_PER_RUN = 10_000;
const AUDIT_ENTRIES_PER_RUN = 10_000;

/**
 * Removes expired upload sessions of every store, and feed entries that every node has applied; a store that does not answer keeps none of the others waiting.
 * @param now milliseconds since the epoch
 */
export async function maintain(
  config: Config,
  env: object,
  now: number,
): Promise<{ expiredUploads: number; feedEntries: number; auditEntries: number }> {
  const stores = composeStores(config, env);
  const central = stores.find(({ name }) => name === config.central.store);
  const expiredUploads = await sumOf(stores.map((store) => removeExpiredUploads(store, now)));
  const feedEntries = await sumOf(
    central === undefined
      ? []
      : [
          deleteFollowedEntries(
            central.database,
            [...new Set(config.nodes.map(({ store }) => store))],
            now - config.graceMilliseconds,
            FEED_ENTRIES_PER_RUN,
          ),
        ],
  );
  const auditEntries = await sumOf(
    stores.map(({ database }) => deleteOldAudit(database, now - config.auditMilliseconds, AUDIT_ENTRIES_PER_RUN)),
  );
  return { expiredUploads, feedEntries, auditEntries };
}

async function sumOf(work: readonly Promise<number>[]): Promise<number> {
  const runs = await Promise.allSettled(work);
  for (const run of runs) if (run.status === 'rejected') console.error(JSON.stringify({ maintenance: String(run.reason) }));
  return runs.reduce((sum, run) => sum + (run.status === 'fulfilled' ? run.value : 0), 0);
}
