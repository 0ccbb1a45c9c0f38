/** A client of one host that acts as alice. */
import { createHash, randomBytes } from 'node:crypto';
import type { Content, Layer } from './content.ts';
import { type Answer, type Call, call, send } from './http.ts';

const INDEX = 'application/vnd.oci.image.index.v1+json';
const IMAGE = 'application/vnd.oci.image.manifest.v1+json';
/** Milliseconds until the client logs in again: access tokens last less than five minutes. */
const TOKEN_MILLISECONDS = 120_000;

export interface Document {
  readonly bytes: Buffer;
  readonly digest: string;
  readonly mediaType: string;
}

export interface Blob {
  readonly bytes: Buffer;
  readonly digest: string;
}

export class Client {
  readonly port: number;
  readonly repository: string;
  #headers: Readonly<Record<string, string>> = {};
  #loggedInAt = -TOKEN_MILLISECONDS;

  constructor(port: number, repository: string) {
    this.port = port;
    this.repository = repository;
  }

  /** Logs in if the token is old. Call it before a measurement. */
  async logIn(): Promise<void> {
    if (performance.now() - this.#loggedInAt < TOKEN_MILLISECONDS) return;
    const path = `/token?scope=repository:${this.repository}:pull,push,delete`;
    const { body } = await call(200, { port: this.port, method: 'GET', path, headers: basic('alice'), keep: true });
    this.#headers = { Authorization: `Bearer ${(JSON.parse(body.toString()) as { token: string }).token}` };
    this.#loggedInAt = performance.now();
  }

  /** @param path below the repository, or absolute */
  request(expected: number, method: string, path: string, options: Partial<Call> = {}): Promise<Answer> {
    return call(expected, this.#call(method, path, options));
  }

  async status(method: string, path: string): Promise<number> {
    return (await send(this.#call(method, path))).status;
  }

  #call(method: string, path: string, options: Partial<Call> = {}): Call {
    const whole = path.startsWith('/') ? path : `/v2/${this.repository}/${path}`;
    return { ...options, port: this.port, method, path: whole, headers: { ...this.#headers, ...options.headers } };
  }

  /** Pushes a blob with POST, PATCH and PUT. */
  async pushByPatch(body: Buffer | Content, digest: string, chunked: boolean): Promise<void> {
    const opened = locationOf(await this.request(202, 'POST', 'blobs/uploads/'));
    const patched = locationOf(await this.request(202, 'PATCH', opened, { body, chunked }));
    await this.request(201, 'PUT', `${patched}?digest=${digest}`);
  }

  /** Pushes a blob with POST, and a PUT with the whole blob. */
  async pushByPut(body: Buffer | Content, digest: string): Promise<void> {
    const opened = locationOf(await this.request(202, 'POST', 'blobs/uploads/'));
    await this.request(201, 'PUT', `${opened}?digest=${digest}`, { body });
  }

  async pushManifest({ bytes, mediaType, digest }: Document, tag = digest): Promise<void> {
    await this.request(201, 'PUT', `manifests/${tag}`, { body: bytes, headers: { 'Content-Type': mediaType } });
  }
}

export function basic(user: string): Record<string, string> {
  return { Authorization: `Basic ${Buffer.from(`${user}:${user}-dev`).toString('base64')}` };
}

export function blobOf(bytes: Buffer): Blob {
  return { bytes, digest: `sha256:${createHash('sha256').update(bytes).digest('hex')}` };
}

export function randomBlob(bytes: number): Blob {
  return blobOf(randomBytes(bytes));
}

interface Sized {
  readonly digest: string;
  readonly size: number;
}

/** Builds an image's manifest. Each one is different, even if its blobs are the same. */
export function imageOf(config: Blob, layersOf: readonly (Blob | Layer)[] | readonly Sized[] = []): Document {
  const layers = layersOf.map((layer) => ({
    mediaType: 'application/vnd.oci.image.layer.v1.tar',
    digest: layer.digest,
    size: 'size' in layer ? layer.size : layer.bytes.byteLength,
  }));
  return documentOf({
    schemaVersion: 2,
    mediaType: IMAGE,
    config: {
      mediaType: 'application/vnd.oci.image.config.v1+json',
      digest: config.digest,
      size: config.bytes.byteLength,
    },
    layers,
    annotations: { note: randomBytes(8).toString('hex') },
  });
}

export function indexOf(images: readonly Document[]): Document {
  const manifests = images.map(({ mediaType, digest, bytes }) => ({ mediaType, digest, size: bytes.byteLength }));
  return documentOf({ schemaVersion: 2, mediaType: INDEX, manifests });
}

function documentOf(content: { readonly mediaType: string; readonly [field: string]: unknown }): Document {
  return { ...blobOf(Buffer.from(JSON.stringify(content))), mediaType: content.mediaType };
}

function locationOf({ headers }: Answer): string {
  return headers.location ?? '';
}
