/** Carries out a maintenance task as a step of a plan. */
import { BINDINGS } from '../../../support/bindings.ts';
import { HOST_NAMES, type Hosts } from '../../../support/hosts.ts';
import { type Operation, type Work } from './operations.ts';
import {
  collectCentral,
  collectNode,
  collectTombstones,
  evict,
  openRun,
  removeAppliedChanges,
  removeExpired,
  sweep,
} from '../../../support/maintenance.ts';

const HOUR = 3_600_000;

/** Enough turns for a run to go on until nothing is due. */
export const ALL_TURNS = 100;

export async function carryOutWork(work: Work, hosts: Hosts, now: () => number): Promise<void> {
  const stores = { central: hosts.central.store, nodes: hosts.nodes.map(({ store }) => store) };
  const mayGoOn = turnsLeft('turns' in work ? work.turns : ALL_TURNS);
  const context = openRun({ ...stores, now }, { mayGoOn });
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
      for (const { store } of hosts.all) await removeExpired(context, store);
      return;
    case 'change log':
      return removeAppliedChanges(context);
  }
}

/** Makes a task due now. Otherwise hours would lie between its rounds. */
export async function makeDue(work: Work): Promise<void> {
  const stores = 'node' in work ? [work.node] : work.kind === 'tombstones' ? HOST_NAMES : (['central'] as const);
  await Promise.all(
    stores.map((store) => BINDINGS[store][0].prepare('UPDATE maintenance_tasks SET next_at = 0').run()),
  );
}

export function isWork(operation: Operation): operation is Work {
  switch (operation.kind) {
    case 'collect central':
    case 'collect node':
    case 'evict':
    case 'tombstones':
    case 'expired uploads':
    case 'change log':
      return true;
    default:
      return false;
  }
}

/** Returns a function that returns true for its first `turns` calls, and then false. */
export function turnsLeft(turns: number): () => boolean {
  let left = turns;
  return () => left-- > 0;
}
