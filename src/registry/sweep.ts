/**
 * Sweeping after a removal that a request made: a slice before the answer, which is all of a small repository, then the
 * rest.
 */
import { logFailure } from '../log.ts';
import type { Database } from '../stores/database.ts';
import type { RemovedName } from '../stores/deletion/removals.ts';
import { sweepSlice } from '../stores/deletion/sweep-rows.ts';

/** After a slice the store is left to everyone else for so many times as long as the slice took. */
const REST_TIMES = 5;

/**
 * How long the sweep goes on after the answer, in milliseconds: an invocation may for 30 s. Maintenance does the rest.
 */
const BACKGROUND_MILLISECONDS = 20_000;

/** The removal is made, and holds: what fails here is left to maintenance. */
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
  while (Date.now() < end) {
    await scheduler.wait(worked * REST_TIMES);
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
