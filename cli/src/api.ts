/** The management API of a Berth host (docs/api.md). */
import { bytesUpTo, textOf } from '../../src/oci-client/answer.ts';
import { credentialFor } from './docker-config.ts';
import { Failure } from './errors.ts';
import { harmless } from './terminal.ts';
import { baseUrl, createTransport, type TransportOptions } from './transport.ts';
import { type Transport, TransportError } from '../../src/oci-client/transport.ts';

/** The longest that an answer may take, beyond the time that the request asks it to wait. */
const ANSWER_SECONDS = 60;
/** The most items on a page of a list. Lists of credentials have shorter pages. */
const PAGE = 1000;

/** The most pages in a row that may be empty, as they are if the caller may see none of their items. */
const MAX_EMPTY_PAGES = 100;

/** The most bytes of an answer that are read. The longest page of Berth's lists has a few MiB. */
const MAX_ANSWER_BYTES = 64 * 1024 ** 2;

interface Call {
  readonly query?: Readonly<Record<string, string | number | undefined>>;
  readonly body?: object;
}

type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';

/** An answer that is an error. */
export class ApiFailure extends Failure {
  readonly status: number;
  constructor(message: string, status: number, options?: ErrorOptions) {
    super(message, options);
    this.status = status;
  }
}

/**
 * Builds a path whose parts are encoded: a slash in a repository's name becomes `%2F`.
 * @throws Failure for a part that would lead to another path (RFC 3986 §5.2.4)
 */
export function path(texts: TemplateStringsArray, ...parts: readonly string[]): string {
  const dots = parts.find((part) => part === '.' || part === '..');
  if (dots !== undefined) throw new Failure(`"${dots}" is not a name: write the name in full`);
  return String.raw({ raw: texts }, ...parts.map((part) => encodeURIComponent(part)));
}

/** Splits a repository's name into its organization and the rest, as the API's paths have them. */
export function splitRepository(repository: string): readonly [organization: string, name: string] {
  const slash = repository.indexOf('/');
  if (slash === -1) throw new Failure(`${repository} has no organization: Berth's repositories are named ORG/NAME`);
  return [repository.slice(0, slash), repository.slice(slash + 1)];
}

export class Api {
  readonly host: string;
  readonly #base: URL;
  readonly #send: Transport;
  readonly #authorization: string | undefined;

  constructor(host: string, base: URL, send: Transport, authorization: string | undefined) {
    this.host = host;
    this.#base = base;
    this.#send = send;
    this.#authorization = authorization;
  }

  /**
   * Makes a request and returns the answer. The type is that of this version of Berth, and is not checked.
   * @throws ApiFailure for an answer that is an error, TransportError if there is none
   */
  async call<Answer>(method: Method, to: string, call: Call = {}): Promise<Answer> {
    const response = await this.send(method, to, call);
    if (response.status === 202 || response.status === 204) return undefined as Answer;
    return (await jsonOf(response, this.host)) as Answer;
  }

