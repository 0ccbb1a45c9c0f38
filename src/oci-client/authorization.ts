/**
 * Logging in, as registries ask for it: by Basic, or by a token for the scopes of a request, which a token service
 * gives (https://distribution.github.io/distribution/spec/auth/token/). Many requests share one token. It is exchanged
 * for another before it ends.
 */
import { textOf } from './answer.ts';
import { type Challenge, parseChallenge } from './challenge.ts';
import { ContentError } from './content-error.ts';
import type { Credential, CredentialFor } from './credential.ts';
import { RegistryError, refusalOf } from './registry-error.ts';
import type { Surroundings } from './surroundings.ts';
import type { Request } from './transport.ts';

/** The lifetime of a token that does not state one (the token service's specification, "expires_in"). */
const DEFAULT_SECONDS = 60;
/** The part of its life after which a token is exchanged. */
export const REFRESH_AFTER = 0.8;
/** The most tokens that are kept, of as many repositories. */
const MAX_TOKENS = 100;
const CLIENT_ID = 'berth';

interface Token {
  readonly header: Promise<string>;
  /** Milliseconds since 1970; infinite while the exchange goes on. */
  refreshAt: number;
}

/** Logs requests to one registry in. */
export interface Login {
  /**
   * Returns the Authorization header for a request; undefined as long as the registry has not asked for one, or without
   * a credential.
   * @param scope scopes divided by spaces
   */
  headerFor(scope: string): Promise<string | undefined>;
  /**
   * Takes note that the registry asks for a login.
   * @param challenge its `WWW-Authenticate`
   * @param sent the header that was refused
   * @returns the header for another try; undefined if none is worth one
   */
  challenged(challenge: string | null, scope: string, sent: string | undefined): Promise<string | undefined>;
}

/** The error for a login that a registry or its token service refuses. */
export class LoginError extends RegistryError {
  constructor({ host, message, code }: RegistryError, response: Response) {
    super(host, response, message.slice(`${host}: `.length), code);
  }
}

export class Authorization implements Login {
  readonly #registry: URL;
  readonly #credential: CredentialFor;
  readonly #surroundings: Surroundings;
  #challenge: Challenge | undefined;
  /** By scopes, the oldest first. */
  readonly #tokens = new Map<string, Token>();

  /** @param credential called once the registry asks for a login */
  constructor(registry: URL, credential: CredentialFor, surroundings: Surroundings) {
    this.#registry = registry;
    this.#credential = credential;
    this.#surroundings = surroundings;
  }

  async headerFor(scope: string): Promise<string | undefined> {
    if (this.#challenge === undefined) return undefined;
    if (this.#challenge.scheme === 'basic') return basicHeader(await this.#credential(this.#registry));
    return this.#tokenFor(this.#challenge, scope);
  }

  async challenged(header: string | null, scope: string, sent: string | undefined): Promise<string | undefined> {
    const challenge = parseChallenge(header, this.#registry);
    if (challenge === undefined) return undefined;
    this.#challenge = challenge;
    if (challenge.scheme === 'bearer') {
      const token = this.#tokens.get(scope);
      // Another request may have exchanged it already.
      if (token !== undefined && (await token.header) === sent) this.#forget(scope, token);
    }
    const next = await this.headerFor(scope);
    return next === sent ? undefined : next;
  }

  #tokenFor(challenge: Challenge & { readonly scheme: 'bearer' }, scope: string): Promise<string> {
    const known = this.#tokens.get(scope);
    if (known !== undefined && Date.now() < known.refreshAt) return known.header;
    const exchange = this.#exchange(challenge, scope);
    const token: Token = { header: exchange.then(({ header }) => header), refreshAt: Number.POSITIVE_INFINITY };
    this.#tokens.delete(scope);
    this.#tokens.set(scope, token);
    const [oldest] = this.#tokens.keys();
    if (oldest !== undefined && this.#tokens.size > MAX_TOKENS) this.#tokens.delete(oldest);
    exchange.then(
      ({ refreshAt }) => (token.refreshAt = refreshAt),
      () => {
        this.#forget(scope, token);
        // The registry may name another token service by now.
        if (this.#challenge === challenge) this.#challenge = undefined;
      },
    );
    return token.header;
  }

  #forget(scope: string, token: Token): void {
    if (this.#tokens.get(scope) === token) this.#tokens.delete(scope);
  }

  async #exchange(
    challenge: Challenge & { readonly scheme: 'bearer' },
    scope: string,
  ): Promise<{ header: string; refreshAt: number }> {
    const { realm } = challenge;
    const credential = await this.#credential(realm);
    if (credential !== undefined && realm.protocol !== 'https:' && this.#registry.protocol === 'https:') {
      throw new ContentError(
        `${this.#registry.host} wants its password sent to ${realm.host} without encryption: ask who runs it`,
      );
    }
    const begun = Date.now();
    const { url, request } = exchangeRequest(challenge, scope, credential);
    const response = await this.#surroundings.transport(url, request);
    if (response.status !== 200) throw new LoginError(await refusalOf('the login', url, response), response);
    const answer = tokenIn(await textOf(response));
    if (answer === undefined) throw new RegistryError(realm.host, response, 'the login was answered without a token');
    return {
      header: `Bearer ${answer.token}`,
      refreshAt: begun + answer.seconds * 1000 * REFRESH_AFTER,
    };
  }
}

function exchangeRequest(
  { realm, service }: Challenge & { readonly scheme: 'bearer' },
  scope: string,
  credential: Credential | undefined,
): { url: URL; request: Request } {
  const scopes = scope.split(' ').filter((one) => one !== '');
  if (credential !== undefined && 'identityToken' in credential) {
    const form = new URLSearchParams({
      grant_type: 'refresh_token',
      service: service ?? '',
      client_id: CLIENT_ID,
      refresh_token: credential.identityToken,
      scope: scopes.join(' '),
    });
    const headers = { 'content-type': 'application/x-www-form-urlencoded' };
    return { url: realm, request: { method: 'POST', headers, body: form.toString() } };
  }
  const url = new URL(realm);
  if (service !== undefined) url.searchParams.set('service', service);
  for (const one of scopes) url.searchParams.append('scope', one);
  const authorization = basicHeader(credential);
  return { url, request: { method: 'GET', headers: authorization === undefined ? {} : { authorization } } };
}

/** Returns the token that a token service answers with, and the seconds that it lasts; undefined if there is none. */
export function tokenIn(body: string): { token: string; seconds: number } | undefined {
  try {
    const answer = JSON.parse(body) as { token?: unknown; access_token?: unknown; expires_in?: unknown };
    const token = answer.token ?? answer.access_token;
    if (typeof token !== 'string' || token === '') return undefined;
    const seconds = answer.expires_in;
    return { token, seconds: typeof seconds === 'number' && seconds > 0 ? seconds : DEFAULT_SECONDS };
  } catch {
    return undefined;
  }
}

/**
 * Returns whether an answer refuses the login itself. A registry that takes a password with each request answers a
 * wrong or expired one with 401 or 403.
 * @param sent the Authorization header of the request
 */
export function refusesLogin({ status }: Response, sent: string | undefined): boolean {
  return sent?.startsWith('Basic ') === true && (status === 401 || status === 403);
}

function basicHeader(credential: Credential | undefined): string | undefined {
  if (credential === undefined || !('username' in credential)) return undefined;
  const bytes = new TextEncoder().encode(`${credential.username}:${credential.password}`);
  return `Basic ${btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(''))}`;
}
