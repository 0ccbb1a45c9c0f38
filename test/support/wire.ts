/**
 * A client's connection to one registry: it sends, and notes what goes over it. For clients that are replayed request
 * by request, inside of workerd and over HTTP alike: only Web types are used.
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

/** Carries one request to where its URL says. */
export type Send = (url: string, request: Sent) => Promise<Reply>;

export interface Exchange {
  readonly method: string;
  /** With the query; a session's reference is left out. */
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

  /** What was sent since the last call, logging in apart. */
  takeExchanges(): Exchange[] {
    const taken = this.#exchanges.filter(({ path }) => !path.startsWith('/token'));
    this.#exchanges = [];
    return taken;
  }
}

/** @throws with what the registry said */
export function expectStatus(reply: Reply, ...allowed: readonly number[]): Reply {
  if (allowed.includes(reply.status)) return reply;
  throw new Error(`${reply.status} in place of ${allowed.join(' or ')}: ${new TextDecoder().decode(reply.bytes)}`);
}

export interface Challenge {
  readonly realm: string;
  readonly service: string;
}

/** @throws where the answer is no challenge for the token flow */
export function challengeIn(reply: Reply): Challenge {
  const header = expectStatus(reply, 401).headers.get('WWW-Authenticate') ?? '';
  const [, realm, service] = /^Bearer realm="([^"]+)",service="([^"]+)"/.exec(header) ?? [];
  if (realm === undefined || service === undefined) throw new Error(`no challenge: ${header}`);
  return { realm, service };
}
