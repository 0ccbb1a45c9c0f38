/** A connection to a registry that counts bytes, and breaks. */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

export class Wire {
  /** Bytes from the client and from the registry, headers included. */
  sent = 0;
  received = 0;
  /** Breaks a connection once the first of these numbers of bytes has come since the last break, and drops it. */
  breaks: number[] = [];
  readonly #sockets = new Set<Socket>();
  readonly #server;
  #sinceBreak = 0;

  constructor(port: number) {
    this.#server = createServer((client) => {
      const registry = connect(port, '127.0.0.1');
      this.#sockets.add(client).add(registry);
      const close = (): void => void (client.destroy(), registry.destroy());
      client.on('data', (bytes) => (this.sent += bytes.length)).pipe(registry);
      registry.on('data', (bytes) => {
        this.received += bytes.length;
        this.#sinceBreak += bytes.length;
        if (this.#sinceBreak < (this.breaks[0] ?? Number.POSITIVE_INFINITY)) return;
        this.breaks.shift();
        this.#sinceBreak = 0;
        close();
      });
      registry.pipe(client);
      for (const socket of [client, registry]) socket.on('error', close).on('close', close);
    });
  }

  /** @returns central's name, at the port of this connection */
  async open(): Promise<string> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    return `index.localhost:${(this.#server.address() as AddressInfo).port}`;
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
    await once(this.#server, 'close');
  }
}
