/** What the cron trigger does once a minute: in slices, so that a run stays short whatever has piled up. */
import { composeUploads, type Surroundings } from '../registry/compose.ts';

/** Upload sessions that one run removes from a store. */
const SESSIONS_PER_RUN = 100;

/** Removes expired upload sessions of every store. Answers how many. */
export async function maintain(surroundings: Surroundings): Promise<{ expiredUploads: number }> {
  const runs = await Promise.allSettled(composeUploads(surroundings).map((uploads) => uploads.removeExpired(SESSIONS_PER_RUN)));
  for (const run of runs) if (run.status === 'rejected') console.error(JSON.stringify({ maintenance: String(run.reason) }));
  return { expiredUploads: runs.reduce((sum, run) => sum + (run.status === 'fulfilled' ? run.value : 0), 0) };
}
