/** What the cron trigger does once a minute: in slices, so that a run stays short whatever has piled up. */
import type { Config } from '../config.ts';
import { composeStores } from '../registry/compose.ts';
import { queueOf } from '../replication/durable-object.ts';
import { copyJob } from '../replication/machine.ts';
import { removeExpiredUploads } from '../stores/expired-uploads.ts';
import { deleteFollowedEntries } from '../stores/feed-rows.ts';
import type { Store } from '../stores/store.ts';
import { compareObjects } from './compare-objects.ts';
import type { GcContext } from './context.ts';
import { findWanted, type Mended, repair } from './repair.ts';
import { scrub } from './scrub.ts';

const FEED_ENTRIES_PER_RUN = 10_000;

/** No slice begins later in a run: the next one is due after a minute. */
const RUN_MILLISECONDS = 20_000;

/**
 * Removes expired upload sessions of every store, and feed entries that every node has applied; then looks after what lies in the stores. A store that does not answer keeps none of the others waiting.
 * @param now milliseconds since the epoch
 */
export async function maintain(
  config: Config,
  env: object,
  now: number,
): Promise<{ expiredUploads: number; feedEntries: number }> {
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
  if (central !== undefined) {
    const began = Date.now();
    const context: GcContext = {
      central,
      nodes: stores.filter((store) => store !== central),
      now: () => now,
      graceMilliseconds: config.graceMilliseconds,
      mayGoOn: () => Date.now() - began < RUN_MILLISECONDS,
    };
    const retryCopy: Mended = async (store, digest) => {
      if (store === central.name) return;
      // One that is not reached leaves the copy parked, which the queue's metrics show.
      await Promise.resolve(queueOf(env, config, store).retry(store, copyJob(digest))).catch((error: unknown) => {
        console.error(JSON.stringify({ queue: store, failed: 'retry', error: String(error) }));
      });
    };
    await sumOf(stores.map((store) => lookAfterObjects(context, store, config, retryCopy)));
  }
  return { expiredUploads, feedEntries };
}

/** What is damaged is mended before anything else is looked for. */
async function lookAfterObjects(context: GcContext, store: Store, config: Config, mended: Mended): Promise<number> {
  await repair(context, store, mended);
  await compareObjects(context, store, config.orphanMilliseconds);
  if (store === context.central) await findWanted(context);
  await scrub(context, store, config.scrubBytesPerDay);
  await repair(context, store, mended);
  return 1;
}

async function sumOf(work: readonly Promise<number>[]): Promise<number> {
  const runs = await Promise.allSettled(work);
  for (const run of runs) if (run.status === 'rejected') console.error(JSON.stringify({ maintenance: String(run.reason) }));
  return runs.reduce((sum, run) => sum + (run.status === 'fulfilled' ? run.value : 0), 0);
}
