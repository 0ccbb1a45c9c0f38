import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { forward } from './forward.ts';
import type { TemporaryRegistry } from './temporary-registry.ts';

export interface Front {
  /** `localhost:<port>`, as clients are told it. */
  readonly host: string;
  /** The requests that were too large, as `<method> <length>`. */
  readonly refused: readonly string[];
  /** The largest body that was let through. */
  readonly largest: () => number;
  /** Bytes of all bodies that were let through but those of logins, as their lengths announce them. */
  readonly total: () => number;
}

/**
 * What stands before a deployed registry: an edge that answers 413 to a body of more than `limit` bytes, by its
 * Content-Length, so that the registry never sees it.
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
      // What is still under way is read: closing on it would lose the answer.
      incoming.on('error', () => undefined).resume();
      return;
    }
    largest = Math.max(largest, length);
    // What announces no length counts as endless: a check of the total sees it.
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
