/** A registry that answers the Worker's requests in its own isolate, in place of the network, and can misbehave. */
import { afterEach, beforeEach, vi } from 'vitest';
import { contentOf } from './registry-jobs.ts';
import type { Content, Document } from './registry-model.ts';

const IMAGE = 'application/vnd.oci.image.manifest.v1+json';
const INDEX = 'application/vnd.oci.image.index.v1+json';

export const UPSTREAM = 'https://upstream.example';

/** The most bytes that it sends at once. */
const PIECE_BYTES = 128 * 1024;

/**
 * Answers instead of the upstream; undefined to let it answer.
 * @param blob the content of the blob that is asked for, if it is one
 */
export type Answers = (
  request: Request,
  blob: Uint8Array<ArrayBuffer> | undefined,
) => Response | undefined | Promise<Response | undefined>;

const ITSELF: Answers = () => undefined;

export type { StubUpstream };

/** Replaces the network in every test of a file with an upstream, which is empty at first. */
export function stubUpstream(): StubUpstream {
  const upstream = new StubUpstream();
  beforeEach(() => upstream.begin());
  afterEach(() => {
    vi.unstubAllGlobals();
  });
  return upstream;
}

class StubUpstream {
  /** `<method> <path>` of every request, followed by the range if it asks for one: `bytes=0-99`. */
  readonly requests: string[] = [];
  readonly authorizations = new Set<string>();
  answers = ITSELF;
  /** Whether it deletes manifests. */
  deletes = true;
  /** Bytes of blobs that it has handed to the connection. */
  sent = 0;
  readonly #blobs = new Map<string, Uint8Array<ArrayBuffer>>();
  /** Blobs that clients have pushed, by `<repository>@<digest>`. */
  readonly #pushed = new Map<string, Uint8Array<ArrayBuffer>>();
  /** Unfinished uploads, by path. */
  readonly #uploads = new Map<string, Uint8Array<ArrayBuffer>>();
  /** By `<repository>:<tag>` and `<repository>@<digest>`. */
  readonly #manifests = new Map<string, Document>();

