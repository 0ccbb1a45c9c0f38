import { textOf } from './answer.ts';
import { type Login, LoginError, refusesLogin } from './authorization.ts';
import { RegistryError, refusalOf } from './registry-error.ts';
import { isTransient, withRetries } from './retry.ts';
import type { Surroundings } from './surroundings.ts';
import { type Request, type Transport, TransportError } from './transport.ts';

const MAX_REDIRECTS = 5;

export interface Call {
  readonly method: Request['method'];
  /** A path, or a URL that the registry gave. */
  readonly target: string | URL;
  /** The scopes that a token for it must have, divided by spaces. */
  readonly scope: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Opens the body, again for each attempt. */
  readonly body?: () => NonNullable<Request['body']>;
  /** Statuses that the caller handles. */
  readonly expect: readonly number[];
  readonly signal?: AbortSignal | undefined;
}

/** A call that may be made again although its answer was lost. A DELETE is answered with 404 the second time. */
export interface RepeatableCall extends Call {
  readonly method: Exclude<Request['method'], 'DELETE' | 'PATCH'>;
}

interface Asked {
  /** Where the answer came from. */
  readonly url: URL;
  readonly response: Response;
  /** The Authorization header of its request. */
  readonly sent: string | undefined;
}

/** A registry: logs in to it, follows its redirects, and turns its refusals into errors. */
export class Host {
  readonly url: URL;
  readonly surroundings: Surroundings;
  readonly login: Login;

  /** @param url its root, such as `https://registry.example/` */
  constructor(url: URL, surroundings: Surroundings, login: Login) {
    this.url = url;
    this.surroundings = surroundings;
    this.login = login;
  }

  /** Resolves a Location. @throws RegistryError if there is none */
  locationOf(response: Response, request: URL): URL {
    const location = response.headers.get('location');
    if (location === null || !URL.canParse(location, request)) {
      throw new RegistryError(request.host, response, `${request.pathname} was answered without a Location`);
    }
    return this.#ownUrl(new URL(location, request));
  }

  /** Makes sure that the registry is one, and accepts the login (distribution-spec, "Determining Support"). */
  async check(): Promise<void> {
    await textOf(await this.callAgain({ method: 'GET', target: '/v2/', scope: '', expect: [200] }));
  }

  /**
   * Makes a call, and repeats it as long as it fails for a reason that may pass.
   * @throws RegistryError, TransportError
   */
  callAgain(call: RepeatableCall): Promise<Response> {
    return withRetries(this.surroundings, call.signal, () => this.call(call));
  }

  /** Makes a call once. @throws RegistryError, TransportError */
  async call(call: Call): Promise<Response> {
    const { url, response, sent } = await this.#ask(call);
    if (call.expect.includes(response.status)) return response;
    const refusal = await refusalOf(`${call.method} ${url.pathname}`, url, response, sent);
    throw refusesLogin(response, sent) ? new LoginError(refusal, response) : refusal;
  }

  /** Returns a transport that logs in with the scopes, and returns every answer, refusals too. */
  transportFor(scope: string): Transport {
    return async (target, { method, headers = {}, body, signal }) => {
      const content = body === undefined ? {} : { body: () => body };
      try {
        return (await this.#ask({ method, target, scope, headers, ...content, expect: [], signal })).response;
      } catch (error) {
        // If the login may work later, so may the request.
        if (!(error instanceof RegistryError) || !isTransient(error)) throw error;
        return new Response(null, { status: error.status, headers: error.headers });
      }
    };
  }

  async #ask(call: Call): Promise<Asked> {
    let url = this.#ownUrl(new URL(call.target, this.url));
    let next: string | undefined;
    let mayLogIn = true;
    for (let redirects = 0; ;) {
      // Only the registry itself gets the login. It may redirect clients anywhere.
      const isOwn = url.origin === this.url.origin;
      const sent = isOwn ? (next ?? (await this.login.headerFor(call.scope))) : undefined;
      const request = requestOf(call, sent);
      const response = await this.surroundings.transport(url, request);
      if (response.status === 401 && isOwn && mayLogIn && !call.expect.includes(401)) {
        mayLogIn = false;
        next = await this.login.challenged(response.headers.get('www-authenticate'), call.scope, sent);
        if (next !== undefined) {
          await textOf(response);
          if (isStream(request)) throw new TransportError('the login ended while a body was sent');
          continue;
        }
      }
      if (!isRedirect(call, response) || redirects >= MAX_REDIRECTS) return { url, response, sent };
      const location = this.locationOf(response, url);
      if (location.protocol === 'http:' && url.protocol === 'https:') {
        throw new RegistryError(url.host, response, `it redirects to ${location.host} without encryption`);
      }
      await textOf(response);
      redirects += 1;
      url = location;
    }
  }

  /** A registry behind a proxy that ends TLS may give its own URLs with the wrong scheme. */
  #ownUrl(url: URL): URL {
    if (url.host !== this.url.host) return url;
    const own = new URL(url);
    own.protocol = this.url.protocol;
    return own;
  }
}

function requestOf({ method, headers, body, signal }: Call, authorization: string | undefined): Request {
  return {
    method,
    headers: { ...headers, ...(authorization === undefined ? {} : { authorization }) },
    ...(body === undefined ? {} : { body: body() }),
    signal,
  };
}

function isStream({ body }: Request): boolean {
  return typeof body === 'object' && 'stream' in body;
}

function isRedirect({ method }: Call, { status, headers }: Response): boolean {
  return (
    [301, 302, 303, 307, 308].includes(status) && (method === 'GET' || method === 'HEAD') && headers.has('location')
  );
}
