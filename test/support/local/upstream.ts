/** Registries to import from and to mirror: one in this process that can misbehave, and distribution's. */
import { type ChildProcess, spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { freePort } from '../../../src/local/simulators.ts';
import { type LocalImage, sha256 } from './push.ts';
import { until } from './server.ts';

export interface Document {
  readonly mediaType: string;
  readonly bytes: Buffer;
  readonly digest: string;
}

/** Answers instead of the upstream. @returns whether it did */
export type Misbehaviour = (request: IncomingMessage, response: ServerResponse) => boolean | Promise<boolean>;

const OCI_IMAGE = 'application/vnd.oci.image.manifest.v1+json';
const OCI_INDEX = 'application/vnd.oci.image.index.v1+json';
const OCI_CONFIG = 'application/vnd.oci.image.config.v1+json';
const OCI_LAYER = 'application/vnd.oci.image.layer.v1.tar';

export interface Described {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
}

export function sha512(content: Buffer): string {
  return `sha512:${createHash('sha512').update(content).digest('hex')}`;
}

/** A registry in this process, whose content is in memory. */
export class MemoryUpstream {
  readonly url: string;
  /** `<method> <path>` of every request. */
  readonly requests: string[] = [];
  /** Bytes that were sent of each blob. */
  readonly sent = new Map<string, number>();
  misbehaves: Misbehaviour = () => false;
  readonly #blobs = new Map<string, Buffer>();
  /** By repository, then by tag or digest. */
  readonly #documents = new Map<string, Map<string, Document>>();
  readonly #server: ReturnType<typeof createServer>;

  private constructor(server: ReturnType<typeof createServer>) {
    this.#server = server;
    this.url = `http://localhost:${(server.address() as AddressInfo).port}`;
    server.on('request', (request, response) => void this.#answer(request, response));
  }

  static async start(): Promise<MemoryUpstream> {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    return new MemoryUpstream(server);
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }

  get repositories(): string[] {
    return [...this.#documents.keys()].toSorted();
  }

  blob(content: Buffer, mediaType = OCI_LAYER, digest = sha256(content)): Described {
    this.#blobs.set(digest, content);
    return { mediaType, digest, size: content.byteLength };
  }

  /** Adds a manifest. @param references tags; its digest is added */
  document(
    repository: string,
    mediaType: string,
    fields: object,
    references: readonly string[],
    hash = sha256,
  ): Described {
    const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType, ...fields }));
    const document = { mediaType, bytes, digest: hash(bytes) };
    const documents = this.#documents.get(repository) ?? new Map<string, Document>();
    for (const reference of [...references, document.digest]) documents.set(reference, document);
    this.#documents.set(repository, documents);
    return { mediaType, digest: document.digest, size: bytes.byteLength };
  }

  /** Adds an image with layers of these sizes. */
  image(
    repository: string,
    tags: readonly string[],
    sizes: readonly number[] = [1000],
    fields: object = {},
  ): Described {
    const config = this.blob(randomBytes(100), OCI_CONFIG);
    const layers = sizes.map((size) => this.blob(randomBytes(size)));
    return this.document(repository, OCI_IMAGE, { config, layers, ...fields }, tags);
  }

  /** Adds an index with an image for each platform. */
  index(repository: string, tags: readonly string[], platforms: readonly string[]): Described {
    const manifests = platforms.map((platform) => {
      const [os, architecture] = platform.split('/');
      return { ...this.image(repository, []), platform: { os, architecture } };
    });
    return this.document(repository, OCI_INDEX, { manifests }, tags);
  }

  /** Returns the digests of all blobs, the largest first. */
  largestBlobs(): string[] {
    return [...this.#blobs].toSorted(([, a], [, b]) => b.byteLength - a.byteLength).map(([digest]) => digest);
  }

  /** Returns the digest of the first blob of this size. */
  digestOf(size: number): string {
    return [...this.#blobs].find(([, { byteLength }]) => byteLength === size)?.[0] ?? '';
  }

  content(digest: string): Buffer {
    return this.#blobs.get(digest) ?? Buffer.alloc(0);
  }

  documentsOf(repository: string): ReadonlyMap<string, Document> {
    return this.#documents.get(repository) ?? new Map<string, Document>();
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = '', url = '' } = request;
    this.requests.push(`${method} ${url}`);
    response.on('error', () => undefined);
    if (await this.misbehaves(request, response)) return;
    const { pathname } = new URL(url, this.url);
    const [, repository = '', kind, name = ''] =
      /^\/v2\/(.+)\/(manifests|blobs|tags|referrers)\/(.+)$/.exec(pathname) ?? [];
    const documents = this.#documents.get(repository);
    if (pathname === '/v2/_catalog') return json(response, { repositories: this.repositories });
    if (kind === 'blobs') return this.#sendBlob(request, response, name);
    if (documents === undefined) return json(response, { errors: [{ code: 'NAME_UNKNOWN' }] }, 404);
    if (kind === 'tags') {
      return json(response, { name: repository, tags: [...documents.keys()].filter((key) => !key.includes(':')) });
    }
    if (kind === 'referrers') return json(response, { schemaVersion: 2, manifests: referrersIn(documents, name) });
    const document = documents.get(name);
    if (document === undefined) return json(response, { errors: [{ code: 'MANIFEST_UNKNOWN' }] }, 404);
    response.writeHead(200, { 'Content-Type': document.mediaType, 'Docker-Content-Digest': document.digest });
    response.end(method === 'HEAD' ? undefined : document.bytes);
  }

  #sendBlob(request: IncomingMessage, response: ServerResponse, digest: string): void {
    const content = this.#blobs.get(digest);
    if (content === undefined) return json(response, { errors: [{ code: 'BLOB_UNKNOWN' }] }, 404);
    const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '') ?? [];
    const [start, end] = [Number(from ?? 0), Math.min(Number(to ?? content.byteLength - 1) + 1, content.byteLength)];
    const part = content.subarray(start, end);
    const range = { 'Content-Range': `bytes ${start}-${end - 1}/${content.byteLength}` };
    response.writeHead(from === undefined ? 200 : 206, {
      'Content-Length': part.byteLength,
      ...(from === undefined ? {} : range),
    });
    this.sent.set(digest, (this.sent.get(digest) ?? 0) + part.byteLength);
    response.end(part);
  }
}

