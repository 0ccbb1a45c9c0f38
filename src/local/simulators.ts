/**
 * Berth on Cloudflare's embedded simulators (miniflare, workerd): what `npm start` runs, and every test that speaks
 * HTTP. One process, listening on loopback alone. The port picks the namespace, or the name on any of the ports does:
 * `index.localhost` is central, `index.<node>.localhost` a node.
 */
import { randomBytes, randomInt } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { convertV4MiniflareOptions, Miniflare } from 'miniflare';
import { prepareDatabases } from './databases.ts';
import { type LogFile, openLog } from './log-file.ts';
import { openStateFolder, SECRETS } from './state-folder.ts';

export interface LocalOptions {
  /** Central's. The nodes of wrangler.toml's top level have the next ones, in their order. */
  readonly port: number;
  /** Holds databases, buckets, secrets and the log. */
  readonly stateDir: string;
  /** Replaces variables of wrangler.toml. */
  readonly vars?: Readonly<Record<string, JsonValue>>;
  /** Whether the users of `development-users.ts` exist. */
  readonly developmentUsers?: boolean;
  /** A module that is the Worker instead of `src/local/worker.ts`, and exports all that `src/index.ts` does. */
  readonly entryPoint?: string;
  /** Where workerd's inspector listens; nowhere unless told. */
  readonly inspectorPort?: number;
}

export interface LocalHost {
  /** `central`, or a node's. */
  readonly name: string;
  readonly url: string;
  readonly port: number;
  /** The host name at which it is served on every port. */
  readonly alias: string;
}

export interface LocalRegistry {
  /** Central's. */
  readonly url: string;
  /** Central first. */
  readonly hosts: readonly LocalHost[];
  readonly logFile: string;
  readonly log: LogFile;
  /** What the user is to be told, if anything is amiss. */
  readonly warning: string | undefined;
  /** Fires the cron trigger, which the simulators never do by themselves. */
  scheduled(): Promise<void>;
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

/** A registry whose Worker is built and whose configuration is read. Nothing runs yet. */
export interface BuiltRegistry {
  /** @throws PortInUse, OldState */
  start(): Promise<LocalRegistry>;
}

/** @throws PortInUse, OldState */
export async function startLocalRegistry(options: LocalOptions): Promise<LocalRegistry> {
  return (await buildLocalRegistry(options)).start();
}

/** @throws BuildFailure of esbuild, whose message has the errors */
export async function buildLocalRegistry(options: LocalOptions): Promise<BuiltRegistry> {
  const worker = await workerOptions();
  const hosts = localHosts(worker.bindings.REGISTRY, options.port);
  const script = await bundle(options.entryPoint ?? ENTRY_POINT, hosts);
  return { start: () => run(options, worker, hosts, script) };
}

async function run(
  options: LocalOptions,
  worker: WorkerOptions,
  hosts: readonly LocalHost[],
  script: string,
): Promise<LocalRegistry> {
  const { port, vars = {}, developmentUsers = true, inspectorPort } = options;
  const stateDir = resolve(options.stateDir);
  for (const each of hosts) await requireFreePort(each, hosts);
  const warning = openStateFolder(stateDir);
  const logFile = join(stateDir, 'log.jsonl');
  const log = openLog(logFile);
  await prepareDatabases({ stateDir, databases: worker.d1Databases, developmentUsers, log });
  const bindings = {
    ...worker.bindings,
    REGISTRY: registryVar(worker.bindings.REGISTRY, hosts),
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
          unsafeDirectSockets: hosts.map((each) => ({
            host: LOOPBACK,
            port: each.port,
            entrypoint: entrypointOf(each),
          })),
        },
      ],
    }),
  );
  const scheduled = async (): Promise<void> => {
    // Miniflare's own getWorker() blocks this process in a synchronous call, and workerd waits for it to read the log:
    // neither would go on once the pipe between them is full.
    const answer = await miniflare.dispatchFetch('http://localhost/cdn-cgi/local/scheduled?cron=*+*+*+*+*');
    if (!answer.ok) throw new Error(`the scheduled handler answered ${answer.status}: ${await answer.text()}`);
    await answer.text();
  };
  const stop = async (): Promise<void> => {
    await miniflare.dispose();
    await log.end();
  };
  try {
    await miniflare.ready;
    // A node decides by its own copy of the control data, which this brings it for the first time.
    await scheduled();
  } catch (error) {
    await stop();
    throw error;
  }
  return { url: `http://localhost:${port}`, hosts, logFile, log, warning, scheduled, stop };
}

/** A port that nothing listens on now. */
export async function freePort(): Promise<number> {
  const [port = 0] = await freePorts(1);
  return port;
}

/** Consecutive ports that nothing listens on now: as many as `npm start` takes, unless told otherwise. */
export async function freePorts(count = 3): Promise<number[]> {
  for (let attempt = 0; attempt < 1000; attempt++) {
    // Below those from which systems take the ports of outgoing connections, which could come in between.
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
  throw new PortInUse(`port ${port} (${name}) ${problem}: Berth takes ${taken}; choose others with PORT=<first port>`);
}

/**
 * The Worker as one module, as wrangler bundles it; with an entry point for each port, which knows by it where a
 * request came in.
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

/** The part of wrangler's options that Berth uses: wrangler types all of them loosely. */
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

/** Bindings and compatibility of wrangler.toml's top level, as the simulators take them. */
async function workerOptions(): Promise<WorkerOptions> {
  // wrangler reads this when it is loaded, and warns of secrets that are set further down.
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

/** The same registry, with each namespace served at its port under any host name, and at its alias on any port. */
function registryVar({ central, nodes = [], ...rest }: RegistryVar, served: readonly LocalHost[]): JsonValue {
  const [ofCentral = [], ...ofNodes] = served.map(({ alias, port }) => [alias, `:${port}`]);
  return {
    ...rest,
    central: { ...central, hosts: ofCentral },
    nodes: nodes.map((node, i) => ({ ...node, hosts: ofNodes[i] ?? [] })),
  };
}

/** Secrets of this state alone, made at its first start. */
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
