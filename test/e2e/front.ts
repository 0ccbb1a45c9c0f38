import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { forward } from './forward.ts';
import type { TemporaryRegistry } from './temporary-registry.ts';

export interface Front {
  /** `localhost:<port>`, as clients address it. */
  readonly host: string;
  /** The requests that were too large, as `<method> <length>`. */
  readonly refused: readonly string[];
  /** Returns the size of the largest body that was forwarded. */
  readonly largest: () => number;
  /** Returns the total bytes of all forwarded bodies, except logins, by their Content-Length. */
  readonly total: () => number;
}

/**
 * Imitates the edge before a deployed registry: a body with a Content-Length of more than `limit` bytes gets 413, and
 * the registry never sees it.
 */
export async function withFront(
  { host, port }: TemporaryRegistry,
  limit: number,
  use: (front: Front) => Promise<void>,
): Promise<void> {
  const refused: string[] = [];
  let largest = 0;
  let total = 0;
  const server = createServer((incoming, outgoing) => {
    const length = Number(incoming.headers['content-length'] ?? 0);
    if (length > limit) {
      refused.push(`${incoming.method} ${length}`);
      outgoing.writeHead(413).end('Payload Too Large');
      // Read the rest of the body: closing the connection now would lose the answer.
      incoming.on('error', () => undefined).resume();
      return;
    }
    largest = Math.max(largest, length);
    // A body without a length counts as infinite, which a check of the total notices.
    if (!incoming.url?.startsWith('/token')) total += 'transfer-encoding' in incoming.headers ? Infinity : length;
    void forward(incoming, outgoing, { host, port });
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  try {
    await use({
      host: `localhost:${(server.address() as AddressInfo).port}`,
      refused,
      largest: () => largest,
      total: () => total,
    });
  } finally {
    server.closeAllConnections();
    await new Promise((done) => server.close(done));
  }
}
