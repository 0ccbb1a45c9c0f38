/** What the cron trigger does once a minute: in slices, so that a run stays short whatever has piled up. */
import type { Config } from '../config.ts';
import { composeStores } from '../registry/compose.ts';
import { deleteOldAudit } from '../stores/audit-rows.ts';
import { removeExpiredUploads } from '../stores/expired-uploads.ts';
import { deleteFollowedEntries } from '../stores/feed-rows.ts';
import type { Store } from '../stores/store.ts';
import { collectCentral } from './collect-central.ts';
import { collectNode } from './collect-node.ts';
import type { GcContext } from './context.ts';
import { evict } from './evict.ts';
import { collectTombstones } from './tombstones.ts';

const FEED_ENTRIES_PER_RUN = 10_000;
const AUDIT_ENTRIES_PER_RUN = 10_000;

/** How long a run goes on with what can wait for the next, in milliseconds. */
const RUN_MILLISECONDS = 25_000;

/**
 * Removes expired upload sessions of every store, and feed entries that every node has applied; then collects and evicts. A
 * store that does not answer keeps none of the others waiting.
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
  if (central !== undefined && config.collects) await collect(config, central, stores, now);
  return { expiredUploads, feedEntries, auditEntries };
}

async function collect(config: Config, central: Store, stores: readonly Store[], now: number): Promise<void> {
  const started = Date.now();
  const within = (milliseconds: number) => (): boolean => Date.now() < started + milliseconds;
  const nodes = stores.filter((store) => store !== central);
  const context: GcContext = {
    central,
    nodes,
    now: () => now + (Date.now() - started),
    graceMilliseconds: config.graceMilliseconds,
    mayGoOn: within(RUN_MILLISECONDS),
  };
  await sumOf([
    nothing(collectCentral(context)),
    nothing(collectTombstones(context)),
    ...nodes.map(async (node) => {
      const limits = config.evictionLimits.get(node.name);
      // What it leaves of the time is for the rest.
      if (limits !== undefined) await evict({ ...context, mayGoOn: within(RUN_MILLISECONDS / 2) }, node, limits);
      return nothing(collectNode(context, node));
    }),
  ]);
}

async function nothing(work: Promise<void>): Promise<number> {
  await work;
  return 0;
}

async function sumOf(work: readonly Promise<number>[]): Promise<number> {
  const runs = await Promise.allSettled(work);
  for (const run of runs) if (run.status === 'rejected') console.error(JSON.stringify({ maintenance: String(run.reason) }));
  return runs.reduce((sum, run) => sum + (run.status === 'fulfilled' ? run.value : 0), 0);
}
