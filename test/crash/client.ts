/** HTTP to a server that may die during a request. */
import type { Answer, Outgoing } from '../support/registry-model.ts';
import type { Server } from '../support/local/server.ts';

const REQUEST_MILLISECONDS = 60_000;
const AUTHORIZATION = `Basic ${Buffer.from('alice:alice-dev').toString('base64')}`;

/** Thrown when the server died before it answered. */
export class Interrupted extends Error {
  override readonly name = 'Interrupted';
}

export class Connection {
  readonly #server: Server;
  readonly #on: (moment: 'request' | 'answer') => void;
  #dying = false;

  /** @param on called when a request starts, and when it has been answered */
  constructor(server: Server, on: (moment: 'request' | 'answer') => void = () => undefined) {
    this.#server = server;
    this.#on = on;
  }

  async kill(): Promise<void> {
    this.#dying = true;
    await this.#server.kill();
  }

  /**
   * Sends a request.
   * @throws {Interrupted} when the server died before it answered
   */
  readonly send = async ({ method, path, headers = {}, body, chunked = false }: Outgoing): Promise<Answer> => {
    this.#on('request');
    const init = {
      method,
      headers: { ...headers, Authorization: AUTHORIZATION },
      signal: AbortSignal.timeout(REQUEST_MILLISECONDS),
      ...(body === undefined ? {} : { body: chunked ? new Blob([body]).stream() : body, duplex: 'half' }),
    };
    try {
      const response = await fetch(new URL(path, this.#server.url), init);
      const content = new Uint8Array(await response.arrayBuffer());
      // When the processes are killed together, one may live long enough to see that another is gone.
      if (this.#dying && response.status >= 500) throw new Interrupted();
      this.#on('answer');
      return { status: response.status, header: (name) => response.headers.get(name), body: content };
    } catch (cause) {
      if (this.#dying) throw new Interrupted(`${method} ${path}`, { cause });
      throw cause;
    }
  };
}
