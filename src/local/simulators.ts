/**
 * Runs Berth on Cloudflare's embedded simulators (miniflare, workerd), for `npm start` and for every test that uses
 * HTTP. It is one process, and listens on loopback only. A request selects its namespace by the port, or on any port by
 * the host: `index.localhost` is central, and `index.<node>.localhost` is a node.
 */
import { randomBytes, randomInt } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { convertV4MiniflareOptions, Miniflare } from 'miniflare';
import { EACH_MINUTE } from '../maintenance/triggers.ts';
import { prepareDatabases } from './databases.ts';
import { type LogFile, openLog } from './log-file.ts';
import { openStateFolder, SECRETS } from './state-folder.ts';

export interface LocalOptions {
  /** Central's port. The nodes of wrangler.toml's top level get the next ports, in their order. */
  readonly port: number;
  /** The folder for databases, buckets, secrets and the log. */
  readonly stateDir: string;
  /** Variables that replace those of wrangler.toml. */
  readonly vars?: Readonly<Record<string, JsonValue>>;
  /** Fields of the variable REGISTRY that replace those of wrangler.toml. */
  readonly registry?: Readonly<Record<string, JsonValue>>;
  /** Names of nodes to add to those of wrangler.toml. */
  readonly moreNodes?: readonly string[];
  /** Whether to add the users of `development-users.ts`; true by default. */
  readonly developmentUsers?: boolean;
  /**
   * A module to use as the Worker instead of `src/local/worker.ts`. It must export everything that `src/index.ts` does.
   */
  readonly entryPoint?: string;
  /** The port of workerd's inspector, which is off by default. */
  readonly inspectorPort?: number;
}

export interface LocalHost {
  /** `central`, or the name of a node. */
  readonly name: string;
  readonly url: string;
  readonly port: number;
  /** The host name that selects this namespace on every port. */
  readonly alias: string;
}

export interface LocalRegistry {
  /** Central's URL. */
  readonly url: string;
  /** The hosts, with central first. */
  readonly hosts: readonly LocalHost[];
  /** The console, at the port after the last node's. */
  readonly console: LocalHost;
  readonly logFile: string;
  readonly log: LogFile;
  /** A warning to show to the user, if any. */
  readonly warning: string | undefined;
  /** Fires a cron trigger, by default the one of each minute. The simulators never fire any themselves. */
  scheduled(cron?: string): Promise<void>;
  stop(): Promise<void>;
}

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const ENTRY_POINT = join(ROOT, 'src/local/worker.ts');
const LOOPBACK = '127.0.0.1';
const HIGHEST_PORT = 65_535;
const WORKER = 'berth';

export class PortInUse extends Error {
  override readonly name = 'PortInUse';
}

/** A registry that is built and configured, but not running. */
export interface BuiltRegistry {
  /** @throws PortInUse, OldState */
  start(): Promise<LocalRegistry>;
}

/** Builds and starts a local registry. @throws PortInUse, OldState */
export async function startLocalRegistry(options: LocalOptions): Promise<LocalRegistry> {
  return (await buildLocalRegistry(options)).start();
}

/** Builds a local registry. @throws esbuild's BuildFailure, whose message lists the errors */
export async function buildLocalRegistry(options: LocalOptions): Promise<BuiltRegistry> {
  const worker = withNodes(await workerOptions(), options.moreNodes ?? []);
  const hosts = localHosts(worker.bindings.REGISTRY, options.port);
  const console = consoleHost(options.port + hosts.length);
  const script = await bundle(options.entryPoint ?? ENTRY_POINT, [...hosts, console]);
  return { start: () => run(options, worker, hosts, console, script) };
}