export function json(response: ServerResponse, body: object, status = 200, headers: Record<string, string> = {}): void {
  response.writeHead(status, { 'Content-Type': 'application/json', ...headers });
  response.end(JSON.stringify(body));
}

function referrersIn(documents: ReadonlyMap<string, Document>, subject: string): Described[] {
  return [...documents].flatMap(([key, { mediaType, digest, bytes }]) => {
    const { subject: of } = JSON.parse(bytes.toString()) as { subject?: { digest: string } };
    return key === digest && of?.digest === subject ? [{ mediaType, digest, size: bytes.byteLength }] : [];
  });
}

export interface DebianRegistry {
  readonly url: string;
  push(repository: string, tag: string, image: LocalImage): Promise<void>;
  stop(): Promise<void>;
}

/** The login of a distribution that asks for one. */
export const UPSTREAM_LOGIN = { username: 'berth', password: 'upstream-secret' };
/** bcrypt of that password. */
const HTPASSWD = `${UPSTREAM_LOGIN.username}:$2b$05$abcdefghijklmnopqrstuuSqAR3pPlo4rbtmhwNAwn46SWCACBdZS\n`;

/** Starts Debian's docker-registry. @param folder keeps its content */
export function startDebianRegistry(folder: string): Promise<DebianRegistry> {
  return startDistribution('docker-registry', folder);
}

/** Starts a distribution. @param asksForLogin whether it shows nothing without {@link UPSTREAM_LOGIN} */
export async function startDistribution(
  program: string,
  folder: string,
  asksForLogin = false,
): Promise<DebianRegistry> {
  const port = await freePort();
  const passwords = join(folder, 'htpasswd');
  await writeFile(passwords, HTPASSWD);
  const config = {
    version: 0.1,
    log: { level: 'error' },
    storage: { filesystem: { rootdirectory: join(folder, 'content') } },
    http: { addr: `127.0.0.1:${port}` },
    validation: { manifests: { urls: { allow: ['.*'] } } },
    ...(asksForLogin && { auth: { htpasswd: { realm: 'upstream', path: passwords } } }),
  };
  const file = join(folder, 'config.yml');
  await writeFile(file, JSON.stringify(config));
  const env = { ...process.env, OTEL_TRACES_EXPORTER: 'none' };
  const child: ChildProcess = spawn(program, ['serve', file], { stdio: 'ignore', env });
  let failure: unknown;
  child.on('error', (error) => (failure = error));
  const ended = once(child, 'exit');
  const url = `http://localhost:${port}`;
  await until(async () => {
    if (failure !== undefined || child.exitCode !== null)
      throw new Error(`${program} does not run: install Debian’s docker-registry, or Go`, { cause: failure });
    return [200, 401].includes((await fetch(`${url}/v2/`).catch(() => undefined))?.status ?? 0);
  });
  const send = async (path: string, init: RequestInit): Promise<Response> => {
    const answer = await fetch(new URL(path, url), init);
    if (!answer.ok) throw new Error(`${path} was answered ${answer.status}: ${await answer.text()}`);
    return answer;
  };
  return {
    url,
    push: async (repository, tag, { blobs, manifest }) => {
      for (const blob of blobs) {
        const opened = await send(`/v2/${repository}/blobs/uploads/`, { method: 'POST' });
        const to = `${opened.headers.get('Location')}&digest=${sha256(blob)}`;
        await send(to, { method: 'PUT', body: new Uint8Array(blob) });
      }
      const headers = { 'Content-Type': OCI_IMAGE };
      await send(`/v2/${repository}/manifests/${tag}`, { method: 'PUT', headers, body: new Uint8Array(manifest) });
    },
    stop: async () => {
      child.kill();
      await ended;
    },
  };
}
