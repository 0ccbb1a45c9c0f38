/** A registry that answers the Worker's requests in its own isolate, in place of the network. */
import { vi } from 'vitest';
import { contentOf } from './registry-jobs.ts';
import type { Content, Document } from './registry-model.ts';

const IMAGE = 'application/vnd.oci.image.manifest.v1+json';
const INDEX = 'application/vnd.oci.image.index.v1+json';

export const UPSTREAM = 'https://upstream.example';

/** Answers instead of the upstream; undefined to let it answer. */
export type Answers = (request: Request) => Response | undefined | Promise<Response | undefined>;

export class StubUpstream {
  /** `<method> <path>` of every request. */
  readonly requests: string[] = [];
  readonly authorizations = new Set<string>();
  answers: Answers = () => undefined;
  readonly #blobs = new Map<string, Uint8Array<ArrayBuffer>>();
  /** By `<repository>:<tag>` and `<repository>@<digest>`. */
  readonly #manifests = new Map<string, Document>();

  /** Answers all requests to {@link UPSTREAM} until `vi.unstubAllGlobals()`; none goes elsewhere. */
  constructor() {
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

  async blob(text: string): Promise<Content> {
    const content = await contentOf(Uint8Array.from(new TextEncoder().encode(text)));
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

  /** Returns the requests since the last call. */
  asked(): string[] {
    return this.requests.splice(0);
  }

  async #fetch(request: Request): Promise<Response> {
    const { pathname, origin } = new URL(request.url);
    this.requests.push(`${request.method} ${origin === UPSTREAM ? '' : origin}${pathname}`);
    this.authorizations.add(request.headers.get('authorization') ?? '');
    const answer = await this.answers(request);
    if (answer !== undefined) return answer;
    const [, repository, kind, reference = ''] = /^\/v2\/(.+)\/(manifests|blobs)\/([^/]+)$/.exec(pathname) ?? [];
    const separator = reference.includes(':') ? '@' : ':';
    const manifest = this.#manifests.get(`${repository}${separator}${reference}`);
    if (kind === 'manifests' && manifest !== undefined) {
      const { mediaType, digest, bytes } = manifest;
      const headers = { 'Content-Type': mediaType, 'Docker-Content-Digest': digest };
      if (request.headers.get('if-none-match') === `"${digest}"`) return new Response(null, { status: 304, headers });
      return answerOf(request, bytes, headers);
    }
    const blob = kind === 'blobs' ? this.#blobs.get(reference) : undefined;
    if (blob !== undefined) return answerOf(request, blob, {});
    return Response.json({ errors: [{ code: 'NOT_FOUND', message: 'there is no such thing' }] }, { status: 404 });
  }
}

function answerOf({ method }: Request, bytes: Uint8Array<ArrayBuffer>, headers: Record<string, string>): Response {
  const length = { 'Content-Length': String(bytes.byteLength) };
  return new Response(method === 'HEAD' ? null : bytes, { headers: { ...length, ...headers } });
}
