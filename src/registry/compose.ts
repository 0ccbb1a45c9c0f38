/** The one place where bindings become stores, and stores a namespace's registry. */
import { bucketBinding, type Config, ConfigError, databaseBinding } from '../config.ts';
import type { Namespace, StoreName } from '../namespaces/namespace.ts';
import type { Digest } from '../oci/digest.ts';
import type { RepositoryName } from '../oci/reference.ts';
import { isolateBudget } from '../stores/buffer-budget.ts';
import { healthOf, type StoreHealth } from '../stores/health.ts';
import { ControlData } from '../stores/control-data.ts';
import { openStore, type Store } from '../stores/store.ts';
import type { Signer } from '../stores/upload-reference.ts';
import { FederatedRegistry } from './federated.ts';
import type { Registry } from './registry.ts';
import { StoredRegistry } from './stored.ts';

export interface Surroundings {
  readonly config: Config;
  /** The Worker's bindings, by name. */
  readonly env: object;
  readonly signer: Signer;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** Runs on after the response: `ctx.waitUntil`. */
  readonly defer: (work: Promise<unknown>) => void;
  readonly queues: Queues;
}

/** What requests tell the replication queues. Nobody waits for it: a queue that is not reached finds its work by itself. */
export interface Queues {
  wake(store: StoreName): void;
  fetchBlob(store: StoreName, repository: RepositoryName, digest: Digest): void;
}

export function composeRegistry(surroundings: Surroundings, namespace: Namespace): Registry {
  const { config, signer, now, defer, env, queues } = surroundings;
  const stores = new Map(config.stores.map((name) => [name, bindStore(env, name)]));
  const store = stores.get(namespace.store);
  const central = stores.get(config.central.store);
  if (store === undefined || central === undefined) throw new ConfigError(`${namespace.store}: no such store`);
  const options = {
    signer,
    now,
    defer,
    budget: isolateBudget,
    graceMilliseconds: config.graceMilliseconds,
    announces: namespace.kind === 'node',
    wake: () => queues.wake(store.name),
    storeOf: (name: StoreName) => stores.get(name),
  };
  if (namespace.kind === 'central') return new StoredRegistry(store, options);
  const replication = {
    fetchBlob: (repository: RepositoryName, digest: Digest) => queues.fetchBlob(store.name, repository, digest),
    wakeCentral: () => queues.wake(central.name),
  };
  return new FederatedRegistry(store, central, { ...options, replication });
}

/** A namespace's own copy of the control data, by which it decides. */
export function composeControlData(env: object, namespace: Namespace): ControlData {
  return new ControlData(bindStore(env, namespace.store).database);
}

/** Every store, for the work that no request does. */
export function composeStores(config: Config, env: object): Store[] {
  return config.stores.map((name) => bindStore(env, name));
}

/** Whether a namespace's own store answers, and has the schema: what its host stands and falls with. */
export function healthOfStore(env: object, { store }: Namespace): Promise<StoreHealth> {
  return healthOf(bindStore(env, store));
}

/** `parseConfig` has seen that the bindings are there. */
function bindStore(env: object, name: StoreName): Store {
  const bindings = env as Readonly<Record<string, unknown>>;
  return openStore(name, bindings[databaseBinding(name)] as D1Database, bindings[bucketBinding(name)] as R2Bucket);
}
