/** Maintenance as operators see it: for each store, the state of its tasks and its counters. */
import type { Config } from '../config.ts';
import type { StoreName } from '../namespaces/namespace.ts';
import { composeStores } from '../registry/compose.ts';
import type { Database } from '../stores/database.ts';
import { forPage } from '../stores/deadline.ts';
import { type DamageShown, damageShown } from './integrity/scrub-rows.ts';
import { maintenanceCounters, type ShownTask, taskStates } from './task-rows.ts';
import { TASK_NAMES } from './tasks.ts';

export type { DamageShown, ShownTask };

export interface StoreMaintenance {
  readonly store: StoreName;
  /** Undefined if the store's database does not answer. */
  readonly known: { readonly tasks: readonly ShownTask[]; readonly counters: ReadonlyMap<string, number> } | undefined;
}

/** Returns the state of every store, central first. A task that has never run at a store is left out. */
export function maintenanceOf(config: Config, env: object): Promise<StoreMaintenance[]> {
  return ofStores(config, env, knownOf);
}

/** Does the same as {@link maintenanceOf} for a page of the console, which waits only a second for each store. */
export function maintenanceForPage(config: Config, env: object): Promise<StoreMaintenance[]> {
  return ofStores(config, env, (database) => forPage(knownOf(database)));
}

/** Returns the first damaged locations of all stores; undefined if central does not answer within a second. */
export function damageForPage(config: Config, env: object, limit: number): Promise<DamageShown[] | undefined> {
  const [central] = composeStores(config, env);
  return forPage(damageShown(central.database, limit));
}

function ofStores(
  config: Config,
  env: object,
  ask: (database: Database) => Promise<StoreMaintenance['known']>,
): Promise<StoreMaintenance[]> {
  return Promise.all(
    composeStores(config, env).map(async ({ name, database }) => ({
      store: name,
      known: await ask(database).catch(() => undefined),
    })),
  );
}

async function knownOf(database: Database): Promise<StoreMaintenance['known']> {
  const [states, counters] = await Promise.all([taskStates(database), maintenanceCounters(database)]);
  return { tasks: states.filter(({ task }) => TASK_NAMES.has(task)), counters };
}
