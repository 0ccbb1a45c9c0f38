/** A platform server on loopback, over real HTTP, that a test can make answer well or badly. */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { secrets } from './logged-secrets.ts';

export type Behaviour =
  | 'well'
  /** Answers once told by {@link PlatformServer.release}. */
  | 'when told'
  | 'never'
  | 'never ends'
  | 'endless'
  | 'redirect'
  | 'garbage'
  | 'half'
  | 500
  | 401;

export interface PlatformToken {
  readonly user: string;
  readonly secret: string;
  readonly whole: string;
}

export class PlatformServer {
  behaviour: Behaviour = 'well';
  /** The tokens that it was asked about, in order. */
  readonly asked: string[] = [];
  /** Requests for anything else. */
  readonly strays: string[] = [];
  /** Bytes sent of endless bodies. */
  bytesSent = 0;
  readonly #organizations = new Map<string, string>();
  readonly #behaviours = new Map<string, Behaviour>();
  readonly #waiting: (() => void)[] = [];
  #server: Server = createServer();
  #port = 0;

  static async start(): Promise<PlatformServer> {
    const platform = new PlatformServer();
    await platform.listen();
    return platform;
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  /** Starts to listen. Later calls use the port of the first. */
  async listen(): Promise<void> {
    this.#server = createServer((request, response) => this.#answer(request, response));
    this.#server.listen(this.#port, '127.0.0.1');
    await once(this.#server, 'listening');
    this.#port = (this.#server.address() as AddressInfo).port;
  }

  async close(): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    this.#server.closeAllConnections();
    await closed;
  }

  /** Issues a new token of the organization. */
  issue(organization: string, user = `robot$${organization}.users.kraftcloud`): PlatformToken {
    const secret = crypto.randomUUID();
    const whole = Buffer.from(`${user}:${secret}`).toString('base64');
    secrets.add('a token of the platform', whole);
    secrets.add('the secret of a token of the platform', secret);
    this.#organizations.set(whole, organization);
    return { user, secret, whole };
  }

  /** Returns how often it was asked about a token. */
  callsFor({ whole }: PlatformToken): number {
    return this.asked.filter((token) => token === whole).length;
  }

  /** Sets how it answers whenever it is asked about this token. */
  answer({ whole }: PlatformToken, behaviour: Behaviour): void {
    this.#behaviours.set(whole, behaviour);
  }

  release(): void {
    for (const answer of this.#waiting.splice(0)) answer();
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    if (request.method !== 'GET' || request.url !== '/v1/auth') {
      this.strays.push(`${request.method} ${request.url}`);
      response.writeHead(404).end();
      return;
    }
    const token = (request.headers.authorization ?? '').replace(/^Bearer /, '');
    this.asked.push(token);
    const organization = this.#organizations.get(token);
    const json = { 'Content-Type': 'application/json' };
    const body = JSON.stringify({
      status: 'success',
      data: { organization_name: organization, registry: 'index.example.com' },
    });
    const well = (): void => {
      if (organization === undefined) response.writeHead(401, json).end('{"status":"error","errors":[{"status":401}]}');
      else response.writeHead(200, json).end(body);
    };
    const behaviour = this.#behaviours.get(token) ?? this.behaviour;
    switch (behaviour) {
      case 'well':
        return well();
      case 'when told':
        this.#waiting.push(well);
        return;
      case 'never':
        return;
      case 'never ends':
        response.writeHead(200, json).write(body.slice(0, 20));
        return;
      case 'endless':
        response.writeHead(200, json);
        return this.#sendOn(response);
      case 'redirect':
        response.writeHead(302, { Location: `${this.url}/elsewhere` }).end();
        return;
      case 'garbage':
        response.writeHead(200, json).end('{"status":"success","data":{"organization_name":');
        return;
      case 'half':
        response.writeHead(200, { ...json, 'Content-Length': '1000' }).write(body);
        response.socket?.destroySoon();
        return;
      default:
        response.writeHead(behaviour, json).end(body);
    }
  }

  #sendOn(response: ServerResponse): void {
    const piece = Buffer.alloc(16_384, ' ');
    const send = (): void => {
      while (!response.destroyed) {
        this.bytesSent += piece.byteLength;
        if (!response.write(piece)) {
          response.once('drain', send);
          return;
        }
      }
    };
    send();
  }
}
