/**
 * Central and two nodes over HTTP: the Worker as deployed, except that tests run its queues, and can take databases,
 * buckets and queues away.
 */
import { env } from 'cloudflare:workers';
import type { Hono } from 'hono';
import { createApp } from '../../src/app.ts';
import { type Config, parseConfig } from '../../src/config.ts';
import type { AppEnv } from '../../src/http/context.ts';
import type { Digest } from '../../src/oci/digest.ts';
import type { RepositoryName } from '../../src/oci/reference.ts';
import { composeStores } from '../../src/registry/compose.ts';
import { Replicator } from '../../src/replication/replicator.ts';
import type { Store } from '../../src/stores/store.ts';
import { BINDINGS } from './bindings.ts';
import { basic, type CallOptions, HOST, type UserName, USERS } from './client.ts';
import { countD1, countR2, type Counts, noCounts } from './counting.ts';
import { type Call, type CallKind, type Fault, faulty } from './faults.ts';
import { bytesOf, contentDigest, type Image, imageOf } from './fixture.ts';
import { MemoryQueueState } from './memory-queue-state.ts';
import { Wire } from './wire.ts';

export const ORIGINS = {
  central: HOST,
  node1: 'http://registry.localhost:8788',
  node2: 'http://registry.localhost:8789',
} as const;
export type HostName = keyof typeof ORIGINS;
export type NodeName = Exclude<HostName, 'central'>;

/** The parts that a test can take away. */
export type Part = `${HostName} ${'D1' | 'R2'}` | 'queues';

const DATABASE_CALLS: ReadonlySet<CallKind> = new Set(['query', 'batch']);
const ALWAYS = (): boolean => true;
/** The time between reads of the change log when nothing changes, so that a node knows that it is up to date. */
const FRESH_MILLISECONDS = 60_000;

export interface Answered {
  readonly status: number;
  readonly headers: Headers;
  readonly bytes: Uint8Array;
  /** The code in an error body; undefined if there is none. */
  readonly code: string | undefined;
}

interface Queue {
  readonly state: MemoryQueueState;
  readonly replicator: Replicator;
  /** Central's work for the node when the queue last ran; undefined if the queue has to run in any case. */
  seen: string | undefined;
}

/** Changes with everything that the change log brings to nodes. */
const CHANGES = 'SELECT (SELECT max(position) FROM change_log) AS position, (SELECT max(changed) FROM usage) AS usage';
/** Whether a node has something to announce, or has not applied the change log. */
const IS_DUE = `SELECT EXISTS (SELECT 1 FROM outbox) OR NOT EXISTS (SELECT 1 FROM change_log_positions) AS due`;

export class ThreeHosts {
  /** Counts calls to each store by all hosts. */
  readonly counts: Readonly<Record<HostName, Counts>> = { central: noCounts(), node1: noCounts(), node2: noCounts() };
  readonly #app: Hono<AppEnv> = createApp();
  readonly #away = new Map<Part, 'fails' | 'stalls'>();
  readonly #env: Env;
  readonly #stores: ReadonlyMap<string, Store>;
  readonly #queues: ReadonlyMap<string, Queue>;

