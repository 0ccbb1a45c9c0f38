/**
 * Isolates over the same stores. Each operation runs in its own isolate, which can be stopped at any call to a store. A
 * stopped isolate makes no further calls and receives no answers, but calls that it has sent take effect. It may go on
 * later, or never.
 */
import { type HostName, HOST_NAMES, type Hosts, type NodeName, openHosts } from '../../../support/hosts.ts';
import { MemoryQueueState } from '../../../support/memory-queue-state.ts';
import { type Plan, type Stop } from './operations.ts';

/** Wraps the database of each host, to plant a mistake in its statements. */
export type Reach = (database: D1Database, name: HostName) => D1Database;

const NEVER = new Promise<never>(() => undefined);

/** The state that all isolates share. */
export class World {
  /** Milliseconds since the epoch. */
  now = Date.UTC(2026, 0, 2);
  /** Stores that may have changed since they were last looked at. */
  readonly touched = new Set<`${HostName} ${'database' | 'bucket'}`>();
  readonly #states: Readonly<Record<NodeName, MemoryQueueState>> = {
    node1: new MemoryQueueState(),
    node2: new MemoryQueueState(),
  };
  readonly #skews: Plan['skews'];
  readonly #reach: Reach;

  constructor(skews: Plan['skews'], reach: Reach) {
    this.#skews = skews;
    this.#reach = reach;
  }

  async isolate(stop: Stop | null = null, away: NodeName | null = null): Promise<Isolate> {
    const hosts = await openHosts({ reach: this.#reach, states: this.#states });
    Object.defineProperty(hosts, 'now', { get: () => this.now });
    const isolate = new Isolate(this, hosts, stop);
    for (const name of HOST_NAMES) {
      const host = hosts[name];
      host.skew = this.#skews[name];
      host.gate = (call, work) =>
        name === away ? Promise.reject(new Error(`${name} is away`)) : isolate.pass(name, call, work);
    }
    return isolate;
  }

  /** The time by a host's clock, in milliseconds since the epoch. */
  timeAt(host: HostName): number {
    return this.now + this.#skews[host];
  }

  stateOf(node: NodeName): MemoryQueueState {
    return this.#states[node];
  }
}

const BUCKET_CALLS: ReadonlySet<string> = new Set([
  'get',
  'head',
  'list',
  'put',
  'delete',
  'createMultipartUpload',
  'uploadPart',
  'complete',
  'abort',
]);
/** The longest wait for a body that may never end. */
const BODY_MILLISECONDS = 50;

const READS: ReadonlySet<string> = new Set(['get', 'head', 'list']);

export class Isolate {
  readonly hosts: Hosts;
  /** The number of calls to stores so far. */
  calls = 0;
  isKilled = false;
  readonly #world: World;
  readonly #stop: Stop | null;
  readonly #sent = new Set<Promise<unknown>>();
  #halted: Promise<void> | undefined;
  #wasHalted = false;
  #goOn: () => void = () => undefined;
  #tellStopped: () => void = () => undefined;
  /** Resolves once the isolate has stopped and all calls that it sent are done. */
  readonly stopped: Promise<void>;

  constructor(world: World, hosts: Hosts, stop: Stop | null) {
    this.#world = world;
    this.hosts = hosts;
    this.#stop = stop;
    this.stopped = new Promise((resolve) => (this.#tellStopped = resolve));
  }

  async pass<Result>(store: HostName, call: string, work: () => Promise<Result>): Promise<Result> {
    const at = this.calls++;
    if (this.isKilled) return NEVER;
    if (this.#halted === undefined && this.#stop?.call === at && this.#stop.at === 'before') this.#halt();
    await this.#halted;
    const sent = this.#send(store, call, work);
    if (this.#halted === undefined && this.#stop?.call === at && this.#stop.at === 'after') this.#halt();
    try {
      return await sent;
    } finally {
      await this.#halted;
    }
  }

  /** Whether the isolate is or was stopped, so that others may have run in between. */
  get wasHalted(): boolean {
    return this.#wasHalted;
  }

  get isHalted(): boolean {
    return this.#halted !== undefined;
  }

  /** Lets the isolate go on where it stopped. */
  resume(): void {
    this.#goOn();
    this.#halted = undefined;
  }

  kill(): void {
    this.isKilled = true;
  }

  #halt(): void {
    this.#wasHalted = true;
    this.#halted = new Promise((resolve) => (this.#goOn = resolve));
    const finishCalls = async (): Promise<void> => {
      // Calls that were sent are done before the stores are looked at. But a body may wait for a read that is stopped.
      const done = Promise.allSettled(this.#sent);
      await Promise.race([done, new Promise((resolve) => setTimeout(resolve, BODY_MILLISECONDS))]);
      this.#tellStopped();
    };
    void finishCalls();
  }

  async #send<Result>(store: HostName, call: string, work: () => Promise<Result>): Promise<Result> {
    if (!BUCKET_CALLS.has(call)) this.#world.touched.add(`${store} database`);
    else if (!READS.has(call)) this.#world.touched.add(`${store} bucket`);
    const sent = work();
    this.#sent.add(sent);
    try {
      return await sent;
    } finally {
      this.#sent.delete(sent);
    }
  }
}
