/** A registry that keeps uploads in memory, counts what it gets, and misbehaves on request. */
import { createHash, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface Received {
  /** `PATCH 0-1023`: the method, and the Content-Range if there is one. */
  readonly what: string;
  readonly path: string;
  readonly headers: IncomingMessage['headers'];
  /** Bytes of the body. */
  readonly bytes: number;
}

type Answer = (incoming: IncomingMessage, outgoing: ServerResponse) => boolean | Promise<boolean>;

export class Host {
  readonly received: Received[] = [];
  readonly blobs = new Map<string, Buffer>();
  /** Requests with a longer body are answered with 413. */
  largest = Number.POSITIVE_INFINITY;
  /** Each PATCH takes the next of these numbers; its connection breaks after that many bytes of its body. */
  readonly breaks: number[] = [];
  /** Is asked first, and answers itself if it returns true. */
  first: Answer = () => false;
  readonly #sessions = new Map<string, Buffer>();
  readonly #server = createServer((incoming, outgoing) => {
    this.#take(incoming, outgoing).catch(() => outgoing.destroy());
  });

  async listen(): Promise<void> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
  }

  get url(): URL {
    return new URL(`http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`);
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }

  /** The requests with the bytes of blobs. */
  get chunks(): string[] {
    return this.received.filter(({ bytes }) => bytes > 0).map(({ what, bytes }) => `${what} ${bytes}`);
  }

  async #take(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    const { method = '', url = '/', headers } = incoming;
    const range = headers['content-range'];
    const received = { what: range === undefined ? method : `${method} ${range}`, path: url, headers, bytes: 0 };
    this.received.push(received);
    if (await this.first(incoming, outgoing)) return;
    const { pathname, searchParams } = new URL(url, this.url);
    const breaksAt = method === 'PATCH' ? (this.breaks.shift() ?? Number.POSITIVE_INFINITY) : Number.POSITIVE_INFINITY;
    const pieces: Buffer[] = [];
    for await (const piece of incoming as AsyncIterable<Buffer>) {
      pieces.push(piece);
      received.bytes += piece.length;
      if (received.bytes > breaksAt) return void incoming.destroy();
    }
    if (received.bytes > this.largest) return void outgoing.writeHead(413).end('too large');
    this.#answer(method, pathname, searchParams.get('digest'), Buffer.concat(pieces), range, outgoing, incoming);
  }

  #answer(
    method: string,
    path: string,
    digest: string | null,
    body: Buffer,
    range: string | undefined,
    outgoing: ServerResponse,
    { headers }: IncomingMessage,
  ): void {
    const [, repository = '', kind, name = ''] = /^\/v2\/(.+)\/(uploads|blobs)\/(.*)$/.exec(path) ?? [];
    if (kind === 'blobs') return this.#blob(name, outgoing, headers.range);
    if (kind === undefined) return void outgoing.writeHead(404).end();
    const id = method === 'POST' ? randomUUID() : name;
    const before = method === 'POST' ? Buffer.alloc(0) : this.#sessions.get(id);
    if (before === undefined) return void outgoing.writeHead(404).end();
    const session = {
      Location: `${this.url.origin}/v2/${repository}/uploads/${id}`,
      Range: `0-${Math.max(0, before.length + body.length - 1)}`,
      'Docker-Upload-UUID': id,
    };
    if (range !== undefined && Number(range.split('-')[0]) !== before.length) {
      return void outgoing.writeHead(416, { ...session, Range: `0-${Math.max(0, before.length - 1)}` }).end();
    }
    const after = Buffer.concat([before, body]);
    this.#sessions.set(id, after);
    if (method === 'GET') return void outgoing.writeHead(204, session).end();
    if (method !== 'PUT') return void outgoing.writeHead(202, { ...session, 'Content-Length': '0' }).end();
    if (digest !== digestOf(after)) return void outgoing.writeHead(400).end('another digest');
    this.#sessions.delete(id);
    this.blobs.set(digest, after);
    outgoing.writeHead(201, { Location: `/v2/${repository}/blobs/${digest}`, 'Content-Length': '0' }).end();
  }

  #blob(digest: string, outgoing: ServerResponse, range: string | undefined): void {
    const blob = this.blobs.get(digest);
    const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(range ?? '') ?? [];
    if (blob === undefined) outgoing.writeHead(404).end();
    else if (first === undefined) outgoing.writeHead(200, { 'Content-Length': blob.length }).end(blob);
    else {
      const headers = { 'Content-Range': `bytes ${first}-${last}/${blob.length}` };
      outgoing.writeHead(206, headers).end(blob.subarray(Number(first), Number(last) + 1));
    }
  }
}

export function digestOf(bytes: Buffer): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}
