/** A registry to pull from, in place of the network. It runs where it is asked, and can misbehave. */
import { vi } from 'vitest';

/** Answers instead of the registry; undefined to let it answer. */
export type Misbehaviour = (url: URL, init: RequestInit, blob: Uint8Array<ArrayBuffer> | undefined) => unknown;

export class RegistryUpstream {
  readonly origin = 'https://registry.example';
  /** `GET /v2/app/blobs/sha256:… bytes=0-99` */
  readonly requests: string[] = [];
  /** Bytes of blobs that it has handed to the connection. */
  sent = 0;
  misbehaves: Misbehaviour = () => undefined;
  readonly #blobs = new Map<string, Uint8Array<ArrayBuffer>>();

  /** Takes the place of the network. Undone by `vi.unstubAllGlobals`. */
  constructor() {
    vi.stubGlobal('fetch', (url: URL, init: RequestInit) => this.#answer(url, init));
  }

  add(digest: string, content: Uint8Array<ArrayBuffer>): void {
    this.#blobs.set(digest, content);
  }

  gets(): string[] {
    return this.requests.filter((each) => each.startsWith('GET') && each.includes('/blobs/'));
  }

  async #answer(url: URL, init: RequestInit): Promise<Response> {
    const range = new Headers(init.headers).get('range');
    this.requests.push(`${init.method} ${url.pathname}${range === null ? '' : ` ${range}`}`);
    const blob = this.#blobs.get(url.pathname.split('/').at(-1) ?? '');
    const other = (await this.misbehaves(url, init, blob)) as Response | undefined;
    if (other !== undefined) return other;
    if (blob === undefined) return Response.json({ errors: [{ code: 'BLOB_UNKNOWN' }] }, { status: 404 });
    const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(range ?? '') ?? [];
    const [start, end] = from === undefined ? [0, blob.byteLength] : [Number(from), Number(to) + 1];
    const headers = {
      'content-length': String(end - start),
      ...(from === undefined ? {} : { 'content-range': `bytes ${start}-${end - 1}/${blob.byteLength}` }),
    };
    if (init.method === 'HEAD') return new Response(null, { headers });
    return new Response(this.stream(blob.subarray(start, end)), { status: from === undefined ? 200 : 206, headers });
  }

  /** Sends the first bytes of every blob, and then nothing. */
  stalls(at: number): void {
    this.misbehaves = (_url, { method }, content) =>
      method === 'GET' && content !== undefined
        ? new Response(this.stream(content, at, () => new Promise(() => undefined)))
        : undefined;
  }

  /**
   * Sends bytes as they are asked for.
   * @param breaksAt after this many, the connection breaks
   * @param breaks what it does there
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
        const piece = bytes.slice(at, Math.min(at + 128 * 1024, breaksAt));
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
}