  /** Makes a request. @throws like {@link call} */
  async send(method: Method, to: string, call: Call = {}): Promise<Response> {
    const url = new URL(to, this.#base);
    for (const [name, value] of Object.entries(call.query ?? {}))
      if (value !== undefined) url.searchParams.set(name, String(value));
    const seconds = ANSWER_SECONDS + Number(call.query?.['wait'] ?? 0);
    const body = call.body === undefined ? undefined : JSON.stringify(call.body);
    const signal = AbortSignal.timeout(seconds * 1000);
    const response = await this.#send(url, {
      method,
      headers: {
        accept: 'application/json',
        ...(this.#authorization === undefined ? {} : { authorization: this.#authorization }),
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(body === undefined ? {} : { body }),
      signal,
    }).catch((error: unknown) => {
      throw signal.aborted ? new TransportError(`${this.host} has not answered within ${seconds} s`) : error;
    });
    if (response.ok) return response;
    throw await failureOf(response, this.host, this.#authorization !== undefined);
  }

  /**
   * Reads all pages of a list.
   * @param key the field of the answer that has the items
   * @param nameOf returns the value of an item that the next page starts after
   */
  list<Item>(to: string, key: string, nameOf: (item: Item) => string, n = PAGE): Promise<Item[]> {
    return this.pages(async (last) => {
      const items = (await this.call<Record<string, Item[]>>('GET', to, { query: { n, last } }))[key] ?? [];
      const end = items.at(-1);
      return { items, next: end === undefined || items.length < n ? undefined : nameOf(end) };
    });
  }

  /** Reads all pages of a list whose pages link to the next (RFC 8288). */
  linkedPages<Item>(
    to: string,
    query: NonNullable<Call['query']>,
    itemsOf: (page: unknown) => readonly Item[],
  ): Promise<Item[]> {
    return this.pages(async (target) => {
      const response = await (target === undefined ? this.send('GET', to, { query }) : this.send('GET', target));
      const items = itemsOf(await jsonOf(response, this.host));
      const next = /<([^>]*)>\s*;\s*rel="?next"?/i.exec(response.headers.get('link') ?? '')?.[1];
      if (next === undefined) return { items, next };
      // Uses only the path, so that no answer can send the login to another host.
      const { pathname, search } = new URL(next, this.#base);
      return { items, next: pathname + search };
    });
  }

  /**
   * Reads all pages of a list.
   * @param read returns a page, and what the next one is read with; undefined for the first page, and after the last
   * @throws Failure if a page comes twice, or 100 in a row are empty
   */
  async pages<Item>(
    read: (
      after: string | undefined,
    ) => Promise<{ readonly items: readonly Item[]; readonly next: string | undefined }>,
  ): Promise<Item[]> {
    const found: Item[] = [];
    const seen = new Set<string>();
    let empty = 0;
    let after: string | undefined;
    do {
      const { items, next } = await read(after);
      for (const item of items) found.push(item);
      empty = items.length === 0 ? empty + 1 : 0;
      if (next !== undefined) {
        if (seen.has(next) || empty === MAX_EMPTY_PAGES)
          throw new Failure(`${this.host} sends a list that does not end: check the host`);
        seen.add(next);
      }
      after = next;
    } while (after !== undefined);
    return found;
  }
}

/** Connects to a host with the login for it. @throws Failure */
export async function connect(host: string, options: TransportOptions): Promise<Api> {
  return new Api(host, baseUrl(host, options), createTransport(options), await authorizationFor(host));
}

/**
 * Returns the Authorization header for a host: the bootstrap secret in `BERTH_BOOTSTRAP_SECRET` if the host is
 * `BERTH_HOST`, otherwise the host's credential.
 */
async function authorizationFor(host: string): Promise<string | undefined> {
  const { BERTH_HOST, BERTH_BOOTSTRAP_SECRET: bootstrap = '' } = process.env;
  if (bootstrap !== '' && BERTH_HOST === host) return `Bearer ${bootstrap}`;
  const credential = await credentialFor(host);
  if (credential === undefined) return undefined;
  if ('identityToken' in credential) return `Bearer ${credential.identityToken}`;
  return `Basic ${Buffer.from(`${credential.username}:${credential.password}`).toString('base64')}`;
}

async function jsonOf(response: Response, host: string): Promise<unknown> {
  const isJson = /^application\/(?:[\w.+-]+\+)?json\b/.test(response.headers.get('content-type') ?? '');
  const text = new TextDecoder().decode(await bytesUpTo(response, MAX_ANSWER_BYTES));
  try {
    if (isJson) return JSON.parse(text);
  } catch {
    // The error below says so.
  }
  throw new ApiFailure(`${host} does not answer as Berth does: check the host`, response.status);
}

/** Returns the error of an answer, with what to do about it. */
async function failureOf(response: Response, host: string, isLoggedIn: boolean): Promise<ApiFailure> {
  const { status, headers } = response;
  const reason = await messageOf(response);
  const failure = (message: string): ApiFailure => new ApiFailure(message, status);
  if (status === 401 && isLoggedIn) return failure(`${host} does not accept the login: repeat berth login ${host}`);
  if (status === 401) {
    const variables = `set BERTH_HOST=${host}, BERTH_USERNAME and BERTH_PASSWORD`;
    return failure(`${host} asks for a login: run berth login ${host}, or ${variables}`);
  }
  if (status >= 300 && status < 400)
    return failure(`${host} redirects to ${harmless(headers.get('location') ?? 'nowhere')}: use that host`);
  const wait = /^\d{1,5}$/.exec(headers.get('retry-after') ?? '')?.[0];
  return failure(`${host}: ${reason}${wait === undefined ? '' : `; try again in ${wait} s`}`);
}

async function messageOf(response: Response): Promise<string> {
  const unknown = `the answer was ${response.status}: check that the host runs Berth`;
  try {
    const { errors } = JSON.parse(await textOf(response)) as { errors?: readonly { message?: unknown }[] };
    const messages = (errors ?? []).flatMap(({ message }) => (typeof message === 'string' ? [harmless(message)] : []));
    return messages.length === 0 ? unknown : messages.join('; ');
  } catch {
    return unknown;
  }
}

/** Returns whether the same request may succeed later. */
export function mayPass(error: unknown): boolean {
  return (
    error instanceof TransportError || (error instanceof ApiFailure && [429, 502, 503, 504].includes(error.status))
  );
}
