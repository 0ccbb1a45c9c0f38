import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Random } from '../support/random.ts';
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
  /** Returns how many connections were broken. */
  readonly broken: () => number;
}

export interface FrontOptions {
  /** The longest body that passes. */
  readonly limit: number;
  /**
   * Whether a body that is too long is read before it is refused. regctl rewinds the layer once it has the answer. If
   * its HTTP client is still sending then, both read the file from one position, and the digest no longer matches.
   */
  readonly refusesAfterBody?: boolean;
  /** Breaks connections while bodies pass, about once in `every` bytes. The same seed breaks after the same bytes. */
  readonly breaks?: { readonly seed: number; readonly every: number };
}

/**
 * Imitates the edge before a deployed registry: a body with a Content-Length of more than `limit` bytes gets 413, and
 * the registry never sees it.
 */
export async function withFront(
  { host, port }: TemporaryRegistry,
  { limit, refusesAfterBody = false, breaks }: FrontOptions,
  use: (front: Front) => Promise<void>,
): Promise<void> {
  const refused: string[] = [];
  let largest = 0;
  let total = 0;
  const breaker = new Breaker(breaks);
  const server = createServer((incoming, outgoing) => {
    const length = Number(incoming.headers['content-length'] ?? 0);
    if (length > limit) {
      refused.push(`${incoming.method} ${length}`);
      const refuse = (): unknown => outgoing.writeHead(413).end('Payload Too Large');
      if (refusesAfterBody) incoming.on('end', refuse);
      else refuse();
      // Read the rest of the body: closing the connection now would lose the answer.
      incoming.on('error', () => undefined).resume();
      return;
    }
    largest = Math.max(largest, length);
    // A body without a length counts as infinite, which a check of the total notices.
    if (!incoming.url?.startsWith('/token')) total += 'transfer-encoding' in incoming.headers ? Infinity : length;
    const onAnswer = breaker.watch(incoming);
    void forward(incoming, outgoing, { host, port, onAnswer });
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  try {
    await use({
      host: `localhost:${(server.address() as AddressInfo).port}`,
      refused,
      largest: () => largest,
      total: () => total,
      broken: () => breaker.broken,
    });
  } finally {
    server.closeAllConnections();
    await new Promise((done) => server.close(done));
  }
}

/** Breaks connections at random bytes: one in three once the registry has the whole body, before it answers. */
class Breaker {
  broken = 0;
  readonly #every: number;
  readonly #random: Random;
  #left: number;

  constructor({ seed, every }: NonNullable<FrontOptions['breaks']> = { seed: 0, every: Infinity }) {
    this.#random = new Random(seed);
    this.#every = every;
    this.#left = this.#next();
  }

  /** Counts the bytes of a body. @returns a function to call once the registry has answered */
  watch(incoming: IncomingMessage): () => void {
    let breaksAtAnswer = false;
    const cut = (): void => {
      this.broken += 1;
      incoming.socket.destroy();
    };
    incoming.on('data', ({ length }: Buffer) => {
      this.#left -= length;
      if (this.#left > 0) return;
      this.#left = this.#next();
      if (this.#random.chance(1 / 3)) breaksAtAnswer = true;
      else cut();
    });
    return () => {
      if (breaksAtAnswer) cut();
    };
  }

  #next(): number {
    return this.#every === Infinity ? Infinity : this.#random.between(1, 2 * this.#every);
  }
}