async function run(
  options: LocalOptions,
  worker: WorkerOptions,
  hosts: readonly LocalHost[],
  console: LocalHost,
  script: string,
): Promise<LocalRegistry> {
  const all = [...hosts, console];
  const { port, vars = {}, registry = {}, developmentUsers = true, inspectorPort } = options;
  const stateDir = resolve(options.stateDir);
  for (const each of all) await requireFreePort(each, all);
  const warning = openStateFolder(stateDir);
  const logFile = join(stateDir, 'log.jsonl');
  const log = openLog(logFile);
  await prepareDatabases({ stateDir, databases: worker.d1Databases, developmentUsers, log });
  const bindings = {
    ...worker.bindings,
    REGISTRY: registryVar({ ...worker.bindings.REGISTRY, ...registry }, hosts, console),
    ...localSecrets(stateDir),
    ...vars,
  };
  const miniflare = new Miniflare(
    convertV4MiniflareOptions({
      host: LOOPBACK,
      port: 0,
      cf: false,
      resourcePersistencePath: stateDir,
      unsafeTriggerHandlers: true,
      logRequests: false,
      ...(inspectorPort !== undefined && { inspectorPort }),
      handleStructuredLogs: log.write,
      workers: [
        {
          ...worker,
          name: WORKER,
          modules: [{ type: 'ESModule', path: 'index.js', contents: script }],
          bindings,
          unsafeDirectSockets: all.map((each) => ({
            host: LOOPBACK,
            port: each.port,
            entrypoint: entrypointOf(each),
          })),
        },
      ],
    }),
  );
  const scheduled = async (cron = EACH_MINUTE): Promise<void> => {
    // Do not use miniflare's getWorker(): it blocks this process in a synchronous call, while workerd waits for this
    // process to read the log. Once the pipe between them is full, they would deadlock.
    const query = new URLSearchParams({ cron });
    const answer = await miniflare.dispatchFetch(`http://localhost/cdn-cgi/local/scheduled?${query}`);
    if (!answer.ok) throw new Error(`the scheduled handler answered ${answer.status}: ${await answer.text()}`);
    await answer.text();
  };
  const stop = async (): Promise<void> => {
    await miniflare.dispose();
    await log.end();
  };
  try {
    await miniflare.ready;
    // A node needs a copy of the control data before it can answer. This run brings it the first one.
    await scheduled();
  } catch (error) {
    await stop();
    throw error;
  }
  return { url: `http://localhost:${port}`, hosts, console, logFile, log, warning, scheduled, stop };
}

/** Returns a port that nothing listens on. */
export async function freePort(): Promise<number> {
  const [port = 0] = await freePorts(1);
  return port;
}

/** Returns consecutive ports that nothing listens on; by default as many as `npm start` uses. */
export async function freePorts(count = 4): Promise<number[]> {
  for (let attempt = 0; attempt < 1000; attempt++) {
    // Stay below the range that systems use for outgoing connections, which could take a port in the meantime.
    const ports = Array.from({ length: count }, (_, i) => i);
    const first = randomInt(20_000, 32_768 - count);
    const free = await Promise.all(ports.map((i) => isFree(first + i)));
    if (!free.includes(false)) return ports.map((i) => first + i);
  }
  throw new Error(`no ${count} consecutive ports are free`);
}

function isFree(port: number): Promise<boolean> {
  return new Promise((done) => {
    const server = createServer();
    server.on('error', () => done(false));
    server.listen(port, LOOPBACK, () => server.close(() => done(true)));
  });
}

/** @throws PortInUse */
async function requireFreePort({ name, port }: LocalHost, all: readonly LocalHost[]): Promise<void> {
  if (port <= HIGHEST_PORT && (await isFree(port))) return;
  const problem = port > HIGHEST_PORT ? 'does not exist' : 'is in use';
  const taken = `${all[0]?.port} to ${all.at(-1)?.port}`;
  throw new PortInUse(
    `port ${port} (${name}) ${problem}: Berth needs ${taken}; choose other ports with PORT=<first port>`,
  );
}

/**
 * Bundles the Worker into one module, as wrangler does, and adds an entry point for each port, so that the Worker knows
 * which port a request came in on.
 */
async function bundle(entryPoint: string, hosts: readonly LocalHost[]): Promise<string> {
  const from = JSON.stringify(entryPoint);
  const entries = hosts.map((each) => `export const ${entrypointOf(each)} = at('${each.port}');`);
  const contents = [
    `import worker from ${from};`,
    `export * from ${from};`,
    'export default worker;',
    'const at = (port) => worker.at?.(port) ?? worker;',
    ...entries,
  ].join('\n');
  const { outputFiles } = await build({
    stdin: { contents, resolveDir: ROOT },
    bundle: true,
    write: false,
    format: 'esm',
    target: 'es2024',
    platform: 'browser',
    conditions: ['workerd', 'worker', 'browser'],
    external: ['cloudflare:*', 'node:*'],
    logLevel: 'warning',
  });
  const [output] = outputFiles;
  if (output === undefined) throw new Error('the Worker could not be bundled');
  return output.text;
}

