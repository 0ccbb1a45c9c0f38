/**
 * Berth on Cloudflare's embedded simulators (miniflare, workerd): what `npm start` runs, and every test that speaks HTTP.
 * One process, listening on loopback alone; the port picks the namespace.
 */
import { randomBytes } from 'node:crypto';
import { createWriteStream, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { convertV4MiniflareOptions, Miniflare } from 'miniflare';
import { addDevelopmentUsers } from './development-users.ts';

export interface LocalOptions {
  readonly port: number;
  /** Holds databases, buckets, secrets and the log. */
  readonly stateDir: string;
  /** Replaces variables of wrangler.toml. */
  readonly vars?: Readonly<Record<string, JsonValue>>;
  /** Whether the users of `development-users.ts` exist. */
  readonly developmentUsers?: boolean;
}

export interface LocalRegistry {
  readonly url: string;
  readonly logFile: string;
  /** Fires the cron trigger, which the simulators never do by themselves. */
  scheduled(): Promise<void>;
  stop(): Promise<void>;
}

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const LOOPBACK = '127.0.0.1';
const WORKER = 'berth';

export class PortInUse extends Error {
  override readonly name = 'PortInUse';
}

/** @throws PortInUse */
export async function startLocalRegistry(options: LocalOptions): Promise<LocalRegistry> {
  const { port, vars = {}, developmentUsers = true } = options;
  const stateDir = resolve(options.stateDir);
  await requireFreePort(port);
  mkdirSync(stateDir, { recursive: true });
  const logFile = join(stateDir, 'log.jsonl');
  const log = createWriteStream(logFile, { flags: 'a' });
  const [script, worker] = await Promise.all([bundle(), workerOptions()]);
  const bindings = {
    ...worker.bindings,
    REGISTRY: registryVar(worker.bindings['REGISTRY'], port),
    ...localSecrets(stateDir),
    ...vars,
  };
  const miniflare = new Miniflare(
    convertV4MiniflareOptions({
      host: LOOPBACK,
      port: 0,
      cf: false,
      resourcePersistencePath: stateDir,
      handleStructuredLogs: ({ message }: { message: string }) => void log.write(`${message}\n`),
      workers: [
        {
          ...worker,
          name: WORKER,
          modules: [{ type: 'ESModule', path: 'index.js', contents: script }],
          bindings,
          unsafeDirectSockets: [{ host: LOOPBACK, port }],
        },
      ],
    }),
  );
  await miniflare.ready;
  for (const binding of Object.keys(worker.d1Databases)) {
    const database = await miniflare.getD1Database(binding, WORKER);
    await migrate(database);
    if (developmentUsers) await addDevelopmentUsers(database);
  }
  return {
    url: `http://localhost:${port}`,
    logFile,
    scheduled: async () => {
      await (await miniflare.getWorker(WORKER)).scheduled({ cron: '* * * * *' });
    },
    stop: async () => {
      await miniflare.dispose();
      await new Promise((done) => log.end(done));
    },
  };
}

/** A port that nothing listens on now. */
export async function freePort(): Promise<number> {
  return new Promise((done, fail) => {
    const server = createServer();
    server.on('error', fail);
    server.listen(0, LOOPBACK, () => {
      const address = server.address();
      server.close(() => (typeof address === 'object' && address !== null ? done(address.port) : fail(new Error('no port'))));
    });
  });
}

function requireFreePort(port: number): Promise<void> {
  return new Promise((done, fail) => {
    const server = createServer();
    server.on('error', () => fail(new PortInUse(`port ${port} is in use: choose another with PORT=<port>`)));
    server.listen(port, LOOPBACK, () => server.close(() => done()));
  });
}

/** The Worker as one module, as wrangler bundles it. */
export async function bundle(): Promise<string> {
  const { outputFiles } = await build({
    entryPoints: [join(ROOT, 'src/index.ts')],
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

/** The part of wrangler's options that Berth uses: wrangler types all of them loosely. */
interface WorkerOptions {
  readonly compatibilityDate: string;
  readonly compatibilityFlags: string[];
  readonly bindings: Record<string, JsonValue>;
  readonly d1Databases: Record<string, string>;
  readonly r2Buckets: Record<string, string>;
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
    ratelimits = {},
  } = all;
  return { compatibilityDate, compatibilityFlags, bindings, d1Databases, r2Buckets, ratelimits } as WorkerOptions;
}

/** The same registry, served at this port under any host name. */
function registryVar(configured: JsonValue | undefined, port: number): JsonValue {
  const { central, ...rest } = configured as { central: { [key: string]: JsonValue } };
  return { ...rest, central: { ...central, hosts: [`:${port}`] } };
}

/** Secrets of this state alone, made at its first start. */
function localSecrets(stateDir: string): Record<string, string> {
  const file = join(stateDir, 'secrets.json');
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as Record<string, string>;
  } catch {
    const secrets = { SIGNING_KEY: randomBytes(32).toString('base64'), BOOTSTRAP_SECRET: randomBytes(32).toString('base64url') };
    writeFileSync(file, JSON.stringify(secrets), { mode: 0o600 });
    return secrets;
  }
}

type LocalDatabase = Awaited<ReturnType<Miniflare['getD1Database']>>;

/** Applies what wrangler's `d1 migrations apply` would, and remembers it in the same table. */
async function migrate(database: LocalDatabase): Promise<void> {
  const { unstable_splitSqlQuery } = await import('wrangler');
  await database
    .prepare(
      'CREATE TABLE IF NOT EXISTS d1_migrations (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE, applied_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP NOT NULL)',
    )
    .run();
  const { results } = await database.prepare('SELECT name FROM d1_migrations').all<{ name: string }>();
  const applied = new Set(results.map(({ name }) => name));
  const folder = join(ROOT, 'src/stores/migrations');
  for (const name of (await readdir(folder)).filter((file) => file.endsWith('.sql')).toSorted()) {
    if (applied.has(name)) continue;
    const statements = unstable_splitSqlQuery(await readFile(join(folder, name), 'utf8'));
    const record = database.prepare('INSERT INTO d1_migrations (name) VALUES (?1)').bind(name);
    await database.batch([...statements.map((statement) => database.prepare(statement)), record]);
  }
}
