/** Work of the cron trigger, as a step of a plan. */
import { collectCentral } from '../../../../src/maintenance/collection/central.ts';
import { collectNode } from '../../../../src/maintenance/collection/node.ts';
import type { GcContext } from '../../../../src/maintenance/context.ts';
import { evict } from '../../../../src/maintenance/eviction/evict.ts';
import { sweep } from '../../../../src/maintenance/sweep.ts';
import { collectTombstones } from '../../../../src/maintenance/collection/tombstones.ts';
import { removeExpiredUploads } from '../../../../src/stores/uploads/expired-uploads.ts';
import { deleteFollowedEntries } from '../../../../src/stores/change-log-rows.ts';
import { BINDINGS } from '../../../support/bindings.ts';
import { GRACE } from '../../../support/fixture.ts';
import { HOST_NAMES, type Hosts } from '../../../support/hosts.ts';
import { NODES, type Operation, type Work } from './operations.ts';

const HOUR = 3_600_000;
const FEED_ENTRIES = 1000;

/** Turns of a run that goes on until nothing is due. */
export const ALL_TURNS = 100;

export async function carryOutWork(work: Work, hosts: Hosts, now: () => number): Promise<void> {
  const context: GcContext = {
    central: hosts.central.store,
    nodes: hosts.nodes.map(({ store }) => store),
    now,
    graceMilliseconds: GRACE,
    mayGoOn: turnsLeft('turns' in work ? work.turns : ALL_TURNS),
    rest: () => Promise.resolve(),
  };
  switch (work.kind) {
    case 'collect central':
      return collectCentral(context);
    case 'collect node':
      return collectNode(context, hosts[work.node].store);
    case 'evict': {
      const limits =
        work.by === 'bytes' ? { bytes: 0, idleMilliseconds: undefined } : { bytes: undefined, idleMilliseconds: HOUR };
      await evict(context, hosts[work.node].store, limits);
      return;
    }
    case 'tombstones':
      for (const { store } of hosts.all) await sweep(context, store);
      return collectTombstones(context);
    case 'expired uploads':
      for (const { store } of hosts.all) await removeExpiredUploads(store, now(), true);
      return;
    case 'feed':
      await deleteFollowedEntries(hosts.central.store.database, NODES, now() - GRACE, FEED_ENTRIES);
      return;
  }
}

/** Otherwise hours lie between the rounds of a task. */
export async function makeDue(work: Work): Promise<void> {
  const stores = 'node' in work ? [work.node] : work.kind === 'tombstones' ? HOST_NAMES : (['central'] as const);
  await Promise.all(stores.map((store) => BINDINGS[store][0].prepare('UPDATE maintenance_tasks SET next_at = 0').run()));
}

export function isWork(operation: Operation): operation is Work {
  switch (operation.kind) {
    case 'collect central':
    case 'collect node':
    case 'evict':
    case 'tombstones':
    case 'expired uploads':
    case 'feed':
      return true;
    default:
      return false;
  }
}

/** As many times. */
export function turnsLeft(turns: number): () => boolean {
  let left = turns;
  return () => left-- > 0;
}