function entrypointOf({ port }: LocalHost): string {
  return `port${port}`;
}

/** The options of wrangler that Berth uses, because wrangler's own types are loose. */
interface WorkerOptions {
  readonly compatibilityDate: string;
  readonly compatibilityFlags: string[];
  readonly bindings: Record<string, JsonValue> & { readonly REGISTRY: RegistryVar };
  readonly d1Databases: Record<string, string>;
  readonly r2Buckets: Record<string, string>;
  readonly durableObjects: Record<string, { className: string; useSQLite: boolean }>;
  readonly ratelimits: Record<string, { namespace_id: string; simple: { limit: number; period: 10 | 60 } }>;
}

type JsonValue = string | number | boolean | null | JsonValue[] | { [key: string]: JsonValue };

/** Reads the bindings and compatibility settings of wrangler.toml's top level, in the form that the simulators take. */
async function workerOptions(): Promise<WorkerOptions> {
  // wrangler reads this when it is loaded. Otherwise it warns about missing secrets, which are set later.
  process.env['WRANGLER_LOG'] ??= 'error';
  const { unstable_getMiniflareWorkerOptions } = await import('wrangler');
  const { workerOptions: all } = unstable_getMiniflareWorkerOptions(join(ROOT, 'wrangler.toml'));
  const {
    compatibilityDate = '',
    compatibilityFlags = [],
    bindings = {},
    d1Databases = {},
    r2Buckets = {},
    durableObjects = {},
    ratelimits = {},
  } = all;
  return {
    compatibilityDate,
    compatibilityFlags,
    bindings,
    d1Databases,
    r2Buckets,
    durableObjects,
    ratelimits,
  } as WorkerOptions;
}

/** Adds nodes, each with a database and a bucket of its own. */
function withNodes(worker: WorkerOptions, names: readonly string[]): WorkerOptions {
  const { REGISTRY, ...bindings } = worker.bindings;
  const added = names.map((name) => ({ name, store: name, region: 'weur', hosts: [] }));
  const bound = (kind: string) => Object.fromEntries(names.map((name) => [`${kind}_${name.toUpperCase()}`, name]));
  return {
    ...worker,
    bindings: { ...bindings, REGISTRY: { ...REGISTRY, nodes: [...(REGISTRY.nodes ?? []), ...added] } },
    d1Databases: { ...worker.d1Databases, ...bound('DB') },
    r2Buckets: { ...worker.r2Buckets, ...bound('BLOBS') },
  };
}

type RegistryVar = {
  central: { [key: string]: JsonValue };
  nodes?: { name: string; [key: string]: JsonValue }[];
};

function localHosts({ nodes = [] }: RegistryVar, port: number): LocalHost[] {
  return ['central', ...nodes.map(({ name }) => name)].map((name, i) => ({
    name,
    url: `http://localhost:${port + i}`,
    port: port + i,
    alias: name === 'central' ? 'index.localhost' : `index.${name}.localhost`,
  }));
}

function consoleHost(port: number): LocalHost {
  const alias = 'console.localhost';
  return { name: 'console', url: `http://${alias}:${port}`, port, alias };
}

/** Serves each namespace at its port under any host name, and at its alias on any port. */
function registryVar(
  { central, nodes = [], ...rest }: RegistryVar,
  served: readonly LocalHost[],
  console: LocalHost,
): JsonValue {
  const [ofCentral = [], ...ofNodes] = served.map(({ alias, port }) => [alias, `:${port}`]);
  return {
    ...rest,
    console: { hosts: [console.alias, `:${console.port}`] },
    central: { ...central, hosts: ofCentral },
    nodes: nodes.map((node, i) => ({ ...node, hosts: ofNodes[i] ?? [] })),
  };
}

/** Returns the secrets of this state folder, which its first start generates. */
function localSecrets(stateDir: string): Record<string, string> {
  const file = join(stateDir, SECRETS);
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as Record<string, string>;
  } catch {
    const secrets = {
      SIGNING_KEY: randomBytes(32).toString('base64'),
      BOOTSTRAP_SECRET: randomBytes(32).toString('base64url'),
    };
    writeFileSync(file, JSON.stringify(secrets), { mode: 0o600 });
    return secrets;
  }
}
