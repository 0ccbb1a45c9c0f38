/** The servers that rows need, each started on first use: Berth, Berth with counted bindings, and the floor. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { freePort, freePorts, type LocalOptions, startLocalRegistry } from '../../src/local/simulators.ts';
import { Client } from './client.ts';
import { Control } from './control.ts';
import { type Floor, REPOSITORY, startFloor } from './floor.ts';
import { connectInspector, type Inspector } from './inspector.ts';
import { closeConnections } from './http.ts';
import { workerdsOfThis } from './processes.ts';

/** Unlike the Worker of a local run, it looks for no header of a proxy on the same machine. */
const DEPLOYED_WORKER = fileURLToPath(new URL('../../src/index.ts', import.meta.url));
const COUNTED_WORKER = fileURLToPath(new URL('worker.js', import.meta.url));

/** As in `[env.production]` of wrangler.toml. */
const READS_PER_LOG_LINE = 20;

export interface Berth {
  readonly central: Client;
  readonly node1: Client;
  readonly node2: Client;
  /** Returns clients of another repository. */
  readonly clients: (repository: string) => Pick<Berth, 'central' | 'node1' | 'node2'>;
  /** Fires the cron trigger. */
  readonly scheduled: () => Promise<void>;
  readonly stop: () => Promise<void>;
}

export interface CountedBerth extends Berth {
  readonly control: Control;
  /** The port of the console. */
  readonly consolePort: number;
}

export interface Observed {
  readonly inspector: Inspector;
  /** Process id of workerd. */
  readonly pid: number;
}

export class Surroundings {
  /** `--tiny`: sizes that only show that rows work. The figures mean nothing. */
  readonly tiny: boolean;
  #folder: Promise<string> | undefined;
  #started = 0;
  readonly #running = new Set<() => Promise<void>>();
  #plain: Promise<Berth> | undefined;
  #counted: Promise<CountedBerth> | undefined;
  #floor: Promise<Floor> | undefined;

  constructor(tiny: boolean) {
    this.tiny = tiny;
  }

  /** Berth as it is deployed. */
  plain(): Promise<Berth> {
    this.#plain ??= this.#start({ entryPoint: DEPLOYED_WORKER });
    return this.#plain;
  }

  counted(): Promise<CountedBerth> {
    this.#counted ??= this.startCounted();
    return this.#counted;
  }

  floor(): Promise<Floor> {
    this.#floor ??= this.startFloor();
    return this.#floor;
  }

  async startFloor(): Promise<Floor> {
    const floor = await startFloor(await this.#stateDir());
    const stop = this.#onStop(() => floor.stop());
    return { port: floor.port, stop };
  }

  async startCounted(
    options: { readonly inspectorPort?: number; readonly nodes?: number } = {},
  ): Promise<CountedBerth> {
    const { nodes = 2, ...rest } = options;
    const moreNodes = Array.from({ length: nodes - 2 }, (_, i) => `node${i + 3}`);
    const berth = await this.#start({ entryPoint: COUNTED_WORKER, moreNodes, ...rest });
    const consolePort = berth.central.port + nodes + 1;
    return { ...berth, control: new Control(berth.central.port), consolePort };
  }

  /**
   * Starts a Berth that tells clients to send layers of up to 4 GiB whole, as a deployment without a limit on requests
   * does.
   */
  async startUnlimited(): Promise<Berth> {
    return this.#start({ registry: { chunk_max_mib: 4096 } });
  }

  /** Starts a Berth whose memory can be read. */
  async startObserved(): Promise<Berth & Observed> {
    return this.#observed((inspectorPort) => this.#start({ inspectorPort }));
  }

  async startCountedObserved(): Promise<CountedBerth & Observed> {
    return this.#observed((inspectorPort) => this.startCounted({ inspectorPort }));
  }

  async #observed<Started extends Berth>(
    start: (inspectorPort: number) => Promise<Started>,
  ): Promise<Started & Observed> {
    const before = new Set(await workerdsOfThis());
    const inspectorPort = await freePort();
    const berth = await start(inspectorPort);
    const pid = (await workerdsOfThis()).find((each) => !before.has(each));
    if (pid === undefined) throw new Error('no workerd was started');
    const inspector = await connectInspector(inspectorPort, berth.central.port);
    const stop = this.#onStop(async () => {
      inspector.close();
      await berth.stop();
    });
    return { ...berth, inspector, pid, stop };
  }

  async #start(options: Pick<LocalOptions, 'entryPoint' | 'inspectorPort' | 'moreNodes' | 'registry'>): Promise<Berth> {
    const [port = 0] = await freePorts(4 + (options.moreNodes?.length ?? 0));
    const registry = await startLocalRegistry({
      port,
      stateDir: await this.#stateDir(),
      ...options,
      registry: { reads_per_log_line: READS_PER_LOG_LINE, ...options.registry },
    });
    const clients = (repository: string) => ({
      central: new Client(port, repository),
      node1: new Client(port + 1, repository),
      node2: new Client(port + 2, repository),
    });
    return {
      ...clients(REPOSITORY),
      clients,
      scheduled: () => registry.scheduled(),
      stop: this.#onStop(() => registry.stop()),
    };
  }

  /** Stops everything, so that it is started anew for the next row: a failed row may have left anything behind. */
  async forget(): Promise<void> {
    for (const stop of this.#running) await stop();
    this.#plain = undefined;
    this.#counted = undefined;
    this.#floor = undefined;
  }

  async stop(): Promise<void> {
    closeConnections();
    await this.forget();
    if (this.#folder !== undefined) await rm(await this.#folder, { recursive: true, force: true });
  }

  /** Returns a function that stops it once. */
  #onStop(stop: () => Promise<void>): () => Promise<void> {
    const once = async (): Promise<void> => {
      if (this.#running.delete(once)) await stop();
    };
    this.#running.add(once);
    return once;
  }

  async #stateDir(): Promise<string> {
    this.#folder ??= mkdtemp(join(tmpdir(), 'berth-bench-'));
    return join(await this.#folder, String(this.#started++));
  }
}
