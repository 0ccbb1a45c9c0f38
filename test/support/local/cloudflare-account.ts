/**
 * An imitation of the parts of Cloudflare's API that `wrangler` calls to create, migrate and deploy a registry, as an
 * HTTP server on loopback. Paths and codes are those in the bundle of the wrangler that is installed, and the behaviour
 * is what Cloudflare's documentation and trackers report.
 */
import { createHash, randomBytes } from 'node:crypto';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { unstable_splitSqlQuery } from 'wrangler';
import { type Binding, Runtime } from './cloudflare-runtime.ts';

/**
 * How the query API splits a text into statements: at semicolons that end a line, or at any semicolon, which breaks
 * triggers. In the last case it keeps the statements before the one that fails.
 */
export type Splitter = 'line ends' | 'semicolons' | 'semicolons, without a transaction';

function splitAs(splitter: Splitter, sql: string): string[] {
  return sql
    .split(splitter === 'line ends' ? /;[ \t]*(?:\n|$)/ : /;/)
    .map((statement) => statement.trim())
    .filter((statement) => statement !== '');
}

class ApiError extends Error {
  readonly status: number;
  readonly code: number;

  constructor(status: number, code: number, message: string) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

/** A step that fails: before it has done anything, or after, so that only its answer is lost. */
export type Fault = 'before' | 'after';

interface Call {
  readonly method: string;
  readonly path: readonly string[];
  readonly query: URLSearchParams;
  readonly headers: Headers;
  readonly body: Buffer;
}

export class CloudflareAccount {
  readonly id = randomBytes(16).toString('hex');
  readonly splitter: Splitter;
  /** Databases by name, with their ids and location hints. */
  readonly databases = new Map<string, { readonly id: string; readonly location: string | undefined }>();
  readonly buckets = new Map<string, { readonly location: string | undefined }>();
  readonly secrets = new Map<string, string>();
  domains: readonly string[] = [];
  crons: readonly string[] = [];
  bindings: readonly Binding[] = [];
  /** The steps that were called, in order, without those that a fault ended. */
  readonly steps: string[] = [];
  /** Decides about each call whether it fails. */
  fault: (step: string) => Fault | undefined = () => undefined;
  readonly runtime: Runtime;
  readonly #server: Server;
  readonly #uploads = new Map<string, string>();
  readonly #imports = new Map<string, string>();
  #workerExists = false;

