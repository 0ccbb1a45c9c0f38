/**
 * Keeps an upload's access token valid. A client gets a token, which lasts for minutes, for a layer that it sends in
 * one request. The gateway cuts the layer into many requests, and the last may come after the token's end. So the
 * gateway remembers, in memory, which request brought a token, and repeats that request when a chunk needs a new one.
 */
import { textOf } from '../../../src/oci-client/answer.ts';
import { REFRESH_AFTER, tokenIn } from '../../../src/oci-client/authorization.ts';
import type { Request, Transport } from '../../../src/oci-client/transport.ts';

/** The number of tokens whose requests to remember. A push of an image has one token, and a few for its mounts. */
const REMEMBERED = 100;

interface Token {
  readonly authorization: string;
  /** Milliseconds since 1970. */
  readonly renewAt: number;
}

interface Renewable {
  /** Makes the request for a token again. */
  readonly ask: () => Promise<Response>;
  token: Token;
  renewing?: Promise<Token> | undefined;
}

export class Tokens {
  readonly #transport: Transport;
  readonly #byAuthorization = new Map<string, Renewable>();

  constructor(transport: Transport) {
    this.#transport = transport;
  }

  /** Remembers the token in the answer to a request. @param text the answer's body */
  remember(url: URL, request: Request, text: string): void {
    const token = tokenFrom(text);
    if (token === undefined) return;
    const { signal: _ended, ...again } = request;
    this.#byAuthorization.set(token.authorization, { ask: () => this.#transport(url, again), token });
    const [oldest] = this.#byAuthorization.keys();
    if (this.#byAuthorization.size > REMEMBERED && oldest !== undefined) this.#byAuthorization.delete(oldest);
  }

  /**
   * Returns the header to send in place of a client's: with a newer token if the client's ends soon.
   * @param authorization the client's header
   */
  async current(authorization: string): Promise<string> {
    const known = this.#byAuthorization.get(authorization);
    if (known === undefined) return authorization;
    if (Date.now() >= known.token.renewAt) {
      known.renewing ??= renewed(known).finally(() => (known.renewing = undefined));
      known.token = await known.renewing;
    }
    return known.token.authorization;
  }
}

/** Renews a token. If that fails, returns the old one: it may still be valid, and if not, the client learns why. */
async function renewed({ ask, token }: Renewable): Promise<Token> {
  try {
    const answer = await ask();
    return tokenFrom(await textOf(answer)) ?? token;
  } catch {
    return token;
  }
}

function tokenFrom(text: string): Token | undefined {
  const found = tokenIn(text);
  if (found === undefined) return undefined;
  return { authorization: `Bearer ${found.token}`, renewAt: Date.now() + found.seconds * 1000 * REFRESH_AFTER };
}