  private constructor(settings: object) {
    const unlimited = { limit: async () => ({ success: true }) };
    const queues = { idFromName: (name: string) => name, get: (name: string) => this.#stub(name) };
    const { central, node1, node2 } = this.counts;
    const counted = {
      DB_CENTRAL: countD1(env.DB_CENTRAL, central),
      DB_NODE1: countD1(env.DB_NODE1!, node1),
      DB_NODE2: countD1(env.DB_NODE2!, node2),
      BLOBS_CENTRAL: countR2(env.BLOBS_CENTRAL, central),
      BLOBS_NODE1: countR2(env.BLOBS_NODE1!, node1),
      BLOBS_NODE2: countR2(env.BLOBS_NODE2!, node2),
    };
    const REGISTRY = { ...env.REGISTRY, ...settings };
    const bindings = {
      ...env,
      ...counted,
      REGISTRY,
      CREDENTIAL_CHECKS: unlimited,
      ADDRESS_CHECKS: unlimited,
      REPLICATION_QUEUE: queues,
    };
    this.#env = faulty(bindings, (call) => this.#faultOf(call)) as unknown as Env;
    const config = parseConfig(this.#env);
    this.#stores = new Map(composeStores(config, this.#env).map((store) => [store.name, store]));
    this.#queues = new Map(config.nodes.map(({ store }) => [store, this.#newQueue(store, config)]));
  }

  /** Opens hosts without applying the change log. The stores may come from earlier hosts, which have applied it. */
  static async openWithoutApplying(settings: object = {}): Promise<ThreeHosts> {
    return new ThreeHosts(settings);
  }

  /**
   * Opens hosts whose nodes know the users of central's store. Add the users before.
   * @param settings values of REGISTRY, in addition to those of `wrangler.test.toml`
   */
  static async open(settings: object = {}): Promise<ThreeHosts> {
    const hosts = await ThreeHosts.openWithoutApplying(settings);
    await hosts.announce();
    return hosts;
  }

  takeAway(...parts: readonly Part[]): void {
    for (const part of parts) this.#away.set(part, 'fails');
  }

  /** Makes the calls of stores stall, for test files that let deadlines pass (stalled-calls.ts). */
  stall(...parts: readonly Exclude<Part, 'queues'>[]): void {
    for (const part of parts) this.#away.set(part, 'stalls');
  }

  giveBack(): void {
    this.#away.clear();
  }

  queueOf(node: NodeName): Queue {
    const queue = this.#queues.get(node);
    if (queue === undefined) throw new Error(`${node} has no queue`);
    return queue;
  }

  /**
   * Lets the queues apply the change log and announce, without copying bytes. A queue without work does not run: that
   * would take most of the time of many tests.
   */
  async announce(): Promise<void> {
    for (const [store, queue] of [...this.#queues, ...this.#queues]) {
      const [changes, isDue] = await Promise.all([
        env.DB_CENTRAL.prepare(CHANGES).first(),
        BINDINGS[store as NodeName][0].prepare(IS_DUE).first('due'),
      ]);
      const seen = `${JSON.stringify(changes)} ${Math.floor(Date.now() / FRESH_MILLISECONDS)}`;
      if (queue.seen === seen && isDue === 0) continue;
      const { replicator } = queue;
      replicator.expectChangeLog();
      replicator.wakeUp();
      await replicator.moveMetadata(ALWAYS);
      queue.seen = this.#away.size === 0 ? seen : undefined;
    }
  }

  /** Runs all queues until nothing is left to do. */
  async drain(): Promise<void> {
    await this.announce();
    for (const { replicator } of this.#queues.values()) await replicator.moveBytes(ALWAYS);
    await this.announce();
  }

  /** Waits for the response, and then for all work that was deferred until after it. */
  async fetch(request: Request): Promise<Response> {
    const deferred: Promise<unknown>[] = [];
    const context = {
      waitUntil: (work: Promise<unknown>) => void deferred.push(work.catch(() => undefined)),
      passThroughOnException: () => undefined,
      props: {},
    };
    const response = await this.#app.fetch(request, this.#env, context);
    const bytes = await response.arrayBuffer();
    await Promise.all(deferred);
    return new Response(response.body === null ? null : bytes, response);
  }

  /** Returns a connection to a host, whose requests {@link fetch} answers. */
  wireTo(host: HostName): Wire {
    return new Wire(ORIGINS[host], async (url, { method, headers, body = null }) => {
      const response = await this.fetch(new Request(url, { method, headers, body }));
      return {
        status: response.status,
        headers: response.headers,
        bytes: new Uint8Array(await response.arrayBuffer()),
      };
    });
  }

  /** Makes a request through {@link fetch}. */
  async call(host: HostName, method: string, path: string, options: Omit<CallOptions, 'host'> = {}): Promise<Answered> {
    const { as = 'alice', headers = {}, body = null } = options;
    const authorization = typeof as === 'string' ? basic(USERS[as]) : as.authorization;
    const url = path.startsWith('http') ? path : `${ORIGINS[host]}${path}`;
    const request = new Request(url, { method, body, headers: { ...headers, Authorization: authorization } });
    const response = await this.fetch(request);
    const bytes = new Uint8Array(await response.arrayBuffer());
    const isError = response.status >= 400 && bytes.byteLength > 0;
    const { errors } = isError
      ? (JSON.parse(new TextDecoder().decode(bytes)) as { errors: { code: string }[] })
      : { errors: [] };
    return { status: response.status, headers: response.headers, bytes, code: errors[0]?.code };
  }

  async putBlob(
    host: HostName,
    repository: string,
    content: Uint8Array<ArrayBuffer>,
    as: UserName = 'alice',
  ): Promise<Answered> {
    const digest = await contentDigest(content);
    return this.call(host, 'POST', `/v2/${repository}/blobs/uploads/?digest=${digest}`, { as, body: content });
  }

  putManifest(
    host: HostName,
    repository: string,
    reference: string,
    { bytes, manifest }: Image,
    as: UserName = 'alice',
  ): Promise<Answered> {
    const headers = { 'Content-Type': manifest.mediaType };
    return this.call(host, 'PUT', `/v2/${repository}/manifests/${reference}`, { as, headers, body: bytes });
  }

  /** Pushes an image of a config and a layer. @throws if an answer is not 201 */
  async push(host: HostName, repository: string, seed: number, tag: string, as: UserName = 'alice'): Promise<Image> {
    const contents = [bytesOf(seed, 30), bytesOf(seed + 1, 70)] as const;
    const [config, layer] = [await contentDigest(contents[0]), await contentDigest(contents[1])];
    const image = await imageOf(config, [layer]);
    for (const content of contents) requireCreated(await this.putBlob(host, repository, content, as));
    requireCreated(await this.putManifest(host, repository, tag, image, as));
    return image;
  }

  /** Removes a node's copies of blobs, as eviction does: the node's row, central's row of it, and the object. */
  async evict(node: NodeName, digests: readonly Digest[]): Promise<void> {
    const [database, bucket] = node === 'node1' ? [env.DB_NODE1!, env.BLOBS_NODE1!] : [env.DB_NODE2!, env.BLOBS_NODE2!];
    for (const digest of digests) {
      const row = database
        .prepare('DELETE FROM locations WHERE digest = ?1 AND store = ?2 RETURNING key')
        .bind(digest, node);
      const { results } = await row.all<{ key: string }>();
      await env.DB_CENTRAL.prepare('DELETE FROM locations WHERE digest = ?1 AND store = ?2').bind(digest, node).run();
      await bucket.delete(results.map(({ key }) => key));
    }
  }

  #faultOf({ store, kind, streams }: Call): Fault {
    const away = this.#away.get(`${store} ${DATABASE_CALLS.has(kind) ? 'D1' : 'R2'}` as Part);
    if (away === undefined) return 'ok';
    return away === 'stalls' && !streams ? 'stall' : 'before';
  }

  #newQueue(name: string, { graceMilliseconds, limits }: Config): Queue {
    const state = new MemoryQueueState();
    const [node, central] = [this.#store(name), this.#store('central')];
    const storeOf = (other: string): Store | undefined => this.#stores.get(other);
    const now = (): number => Date.now();
    return {
      state,
      seen: undefined,
      replicator: new Replicator({ node, central, now, graceMilliseconds, limits, state, storeOf, random: () => 0.5 }),
    };
  }

  #store(name: string): Store {
    const store = this.#stores.get(name);
    if (store === undefined) throw new Error(`there is no store ${name}`);
    return store;
  }

  /** Returns the stub that requests and other queues call. Bytes wait for {@link drain}, as they wait for the alarm. */
  #stub(name: string) {
    const reached = async (): Promise<Queue | undefined> => {
      if (this.#away.has('queues')) throw new Error('the Durable Object does not answer');
      return this.#queues.get(name);
    };
    return {
      wake: async () => {
        const queue = await reached();
        if (queue !== undefined) return queue.replicator.moveMetadata(ALWAYS);
        for (const each of this.#queues.values()) {
          each.replicator.expectChangeLog();
          await each.replicator.moveMetadata(ALWAYS);
        }
      },
      copyBlobsDown: async (_store: string, repository: RepositoryName, digests: readonly Digest[]) =>
        (await reached())?.replicator.addCopiesDown(repository, digests),
      parkedJobs: async (after: string, limit: number) => this.#queues.get(name)?.state.parkedJobs(after, limit) ?? [],
      jobs: async (ids: readonly string[]) => ids.map((id) => this.#queues.get(name)?.state.job(id)),
    };
  }
}

function requireCreated({ status, bytes }: Answered): void {
  if (status !== 201) throw new Error(`a push was answered with ${status}: ${new TextDecoder().decode(bytes)}`);
}
