/** What the cron trigger does once a minute: in slices, so that a run stays short whatever has piled up. */
import type { Config } from '../config.ts';
import { composeStores } from '../registry/compose.ts';
import { removeExpiredUploads } from '../stores/expired-uploads.ts';

/**
 * Removes expired upload sessions of every store; a store that does not answer keeps none of the others waiting.
 * @param now milliseconds since the epoch
 */
export async function maintain(config: Config, env: object, now: number): Promise<{ expiredUploads: number }> {
  const runs = await Promise.allSettled(composeStores(config, env).map((store) => removeExpiredUploads(store, now)));
  for (const run of runs) if (run.status === 'rejected') console.error(JSON.stringify({ maintenance: String(run.reason) }));
  return { expiredUploads: runs.reduce((sum, run) => sum + (run.status === 'fulfilled' ? run.value : 0), 0) };
}
