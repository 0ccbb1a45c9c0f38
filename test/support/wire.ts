/**
 * A client's connection to one registry, which sends requests and records them. It is for clients that are replayed
 * request by request. It uses only Web types, so it works both inside workerd and over HTTP.
 */

export interface Reply {
  readonly status: number;
  readonly headers: Headers;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

export interface Sent {
  readonly method: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: Uint8Array<ArrayBuffer> | string;
}

/** Sends one request to its URL. */
export type Send = (url: string, request: Sent) => Promise<Reply>;

export interface Exchange {
  readonly method: string;
  /** The path with its query, without a session's reference. */
  readonly path: string;
  readonly status: number;
  /** Bytes of the request's body. */
  readonly bytes: number;
}

export class Wire {
  /** `http://<host>`. */
  readonly origin: string;
  readonly #send: Send;
  #exchanges: Exchange[] = [];

  constructor(origin: string, send: Send) {
    this.origin = origin;
    this.#send = send;
  }

  /** @param target a path, or the URL that a `Location` or a challenge gave */
  async request(method: string, target: string, rest: Partial<Omit<Sent, 'method'>> = {}): Promise<Reply> {
    const { headers = {}, body } = rest;
    const url = new URL(target, this.origin);
    const reply = await this.#send(url.href, { method, headers, ...(body !== undefined && { body }) });
    const bytes = typeof body === 'string' ? new TextEncoder().encode(body).byteLength : (body?.byteLength ?? 0);
    const path = `${url.pathname.replace(/(\/blobs\/uploads\/).+/, '$1…')}${url.search}`;
    this.#exchanges.push({ method, path, status: reply.status, bytes });
    return reply;
  }

  /** Returns the requests since the last call, without those of the login. */
  takeExchanges(): Exchange[] {
    const taken = this.#exchanges.filter(({ path }) => !path.startsWith('/token'));
    this.#exchanges = [];
    return taken;
  }
}

/** @throws Error with the registry's answer */
export function expectStatus(reply: Reply, ...allowed: readonly number[]): Reply {
  if (allowed.includes(reply.status)) return reply;
  throw new Error(`${reply.status} instead of ${allowed.join(' or ')}: ${new TextDecoder().decode(reply.bytes)}`);
}

export interface Challenge {
  readonly realm: string;
  readonly service: string;
}

/** Returns the challenge in an answer. @throws if it is not one of the token flow */
export function challengeIn(reply: Reply): Challenge {
  const header = expectStatus(reply, 401).headers.get('WWW-Authenticate') ?? '';
  const [, realm, service] = /^Bearer realm="([^"]+)",service="([^"]+)"/.exec(header) ?? [];
  if (realm === undefined || service === undefined)
    throw new Error(`the answer has no challenge for the token flow: "${header}"`);
  return { realm, service };
}
