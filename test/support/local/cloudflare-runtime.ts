/** The runtime of an imitated account: databases, buckets, and the Worker that was uploaded, in miniflare. */
import { randomUUID } from 'node:crypto';
import { convertV4MiniflareOptions, Miniflare } from 'miniflare';
import { removeFolder, temporaryFolder } from './server.ts';

/** A binding of an uploaded Worker, as wrangler sends it. */
export type Binding = { readonly name: string } & (
  | { readonly type: 'd1'; readonly id: string }
  | { readonly type: 'r2_bucket'; readonly bucket_name: string }
  | { readonly type: 'durable_object_namespace'; readonly class_name: string }
  | {
      readonly type: 'ratelimit';
      readonly namespace_id: string;
      readonly simple: { readonly limit: number; readonly period: 10 | 60 };
    }
  | { readonly type: 'analytics_engine'; readonly dataset: string }
  | { readonly type: 'json'; readonly json: unknown }
  | { readonly type: 'plain_text' | 'secret_text'; readonly text: string }
  | { readonly type: 'inherit' }
);

export interface UploadedWorker {
  readonly compatibilityDate: string;
  readonly script: string;
  readonly bindings: readonly Binding[];
}

export type LocalDatabase = Awaited<ReturnType<Miniflare['getD1Database']>>;

const DATABASES = 'databases';
const WORKER = 'berth';
/** The most databases that an account may create. */
const SPARE = 4;

export class Runtime {
  readonly #folder: string;
  readonly #miniflare: Miniflare;
  readonly #ids: readonly string[];
  #created = 0;

  private constructor(folder: string, ids: readonly string[]) {
    this.#folder = folder;
    this.#ids = ids;
    this.#miniflare = new Miniflare(convertV4MiniflareOptions(this.#options()));
  }

  static async start(): Promise<Runtime> {
    const runtime = new Runtime(
      await temporaryFolder(),
      Array.from({ length: SPARE }, () => randomUUID()),
    );
    await runtime.#miniflare.ready;
    return runtime;
  }

  /** Returns the id of a new database. */
  createDatabase(): string {
    const id = this.#ids[this.#created++];
    if (id === undefined) throw new Error(`an imitated account has at most ${SPARE} databases`);
    return id;
  }

  async database(id: string): Promise<LocalDatabase> {
    return this.#miniflare.getD1Database(`DB${this.#ids.indexOf(id)}`, DATABASES);
  }

  /** Serves a Worker in place of the previous one. @param secrets by their names */
  async serve(worker: UploadedWorker, secrets: ReadonlyMap<string, string>): Promise<void> {
    await this.#miniflare.setOptions(convertV4MiniflareOptions(this.#options(worker, secrets)));
  }

  /** Sends a request to the Worker, as if it had come to the host over HTTPS. */
  async fetch(url: URL, init: RequestInit = {}): Promise<Response> {
    const answer = await this.#miniflare.dispatchFetch(url, { ...init, redirect: 'manual' } as object);
    return answer as unknown as Response;
  }

  /** Fires the cron trigger. */
  async scheduled(): Promise<void> {
    const answer = await this.#miniflare.dispatchFetch('http://localhost/cdn-cgi/local/scheduled?cron=*+*+*+*+*');
    if (!answer.ok) throw new Error(`the scheduled handler answered ${answer.status}: ${await answer.text()}`);
  }

  async stop(): Promise<void> {
    await this.#miniflare.dispose();
    await removeFolder(this.#folder);
  }

  #options(worker?: UploadedWorker, secrets: ReadonlyMap<string, string> = new Map()) {
    const databases = {
      name: DATABASES,
      modules: [{ type: 'ESModule' as const, path: 'index.js', contents: 'export default {};' }],
      d1Databases: Object.fromEntries(this.#ids.map((id, i) => [`DB${i}`, id])),
    };
    return {
      host: '127.0.0.1',
      port: 0,
      cf: false as const,
      resourcePersistencePath: this.#folder,
      unsafeTriggerHandlers: true,
      logRequests: false,
      handleStructuredLogs: () => undefined,
      workers: worker === undefined ? [databases] : [workerOptions(worker, secrets), databases],
    };
  }
}

function workerOptions({ compatibilityDate, script, bindings }: UploadedWorker, secrets: ReadonlyMap<string, string>) {
  const of = <T extends Binding['type']>(type: T) =>
    bindings.filter((binding): binding is Extract<Binding, { type: T }> => binding.type === type);
  const named = <T extends { name: string }, V>(all: readonly T[], value: (binding: T) => V) =>
    Object.fromEntries(all.map((binding) => [binding.name, value(binding)]));
  return {
    name: WORKER,
    compatibilityDate,
    modules: [{ type: 'ESModule' as const, path: 'index.js', contents: script }],
    d1Databases: named(of('d1'), ({ id }) => id),
    r2Buckets: named(of('r2_bucket'), ({ bucket_name: name }) => name),
    durableObjects: named(of('durable_object_namespace'), ({ class_name: className }) => ({
      className,
      useSQLite: true,
    })),
    ratelimits: named(of('ratelimit'), ({ namespace_id, simple }) => ({ namespace_id, simple: { ...simple } })),
    analyticsEngineDatasets: named(of('analytics_engine'), ({ dataset }) => ({ dataset })),
    bindings: {
      ...named(of('json'), ({ json }) => json as string),
      ...named(of('plain_text'), ({ text }) => text),
      ...Object.fromEntries(secrets),
    },
  };
}
