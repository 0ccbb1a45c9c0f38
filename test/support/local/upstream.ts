/** A registry to import from and to mirror, in this process, which can misbehave. */
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { sha256 } from './push.ts';

export interface Document {
  readonly mediaType: string;
  readonly bytes: Buffer;
  readonly digest: string;
}

/** Answers instead of the upstream. @returns whether it did */
export type Misbehaviour = (request: IncomingMessage, response: ServerResponse) => boolean | Promise<boolean>;

export const OCI_IMAGE = 'application/vnd.oci.image.manifest.v1+json';
export const OCI_INDEX = 'application/vnd.oci.image.index.v1+json';
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

  hasBlob(digest: string): boolean {
    return this.#blobs.has(digest);
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
    if (pathname === '/v2/') return json(response, {});
    if (pathname === '/v2/_catalog') return json(response, { repositories: this.repositories });
    if (kind === 'blobs') return this.#sendBlob(request, response, name);
    if (documents === undefined) return json(response, { errors: [{ code: 'NAME_UNKNOWN' }] }, 404);
    if (kind === 'tags') {
      return json(response, { name: repository, tags: [...documents.keys()].filter((key) => !key.includes(':')) });
    }
    if (kind === 'referrers') return json(response, { schemaVersion: 2, manifests: referrersIn(documents, name) });
    const document = documents.get(name);
    if (document === undefined) return json(response, { errors: [{ code: 'MANIFEST_UNKNOWN' }] }, 404);
    response.writeHead(200, {
      'Content-Type': document.mediaType,
      'Content-Length': document.bytes.byteLength,
      'Docker-Content-Digest': document.digest,
    });
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
    if (request.method === 'GET') this.sent.set(digest, (this.sent.get(digest) ?? 0) + part.byteLength);
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