  /** Forgets everything, and answers all requests until `vi.unstubAllGlobals()`. None reaches the network. */
  begin(): void {
    for (const all of [this.authorizations, this.#blobs, this.#pushed, this.#uploads, this.#manifests]) all.clear();
    this.requests.length = 0;
    this.answers = ITSELF;
    this.deletes = true;
    this.sent = 0;
    vi.stubGlobal('fetch', (url: string | URL, init?: RequestInit) => this.#fetch(new Request(url, init)));
  }

  /** Adds an image of one layer. */
  async image(repository: string, tag: string, text = tag): Promise<Document> {
    const [config, layer] = [await this.blob(`config of ${text}`), await this.blob(`layer of ${text}`)];
    const describe = (mediaType: string, { digest, bytes }: Content) => ({ mediaType, digest, size: bytes.byteLength });
    return this.manifest(repository, tag, IMAGE, {
      config: describe('application/vnd.oci.image.config.v1+json', config),
      layers: [describe('application/vnd.oci.image.layer.v1.tar', layer)],
    });
  }

  /** Adds an index of images. */
  index(repository: string, tag: string, images: readonly Document[]): Promise<Document> {
    const manifests = images.map(({ mediaType, digest, bytes }) => ({ mediaType, digest, size: bytes.byteLength }));
    return this.manifest(repository, tag, INDEX, { manifests });
  }

  async blob(text: string | Uint8Array<ArrayBuffer>): Promise<Content> {
    const content = await contentOf(typeof text === 'string' ? Uint8Array.from(new TextEncoder().encode(text)) : text);
    this.#blobs.set(content.digest, content.bytes);
    return content;
  }

  async manifest(repository: string, tag: string, mediaType: string, fields: object): Promise<Document> {
    const text = JSON.stringify({ schemaVersion: 2, mediaType, ...fields });
    const content = await contentOf(Uint8Array.from(new TextEncoder().encode(text)));
    const document = { ...content, mediaType, blobs: [] };
    this.tag(repository, tag, document);
    this.#manifests.set(`${repository}@${document.digest}`, document);
    return document;
  }

  tag(repository: string, tag: string, document: Document): void {
    this.#manifests.set(`${repository}:${tag}`, document);
  }

  untag(repository: string, tag: string): void {
    this.#manifests.delete(`${repository}:${tag}`);
  }

  /** Returns the digest that a tag names. */
  tagged(repository: string, tag: string): string | undefined {
    return this.#manifests.get(`${repository}:${tag}`)?.digest;
  }

  hasManifest(repository: string, digest: string): boolean {
    return this.#manifests.has(`${repository}@${digest}`);
  }

  /** Returns the requests since the last call. */
  asked(): string[] {
    return this.requests.splice(0);
  }

  /** Returns the reads of blobs among the requests. */
  gets(): string[] {
    return this.requests.filter((each) => each.startsWith('GET') && each.includes('/blobs/'));
  }

  /** Sends the first bytes of every blob, and then nothing. */
  stalls(at: number): void {
    this.answers = ({ method }, content) =>
      method === 'GET' && content !== undefined
        ? new Response(this.stream(content, at, () => new Promise(() => undefined)))
        : undefined;
  }

  /**
   * Sends bytes as they are asked for.
   * @param breaksAt after this many, the connection breaks
   * @param breaks breaks the stream; by default with an error
   */
  stream(
    bytes: Uint8Array,
    breaksAt = Infinity,
    breaks = (controller: ReadableByteStreamController): Promise<never> | void =>
      controller.error(new Error('the connection broke')),
  ): ReadableStream<Uint8Array> {
    let at = 0;
    return new ReadableStream({
      type: 'bytes',
      pull: (controller: ReadableByteStreamController) => {
        const piece = bytes.slice(at, Math.min(at + PIECE_BYTES, breaksAt));
        if (at >= breaksAt) return breaks(controller);
        if (piece.byteLength === 0) {
          controller.close();
          controller.byobRequest?.respond(0);
          return;
        }
        at += piece.byteLength;
        this.sent += piece.byteLength;
        controller.enqueue(piece);
      },
    });
  }

  async #fetch(request: Request): Promise<Response> {
    const { pathname, origin } = new URL(request.url);
    const range = request.headers.get('range');
    const path = `${origin === UPSTREAM ? '' : origin}${pathname}`;
    this.requests.push([request.method, path, ...(range === null ? [] : [range])].join(' '));
    this.authorizations.add(request.headers.get('authorization') ?? '');
    const [, repository, kind, reference = ''] = /^\/v2\/(.+)\/(manifests|blobs)\/([^/]+)$/.exec(pathname) ?? [];
    const key = `${repository}${reference.includes(':') ? '@' : ':'}${reference}`;
    const blob = kind === 'blobs' ? (this.#blobs.get(reference) ?? this.#pushed.get(key)) : undefined;
    const answer = await this.answers(request, blob);
    if (answer !== undefined) return answer;
    const written = await this.#write(request, { repository, kind, key });
    if (written !== undefined) return written;
    const manifest = this.#manifests.get(key);
    if (kind === 'manifests' && manifest !== undefined) {
      const { mediaType, digest, bytes } = manifest;
      const headers = { 'Content-Type': mediaType, 'Docker-Content-Digest': digest };
      if (request.headers.get('if-none-match') === `"${digest}"`) return new Response(null, { status: 304, headers });
      return answerOf(request, bytes, headers);
    }
    if (blob !== undefined) return this.#blobOf(request, blob, range);
    return Response.json({ errors: [{ code: 'NOT_FOUND', message: 'there is no such thing' }] }, { status: 404 });
  }

  #blobOf({ method }: Request, blob: Uint8Array<ArrayBuffer>, range: string | null): Response {
    const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(range ?? '') ?? [];
    const [start, end] = from === undefined ? [0, blob.byteLength] : [Number(from), Number(to) + 1];
    const headers = {
      'Content-Length': String(end - start),
      ...(from === undefined ? {} : { 'Content-Range': `bytes ${start}-${end - 1}/${blob.byteLength}` }),
    };
    if (method === 'HEAD') return new Response(null, { headers });
    return new Response(this.stream(blob.subarray(start, end)), { status: from === undefined ? 200 : 206, headers });
  }

  /** Answers requests that change something; undefined for any other. */
  async #write(
    request: Request,
    { repository, kind, key }: { repository: string | undefined; kind: string | undefined; key: string },
  ): Promise<Response | undefined> {
    const { pathname, searchParams } = new URL(request.url);
    const [, target = ''] = /^\/v2\/(.+)\/blobs\/uploads\//.exec(pathname) ?? [];
    if (target !== '') return this.#upload(request, target, pathname, searchParams);
    if (kind !== 'manifests') return undefined;
    if (request.method === 'DELETE') {
      if (!this.deletes) return Response.json({ errors: [{ code: 'UNSUPPORTED' }] }, { status: 405 });
      return new Response(null, { status: this.#manifests.delete(key) ? 202 : 404 });
    }
    if (request.method !== 'PUT') return undefined;
    const content = await contentOf(new Uint8Array(await request.arrayBuffer()));
    const { config, layers = [], manifests = [] } = JSON.parse(new TextDecoder().decode(content.bytes)) as Named;
    const lacks = [...(config === undefined ? [] : [config]), ...layers].some(
      ({ digest }) => !this.#blobs.has(digest) && !this.#pushed.has(`${repository}@${digest}`),
    );
    if (lacks || manifests.some(({ digest }) => !this.#manifests.has(`${repository}@${digest}`)))
      return Response.json({ errors: [{ code: 'MANIFEST_BLOB_UNKNOWN' }] }, { status: 400 });
    const document = { ...content, mediaType: request.headers.get('content-type') ?? '', blobs: [] };
    for (const name of [key, `${repository}@${content.digest}`]) this.#manifests.set(name, document);
    return new Response(null, { status: 201, headers: { 'Docker-Content-Digest': content.digest } });
  }

  async #upload(request: Request, repository: string, path: string, query: URLSearchParams): Promise<Response> {
    const body = new Uint8Array(await request.arrayBuffer());
    if (request.method === 'POST') {
      const mounted = this.#pushed.get(`${query.get('from')}@${query.get('mount')}`);
      if (mounted !== undefined) {
        this.#pushed.set(`${repository}@${query.get('mount')}`, mounted);
        return new Response(null, { status: 201 });
      }
      const location = `${path}${this.requests.length}`;
      this.#uploads.set(location, body);
      return new Response(null, { status: 202, headers: { Location: location } });
    }
    const before = this.#uploads.get(path);
    if (before === undefined) return new Response(null, { status: 404 });
    const content = await contentOf(Uint8Array.from([...before, ...body]));
    this.#uploads.set(path, content.bytes);
    const headers = { Location: path, Range: `0-${Math.max(0, content.bytes.byteLength - 1)}` };
    if (request.method !== 'PUT') return new Response(null, { status: request.method === 'GET' ? 204 : 202, headers });
    this.#uploads.delete(path);
    if (content.digest !== query.get('digest')) return new Response(null, { status: 400 });
    this.#pushed.set(`${repository}@${content.digest}`, content.bytes);
    return new Response(null, { status: 201 });
  }
}

/** The references of a manifest. */
interface Named {
  readonly config?: { readonly digest: string };
  readonly layers?: readonly { readonly digest: string }[];
  readonly manifests?: readonly { readonly digest: string }[];
}

function answerOf({ method }: Request, bytes: Uint8Array<ArrayBuffer>, headers: Record<string, string>): Response {
  const length = { 'Content-Length': String(bytes.byteLength) };
  return new Response(method === 'HEAD' ? null : bytes, { headers: { ...length, ...headers } });
}
