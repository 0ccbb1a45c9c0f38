/**
 * Sweeps up after a request has removed a repository or an organization. The first slice, which covers a whole small
 * repository, is swept before the answer, and the rest after it.
 */
import { logFailure } from '../log.ts';
import type { Database } from '../stores/database.ts';
import type { RemovedName } from '../stores/deletion/removals.ts';
import { sweepSlice } from '../stores/deletion/sweep-rows.ts';

/** The pause after a slice, which leaves the store to others, as a multiple of the time that the slice took. */
const PAUSE_FACTOR = 5;

/**
 * The longest that the sweep goes on after the answer, in milliseconds. Cloudflare allows an invocation 30 s after its
 * response. Maintenance does the rest.
 */
const BACKGROUND_MILLISECONDS = 20_000;

/** The most slices of the sweep after the answer. Each takes 18 statements, and D1 may end a request after 1,000. */
const BACKGROUND_SLICES = 40;

/** Sweeps what a removal has hidden. The removal already holds, so maintenance can finish whatever fails here. */
export async function sweepAfterRemoval(
  database: Database,
  name: RemovedName,
  defer: (work: Promise<unknown>) => void,
): Promise<void> {
  const begun = Date.now();
  const hasMore = await tried(name, sweepSlice(database, name));
  if (hasMore) defer(tried(name, sweepOn(database, name, Date.now() - begun)));
}

async function sweepOn(database: Database, name: RemovedName, firstSlice: number): Promise<boolean> {
  const end = Date.now() + BACKGROUND_MILLISECONDS;
  let worked = firstSlice;
  for (let slices = 0; slices < BACKGROUND_SLICES && Date.now() < end; slices++) {
    await scheduler.wait(worked * PAUSE_FACTOR);
    const begun = Date.now();
    if (!(await sweepSlice(database, name))) return false;
    worked = Date.now() - begun;
  }
  return true;
}

async function tried(name: RemovedName, work: Promise<boolean>): Promise<boolean> {
  try {
    return await work;
  } catch (error) {
    logFailure({ sweep: name, error: String(error) });
    return false;
  }
}
