/** The only place that turns bindings into stores, and stores into a namespace's registry. */
import { bucketBinding, type Config, databaseBinding } from '../config.ts';
import type { Namespace, StoreName } from '../namespaces/namespace.ts';
import type { Digest } from '../oci/digest.ts';
import type { RepositoryName } from '../oci/reference.ts';
import { isolateBudget } from '../stores/uploads/buffer-budget.ts';
import { healthOf, type StoreHealth } from '../stores/health.ts';
import { joinedReads } from '../stores/joined-reads.ts';
import { ControlData } from '../stores/organizations/control-data.ts';
import { allMirrors, type Mirror } from '../stores/organizations/mirrors.ts';
import type { StatementMeter } from '../stores/statement-meter.ts';
import { openStore, type Store } from '../stores/store.ts';
import type { Signer } from '../stores/uploads/upload-reference.ts';
import { LikelyKeys } from './federated/likely-keys.ts';
import { federatedRegistry } from './federated/registry.ts';
import type { Upstreams } from './mirrored/upstreams.ts';
import { mirroredRegistry } from './mirrored/registry.ts';
import type { Registry } from './registry.ts';
import { StoredRegistry } from './stored.ts';

export interface Surroundings {
  readonly config: Config;
  /** The Worker's bindings, by name. */
  readonly env: object;
  readonly signer: Signer;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** Lets work continue after the response: `ctx.waitUntil`. */
  readonly defer: (work: Promise<unknown>) => void;
  readonly queues: Queues;
  /**
   * Where mirrors fetch from; set for requests only. If absent, {@link composeRegistry} returns the registry that
   * mirrors write into.
   */
  readonly upstreams?: Upstreams;
  /** Counts the statements of a registry that is used outside a request. */
  readonly meter?: StatementMeter;
}

/**
 * Messages from requests to the replication queues. Nobody waits for their delivery, because a queue that misses one
 * finds its work by itself.
 */
export interface Queues {
  wake(store: StoreName): void;
  copyBlobDown(store: StoreName, repository: RepositoryName, digest: Digest): void;
}

/** Central's keys are unique, so all nodes' registries of an isolate share them. */
const likelyKeys = new LikelyKeys();

/**
 * Composes a namespace's registry: over central's store alone, or over a node's store and central's; and above it, for
 * requests, the upstreams of mirrors.
 */
export function composeRegistry(surroundings: Surroundings, namespace: Namespace): Registry {
  const { upstreams, now } = surroundings;
  const beneath = composeStoredRegistry(surroundings, namespace);
  return upstreams === undefined ? beneath : mirroredRegistry({ beneath, upstreams, now });
}

function composeStoredRegistry(surroundings: Surroundings, namespace: Namespace): Registry {
  const { config, signer, now, defer, env, queues, meter } = surroundings;
  const open = (name: StoreName): Store => (meter === undefined ? bindStore(env, name) : openBound(env, name, meter));
  const [store, central] = [open(namespace.store), open(config.central.store)];
  const options = {
    signer,
    now,
    defer,
    budget: isolateBudget,
    graceMilliseconds: config.graceMilliseconds,
    limits: config.limits,
    announces: namespace.kind === 'node',
    wake: () => queues.wake(store.name),
    storeOf: (name: StoreName) => composeStore(config, env, name),
  };
  if (namespace.kind === 'central') return new StoredRegistry(store, options);
  const replication = {
    copyBlobDown: (repository: RepositoryName, digest: Digest) => queues.copyBlobDown(store.name, repository, digest),
    wakeCentral: () => queues.wake(central.name),
  };
  return federatedRegistry(store, central, {
    ...options,
    replication,
    centralHasReplicas: config.centralHasReplicas,
    likelyKeys,
    pushWaitMilliseconds: config.pushWaitMilliseconds,
  });
}

/** Returns the namespace's copy of the control data, on which it bases its decisions. */
export function composeControlData(env: object, { store }: Namespace, meter?: StatementMeter): ControlData {
  return new ControlData((meter === undefined ? bindStore(env, store) : openBound(env, store, meter)).database);
}

/** Returns the mirrors that a namespace's copy of the control data has. */
export function composeMirrorList(env: object, namespace: Namespace): Promise<readonly Mirror[]> {
  return allMirrors(bindStore(env, namespace.store).database);
}

/** Returns every store, central's first, for work that spans stores or runs outside a request. */
export function composeStores({ central, stores }: Config, env: object): [central: Store, ...nodes: Store[]] {
  const ofNodes = stores.filter((name) => name !== central.store);
  return [bindStore(env, central.store), ...ofNodes.map((name) => bindStore(env, name))];
}

/** Returns the store of that name; undefined if it is not configured. */
export function composeStore({ stores }: Config, env: object, name: StoreName): Store | undefined {
  return stores.includes(name) ? bindStore(env, name) : undefined;
}

/** Returns every store, for one invocation whose statements the meter counts. */
export function composeMeteredStores(config: Config, env: object, meter: StatementMeter): Store[] {
  return config.stores.map((name) => openBound(env, name, meter));
}

/** Checks whether the namespace's store answers and has the schema. Without both, its host cannot serve anything. */
export function healthOfStore(env: object, { store }: Namespace): Promise<StoreHealth> {
  return healthOf(bindStore(env, store));
}

/**
 * Returns bindings for one page of the console: {@link joinedReads} sends the page's concurrent reads of a store as one
 * batch.
 */
export function joinReads<Bindings extends object>({ stores }: Config, env: Bindings): Bindings {
  const bindings = env as Readonly<Record<string, unknown>>;
  const joined = stores.map((name) => {
    const binding = databaseBinding(name);
    return [binding, joinedReads(bindings[binding] as D1Database)] as const;
  });
  return { ...env, ...Object.fromEntries(joined) };
}

/** A store holds nothing but bindings, so an isolate opens each store once. */
const opened = new WeakMap<object, Map<StoreName, Store>>();

/** Opens a store. `parseConfig` has already checked that its bindings exist. */
function bindStore(env: object, name: StoreName): Store {
  const stores = opened.get(env) ?? new Map<StoreName, Store>();
  const known = stores.get(name);
  if (known !== undefined) return known;
  const store = openBound(env, name);
  opened.set(env, stores.set(name, store));
  return store;
}

function openBound(env: object, name: StoreName, meter?: StatementMeter): Store {
  const bindings = env as Readonly<Record<string, unknown>>;
  const [d1, r2] = [bindings[databaseBinding(name)], bindings[bucketBinding(name)]];
  return openStore(name, d1 as D1Database, r2 as R2Bucket, meter);
}