  private constructor(runtime: Runtime, splitter: Splitter) {
    this.runtime = runtime;
    this.splitter = splitter;
    this.#server = createServer((request, response) => {
      void this.#answer(request).then(({ status, body, headers }) => {
        response.writeHead(status, { 'Content-Type': 'application/json', ...headers }).end(JSON.stringify(body));
      });
    });
  }

  static async open(splitter: Splitter = 'line ends'): Promise<CloudflareAccount> {
    const account = new CloudflareAccount(await Runtime.start(), splitter);
    await new Promise<void>((done) => account.#server.listen(0, '127.0.0.1', done));
    return account;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((done) => this.#server.close(done));
    await this.runtime.stop();
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Returns the environment variables with which wrangler uses this account. */
  get environment(): NodeJS.ProcessEnv {
    return {
      CLOUDFLARE_API_BASE_URL: this.url,
      CLOUDFLARE_ACCOUNT_ID: this.id,
      CLOUDFLARE_API_TOKEN: 'a-token',
      WRANGLER_LOG: 'log',
      WRANGLER_SEND_METRICS: 'false',
      WRANGLER_SEND_ERROR_REPORTS: 'false',
    };
  }

  async #answer(
    request: IncomingMessage,
  ): Promise<{ status: number; body: unknown; headers?: Record<string, string> }> {
    const url = new URL(request.url ?? '/', 'http://localhost');
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const headers = new Headers(request.headers as Record<string, string>);
    const path = url.pathname.split('/').slice(1).map(decodeURIComponent);
    const call = {
      method: request.method ?? 'GET',
      path,
      query: url.searchParams,
      headers,
      body: Buffer.concat(chunks),
    };
    try {
      const step = stepOf(call);
      const fault = this.fault(step);
      const lost = new ApiError(400, 1000, `the imitation fails here: ${step}`);
      if (fault === 'before') throw lost;
      const result = await this.#call(call);
      if (fault === 'after') throw lost;
      this.steps.push(step);
      const etag = { ETag: `"${createHash('md5').update(call.body).digest('hex')}"` };
      return { status: 200, body: { success: true, errors: [], messages: [], result }, headers: etag };
    } catch (error) {
      const { status, code, message } = error instanceof ApiError ? error : new ApiError(500, 1, String(error));
      return { status, body: { success: false, errors: [{ code, message }], messages: [], result: null } };
    }
  }

  async #call(call: Call): Promise<unknown> {
    const { path } = call;
    if (path[0] === 'uploads') return void this.#uploads.set(path[1] ?? '', call.body.toString());
    if (path[0] !== 'accounts' || path[1] !== this.id) throw unknown(call);
    const [, , service, kind, ...rest] = path;
    if (service === 'd1' && kind === 'database') return this.#d1(call, rest);
    if (service === 'r2' && kind === 'buckets') return this.#r2(call, rest);
    if (service === 'workers' && rest[0] === 'berth') return this.#workers(call, [kind, ...rest.slice(1)].join('/'));
    throw unknown(call);
  }

  async #d1(call: Call, [id, action]: string[]): Promise<unknown> {
    const rows = [...this.databases].map(([name, { id: uuid }]) => ({ uuid, name }));
    if (call.method === 'GET') return call.query.get('page') === '1' ? rows : [];
    const body = json(call);
    if (id === undefined) {
      const { name, primary_location_hint: location } = body as { name: string; primary_location_hint?: string };
      if (this.databases.has(name)) throw new ApiError(400, 7502, `database with name '${name}' already exists`);
      const created = { id: this.runtime.createDatabase(), location };
      this.databases.set(name, created);
      return { uuid: created.id, name, created_in_region: location?.toUpperCase() };
    }
    if (!rows.some(({ uuid }) => uuid === id)) throw new ApiError(404, 7404, `the database ${id} could not be found`);
    if (action === 'query') return this.#query(id, splitAs(this.splitter, (body as { sql: string }).sql));
    if (action === 'import') return this.#import(id, body as { action: string; etag: string; filename: string });
    throw unknown(call);
  }

  async #query(id: string, all: readonly string[]): Promise<unknown> {
    if (this.splitter !== 'semicolons, without a transaction') return this.#run(id, all);
    const answers = [];
    for (const statement of all) answers.push(await this.#run(id, [statement]));
    return answers.flat();
  }

  /** Runs statements as one transaction. */
  async #run(id: string, all: readonly string[]): Promise<object[]> {
    const database = await this.runtime.database(id);
    try {
      const answers = await database.batch(all.map((statement) => database.prepare(statement)));
      return answers.map(({ results, meta }) => ({ results, success: true, meta }));
    } catch (error) {
      throw new ApiError(400, 7500, error instanceof Error ? error.message : String(error));
    }
  }

  async #import(id: string, { action, etag, filename }: { action: string; etag: string; filename: string }) {
    const answer = { success: true, type: 'import', messages: [], at_bookmark: id };
    if (action === 'init') return { ...answer, filename: `${etag}.sql`, upload_url: `${this.url}/uploads/${etag}.sql` };
    if (action === 'ingest') {
      const sql = this.#uploads.get(filename) ?? '';
      const failure = await this.#run(id, unstable_splitSqlQuery(sql)).then(
        () => '',
        (error: Error) => error.message,
      );
      this.#imports.set(id, failure);
      return { ...answer, status: 'active' };
    }
    const failure = this.#imports.get(id) ?? 'nothing is imported';
    if (failure !== '') return { ...answer, status: 'error', errors: [failure] };
    const meta = { duration: 1, rows_read: 0, rows_written: 0, size_after: 0 };
    return { ...answer, status: 'complete', result: { num_queries: 1, final_bookmark: id, meta } };
  }

  #r2(call: Call, [name = '', kind]: string[]): unknown {
    if (call.method === 'GET' && kind === 'lifecycle') {
      if (!this.buckets.has(name)) throw new ApiError(404, 10_006, 'The specified bucket does not exist.');
      return { rules: [] };
    }
    const body = json(call) as { name: string; locationHint?: string };
    if (call.method !== 'POST' || name !== '') throw unknown(call);
    if (this.buckets.has(body.name)) throw new ApiError(409, 10_004, 'The bucket you tried to create already exists.');
    this.buckets.set(body.name, { location: body.locationHint });
    return { name: body.name };
  }

  /** @param what the kind of resource of the Worker `berth`, and what it has */
  async #workers(call: Call, what: string): Promise<unknown> {
    if (call.method === 'PUT' && what === 'scripts') return this.#upload(call);
    if (!this.#workerExists) throw new ApiError(404, 10_007, 'This Worker does not exist on your account.');
    switch (`${call.method} ${what}`) {
      case 'GET services':
        return { default_environment: { environment: 'production', script: { tag: 'tag', tags: [] } } };
      case 'GET scripts/secrets':
        return [...this.secrets.keys()].map((name) => ({ name, type: 'secret_text' }));
      case 'PUT scripts/secrets': {
        const { name, text } = json(call) as { name: string; text: string };
        return void this.secrets.set(name, text);
      }
      case 'GET scripts/deployments':
        return { deployments: [] };
      case 'PATCH scripts/script-settings':
        return {};
      case 'GET workers':
        return { subdomain: { enabled: false, previews_enabled: false } };
      case 'POST scripts/subdomain':
        return json(call);
      case 'POST scripts/domains/changeset':
        return { added: [], removed: [], updated: [], conflicting: [] };
      case 'PUT scripts/domains/records':
        this.domains = (json(call) as { origins: { hostname: string }[] }).origins.map(({ hostname }) => hostname);
        return this.domains;
      case 'PUT scripts/schedules':
        this.crons = (json(call) as { cron: string }[]).map(({ cron }) => cron);
        return this.crons;
      default:
        throw unknown(call);
    }
  }

  async #upload(call: Call): Promise<unknown> {
    const type = call.headers.get('Content-Type') ?? '';
    const form = await new Response(new Uint8Array(call.body), { headers: { 'Content-Type': type } }).formData();
    const metadata = JSON.parse(await textOf(form.get('metadata'))) as {
      main_module: string;
      compatibility_date?: string;
      bindings: Binding[];
    };
    for (const binding of metadata.bindings) this.#requireResource(binding);
    const script = await textOf(form.get(metadata.main_module));
    this.#workerExists = true;
    this.bindings = metadata.bindings;
    if (metadata.compatibility_date !== undefined) {
      const { compatibility_date: compatibilityDate, bindings } = metadata;
      await this.runtime.serve({ compatibilityDate, script, bindings }, this.secrets);
    }
    return { id: 'berth', etag: 'etag', deployment_id: randomBytes(16).toString('hex'), startup_time_ms: 1 };
  }

  #requireResource(binding: Binding): void {
    if (binding.type === 'd1' && ![...this.databases.values()].some(({ id }) => id === binding.id))
      throw new ApiError(400, 10_021, `binding ${binding.name} of type d1 must have a valid \`id\` specified`);
    if (binding.type === 'r2_bucket' && !this.buckets.has(binding.bucket_name))
      throw new ApiError(400, 10_085, `R2 bucket '${binding.bucket_name}' not found.`);
    if (binding.type === 'inherit' && !this.secrets.has(binding.name))
      throw new ApiError(400, 10_057, `inherit binding '${binding.name}' is invalid`);
    if (binding.type === 'json' && Buffer.byteLength(JSON.stringify(binding.json)) > 5000)
      throw new ApiError(400, 10_054, `the variable ${binding.name} is larger than 5 KB`);
  }
}

/** Describes a call, without names that differ from run to run. */
function stepOf({ method, path, query, body }: Call): string {
  const action = /"action":"(\w+)"/.exec(body.toString())?.[1];
  const sql = /"sql":"(.{0,40})/.exec(body.toString())?.[1];
  const names = path.map((part) => part.replaceAll(/[0-9a-f-]{32,36}/g, '*').replace(/-[0-9a-z]{4}$/, '-*'));
  const page = query.get('page');
  return [method, names.join('/'), action, sql, page].filter((part) => part !== undefined && part !== null).join(' ');
}

function json({ body }: Call): unknown {
  return JSON.parse(body.toString());
}

async function textOf(part: FormDataEntryValue | null): Promise<string> {
  return part === null || typeof part === 'string' ? (part ?? '') : part.text();
}

function unknown({ method, path }: Call): ApiError {
  return new ApiError(404, 7003, `the imitation does not know ${method} ${path.join('/')}`);
}
