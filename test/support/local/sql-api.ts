/** An imitation of Analytics Engine's SQL API on loopback, which a test can make answer well or badly. */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export type SqlBehaviour = 'well' | 'never' | 'never ends' | 'endless' | 'nonsense' | 'redirect' | 'broken' | 429;

export class SqlApi {
  behaviour: SqlBehaviour = 'well';
  /** Pulls of the current hour, for every question. */
  pulls = 0;
  /** The questions that came with the token. */
  readonly questions: string[] = [];
  /** Requests for anything else. */
  readonly strays: string[] = [];
  readonly #token: string;
  readonly #server: Server;

  private constructor(token: string) {
    this.#token = token;
    this.#server = createServer((request, response) => void this.#answer(request, response));
  }

  static async start(token: string): Promise<SqlApi> {
    const api = new SqlApi(token);
    api.#server.listen(0, '127.0.0.1');
    await once(api.#server, 'listening');
    return api;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/client/v4/accounts/0123/analytics_engine/sql`;
  }

  async close(): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    this.#server.closeAllConnections();
    await closed;
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method, url, headers } = request;
    if (
      `POST ${new URL(this.url).pathname}` !== `${method} ${url}` ||
      headers.authorization !== `Bearer ${this.#token}`
    ) {
      this.strays.push(`${method} ${url}`);
      response.writeHead(403).end();
      return;
    }
    this.questions.push((await request.toArray()).join(''));
    const hour = Math.floor(Date.now() / 3_600_000) * 3600;
    // The real one writes a sum, which has 64 bits, as a string.
    const data = [{ hour, pulls: String(this.pulls) }];
    const body = JSON.stringify({ meta: [{ name: 'hour' }, { name: 'pulls' }], data, rows: data.length });
    switch (this.behaviour) {
      case 'well':
        response.end(body);
        return;
      case 'never':
        return;
      case 'never ends':
        response.write(body.slice(0, 20));
        return;
      case 'endless': {
        const send = (): void => {
          while (!response.destroyed && response.write(' '.repeat(16_384)));
        };
        response.on('drain', send);
        send();
        return;
      }
      case 'nonsense':
        response.end('{"data":[{"hour":"soon","pulls":{}}]}');
        return;
      case 'redirect':
        response.writeHead(307, { Location: '/elsewhere' }).end();
        return;
      case 'broken':
        response.writeHead(200, { 'Content-Length': '1000' }).write(body);
        response.socket?.destroySoon();
        return;
      default:
        response.writeHead(this.behaviour).end('{"errors":[]}');
    }
  }
}
