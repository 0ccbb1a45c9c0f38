/**
 * Imitates the proxies between clients and a deployment: a proxy in front of a local registry, which ends TLS and can
 * change or replace answers. It serves plain HTTP at the port of TLS as well.
 */
import { once } from 'node:events';
import { createServer, type IncomingMessage, request as plainRequest, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { createServer as createPlainServer, type Server, type Socket } from 'node:net';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import type { Certificate } from './certificates.ts';

export interface EdgeAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
  readonly body: Buffer;
}

export interface EdgeRequest {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingMessage['headers'];
  /** Whether it came without TLS, to an edge that has a certificate. */
  readonly plain: boolean;
}

export interface Fault {
  /** Answers before the body is read; undefined to pass the request on. */
  readonly refuse?: (request: EdgeRequest) => Partial<EdgeAnswer> | undefined;
  /** Holds a request back until the promise settles; undefined to go on. */
  readonly hold?: (request: EdgeRequest) => Promise<void> | undefined;
  /** Changes an answer of Berth. */
  readonly change?: (answer: EdgeAnswer, request: EdgeRequest) => EdgeAnswer;
}

export class Edge {
  /** The fault that it adds to requests; none at first. */
  fault: Fault = {};
  readonly #target: number;
  readonly #certificate: Certificate | undefined;
  readonly #name: string;
  readonly #sockets = new Set<Socket>();
  #server: Server = createPlainServer();

  private constructor(target: number, certificate: Certificate | undefined, name: string) {
    this.#target = target;
    this.#certificate = certificate;
    this.#name = name;
  }

  /** Starts an edge in front of a port of a local registry. @param name the name of this machine in its host */
  static async start(target: number, certificate?: Certificate, name = 'localhost'): Promise<Edge> {
    const edge = new Edge(target, certificate, name);
    await edge.#listen();
    return edge;
  }

  get host(): string {
    return `${this.#name}:${(this.#server.address() as AddressInfo).port}`;
  }

  get url(): string {
    return `${this.#certificate === undefined ? 'http' : 'https'}://${this.host}`;
  }

  async close(): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  async #listen(): Promise<void> {
    const handler = (plain: boolean) => (request: IncomingMessage, response: ServerResponse) => {
      this.#handle(request, response, plain).catch(() => response.destroy());
    };
    const open = createServer(handler(this.#certificate !== undefined));
    const encrypted = this.#certificate && createTlsServer({ ...this.#certificate }, handler(false));
    this.#server = createPlainServer((socket) => {
      this.#sockets.add(socket);
      socket.on('error', () => socket.destroy());
      socket.once('close', () => this.#sockets.delete(socket));
      // The first byte of a TLS handshake.
      socket.once('data', (first: Buffer) => {
        socket.pause();
        (first[0] === 0x16 && encrypted ? encrypted : open).emit('connection', socket);
        socket.unshift(first);
        socket.resume();
      });
    });
    this.#server.listen(0, 'localhost');
    await once(this.#server, 'listening');
  }

  async #handle(received: IncomingMessage, response: ServerResponse, plain: boolean): Promise<void> {
    const { method = '', url: path = '', headers } = received;
    const request = { method, path, headers, plain };
    const refused = this.fault.refuse?.(request);
    if (refused !== undefined) {
      const { status = 403, headers: own = {}, body = Buffer.alloc(0) } = refused;
      send(response, { status, headers: { Connection: 'close', ...own }, body }, method);
      return;
    }
    await this.fault.hold?.(request);
    const answer = await this.#pass(received, plain);
    send(response, this.fault.change?.(answer, request) ?? answer, method);
  }

  async #pass(received: IncomingMessage, plain: boolean): Promise<EdgeAnswer> {
    const { method = '', url: path = '' } = received;
    const scheme = this.#certificate === undefined || plain ? 'http' : 'https';
    const headers = { ...received.headers, 'x-forwarded-proto': scheme, 'x-forwarded-host': this.host };
    const passed = plainRequest({ host: '127.0.0.1', port: this.#target, method, path, headers });
    received.pipe(passed);
    const [answer] = (await once(passed, 'response')) as [IncomingMessage];
    return { status: answer.statusCode ?? 0, headers: answer.headers, body: await buffer(answer) };
  }
}

function send(response: ServerResponse, { status, headers, body }: EdgeAnswer, method: string): void {
  for (const [name, value] of Object.entries(headers)) if (value !== undefined) response.setHeader(name, value);
  response.statusCode = status;
  response.end(method === 'HEAD' ? undefined : body);
}

/** Changes headers of an answer; undefined removes one. */
export function withHeaders(answer: EdgeAnswer, headers: EdgeAnswer['headers']): EdgeAnswer {
  return { ...answer, headers: { ...answer.headers, ...headers } };
}

/** Returns a change of the JSON with which a path is answered. */
export function changedJson<Body>(at: string, change: (body: Body) => unknown): NonNullable<Fault['change']> {
  return (answer, { path }) => {
    if (!path.startsWith(at)) return answer;
    const body = Buffer.from(JSON.stringify(change(JSON.parse(answer.body.toString()) as Body)));
    return withHeaders({ ...answer, body }, { 'content-length': String(body.byteLength) });
  };
}
