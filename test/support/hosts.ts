/**
 * Central and two nodes over the test's stores. The test drives the clocks and runs the queues, and every binding has a
 * gate.
 */
import { SigningKeys } from '../../src/auth/signing-keys.ts';
import type { Digest } from '../../src/oci/digest.ts';
import type { RepositoryName } from '../../src/oci/reference.ts';
import { CENTRAL_MILLISECONDS } from '../../src/registry/federated/central.ts';
import { LikelyKeys } from '../../src/registry/federated/likely-keys.ts';
import { federatedRegistry } from '../../src/registry/federated/registry.ts';
import type { Registry } from '../../src/registry/registry.ts';
import { StoredRegistry } from '../../src/registry/stored.ts';
import { Replicator } from '../../src/replication/replicator.ts';
import { DEFAULT_LIMITS } from '../../src/stores/organizations/limits.ts';
import { BufferBudget } from '../../src/stores/uploads/buffer-budget.ts';
import { openStore, type Store } from '../../src/stores/store.ts';
import { BINDINGS } from './bindings.ts';
import { countD1, countR2, type Counts, noCounts } from './counting.ts';
import { GRACE } from './fixture.ts';
import { type Gate, gateD1, gateR2, OPEN } from './links.ts';
import { MemoryQueueState } from './memory-queue-state.ts';

export const HOST_NAMES = ['central', 'node1', 'node2'] as const;
export type HostName = (typeof HOST_NAMES)[number];
export type NodeName = Exclude<HostName, 'central'>;

export interface Host {
  readonly name: HostName;
  readonly registry: Registry;
  readonly store: Store;
  /** Counts calls to this host's store by all hosts. */
  readonly counts: Counts;
  /** Every call to the store passes this gate. */
  gate: Gate;
  /** Milliseconds by which its clock is ahead. */
  skew: number;
}

export interface NodeHost extends Host {
  readonly name: NodeName;
  readonly state: MemoryQueueState;
  readonly queue: Replicator;
  /** Replaces the queue by a new one, which knows only what the old one has stored. */
  restartQueue(): void;
}

export interface Hosts {
  readonly central: Host;
  readonly node1: NodeHost;
  readonly node2: NodeHost;
  readonly all: readonly [Host, NodeHost, NodeHost];
  readonly nodes: readonly [NodeHost, NodeHost];
  /** Milliseconds since the epoch. Tests set it. */
  now: number;
  /** Waits for work deferred until after responses. */
  settled(): Promise<void>;
  /** Runs all queues until nothing is left to do. */
  drain(): Promise<void>;
}

const ALWAYS = (): boolean => true;

export interface HostsOptions {
  /** Wraps each database before the registries use it. */
  readonly reach?: (database: D1Database, name: HostName) => D1Database;
  /** Wraps each bucket, outside its gate. */
  readonly reachBucket?: (bucket: R2Bucket) => R2Bucket;
  /** Whether central's database has read replicas; false by default. */
  readonly centralHasReplicas?: boolean;
  /** The gate of calls to replicas; by default that of their store. */
  readonly gateOfReplicas?: Gate;
  /** The longest that a push waits for central, in milliseconds; by default as long as any request. */
  readonly pushWaitMilliseconds?: number;
  /** The queues' storage; empty by default. */
  readonly states?: Readonly<Record<NodeName, MemoryQueueState>>;
}

export async function openHosts({
  reach = (database) => database,
  reachBucket = (bucket) => bucket,
  centralHasReplicas = false,
  gateOfReplicas,
  pushWaitMilliseconds = CENTRAL_MILLISECONDS,
  states,
}: HostsOptions = {}): Promise<Hosts> {
  const signer = await SigningKeys.import([btoa('k'.repeat(32))]);
  let deferred: Promise<unknown>[] = [];
  const gates: Record<HostName, Gate> = { central: OPEN, node1: OPEN, node2: OPEN };
  const skews: Record<HostName, number> = { central: 0, node1: 0, node2: 0 };
  const counts = { central: noCounts(), node1: noCounts(), node2: noCounts() };
  const stores = new Map(
    HOST_NAMES.map((name) => {
      const gate: Gate = (call, work) => gates[name](call, work);
      const database = gateD1(countD1(reach(BINDINGS[name][0], name), counts[name]), gate, gateOfReplicas ?? gate);
      const bucket = reachBucket(gateR2(countR2(BINDINGS[name][1], counts[name]), gate));
      return [name, openStore(name, database, bucket)];
    }),
  );
  const storeOf = (name: string): Store | undefined => stores.get(name as HostName);
  const store = (name: HostName): Store => {
    const found = stores.get(name);
    if (found === undefined) throw new Error(`${name} has no store`);
    return found;
  };
  const random = (): number => 0.5;
  const timeOf = (name: HostName) => (): number => hosts.now + skews[name];
  const options = (name: HostName) => ({
    signer,
    budget: new BufferBudget(),
    graceMilliseconds: GRACE,
    limits: DEFAULT_LIMITS,
    now: timeOf(name),
    defer: (work: Promise<unknown>) => {
      // `settled` reports the failure. Until then it must not count as unhandled.
      work.catch(() => undefined);
      deferred.push(work);
    },
    announces: name !== 'central',
    wake: () => undefined,
    storeOf,
  });
  const host = (name: HostName, registry: Registry): Host => ({
    name,
    registry,
    store: store(name),
    counts: counts[name],
    get gate() {
      return gates[name];
    },
    set gate(gate) {
      gates[name] = gate;
    },
    get skew() {
      return skews[name];
    },
    set skew(skew) {
      skews[name] = skew;
    },
  });
  const node = (name: NodeName): NodeHost => {
    const state = states?.[name] ?? new MemoryQueueState();
    const newQueue = (): Replicator =>
      new Replicator({
        node: store(name),
        central: store('central'),
        now: timeOf(name),
        graceMilliseconds: GRACE,
        limits: DEFAULT_LIMITS,
        state,
        storeOf,
        random,
      });
    let queue = newQueue();
    const replication = {
      copyBlobDown: (repository: RepositoryName, digest: Digest) => queue.addCopiesDown(repository, [digest]),
      wakeCentral: () => undefined,
    };
    const registry = federatedRegistry(store(name), store('central'), {
      ...options(name),
      replication,
      centralHasReplicas,
      likelyKeys: new LikelyKeys(),
      pushWaitMilliseconds,
    });
    return Object.defineProperties(host(name, registry), {
      state: { value: state },
      queue: { get: () => queue },
      restartQueue: {
        value: () => {
          state.restart();
          queue = newQueue();
        },
      },
    }) as NodeHost;
  };
  const central = host('central', new StoredRegistry(store('central'), options('central')));
  const nodes = [node('node1'), node('node2')] as const;
  const hosts: Hosts = {
    now: Date.UTC(2026, 0, 2),
    central,
    node1: nodes[0],
    node2: nodes[1],
    all: [central, ...nodes],
    nodes,
    async settled() {
      const pending = deferred;
      deferred = [];
      await Promise.allSettled(pending);
      await Promise.all(pending);
    },
    async drain() {
      await hosts.settled();
      // Runs the queues twice, since each applies what the other announces.
      for (const { queue } of [...nodes, ...nodes]) {
        queue.expectChangeLog();
        queue.wakeUp();
        await queue.moveMetadata(ALWAYS);
        await queue.moveBytes(ALWAYS);
      }
      await hosts.settled();
    },
  };
  return hosts;
}
