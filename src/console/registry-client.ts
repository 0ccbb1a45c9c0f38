/**
 * The console is a client of the management API and of the OCI API, in the same isolate. It sends requests as its
 * session's user, so what a page shows and does is decided by the same code as for any other client.
 */
import { withQuery } from './paths.ts';
import type { Session } from './session.ts';

/** Handles a request as the Worker does. */
export type Send = (request: Request) => Response | Promise<Response>;

/** An answer that is not a success. */
export class RegistryError extends Error {
  readonly status: number;
  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

export interface StoredText {
  readonly digest: string;
  /** Undefined if it is longer than a page shows. */
  readonly text: string | undefined;
}

interface ErrorBody {
  readonly errors?: readonly { readonly message?: string }[];
}

/** Awaits an answer; undefined if it was an error of this status. @throws RegistryError of other statuses */
export async function unless<Answer>(status: number, answer: Promise<Answer>): Promise<Answer | undefined> {
  try {
    return await answer;
  } catch (error) {
    if (error instanceof RegistryError && error.status === status) return undefined;
    throw error;
  }
}

/** The time that a page waits for one of its parts. */
const SOON_MILLISECONDS = 1000;

/** The time that a page waits for a part for which the API itself waits a second for each node. */
export const WITH_NODES_MILLISECONDS = 1500;

/** Awaits a part of a page; undefined if a store does not answer in time. @throws RegistryError */
export async function ifSoon<Answer>(
  asked: Promise<Answer>,
  milliseconds = SOON_MILLISECONDS,
): Promise<Answer | undefined> {
  const answer = unless(503, asked);
  const { promise: late, resolve } = Promise.withResolvers<undefined>();
  const timer = setTimeout(resolve, milliseconds, undefined);
  try {
    return await Promise.race([answer, late]);
  } finally {
    clearTimeout(timer);
    // Nobody waits for a late answer, so its failure is ignored.
    answer.catch(() => undefined);
  }
}

export class RegistryClient {
  readonly #send: Send;
  /** The origin of the host that answers, such as `https://index.example.com`. */
  readonly #origin: string;
  readonly #headers: Readonly<Record<string, string>>;

  /** @param address the browser's address, by which failed logins are counted; undefined in local runs */
  constructor(send: Send, origin: string, { user, secret }: Session, address: string | undefined) {
    this.#send = send;
    this.#origin = origin;
    const basic = new TextEncoder().encode(`${user}:${secret}`).toBase64();
    this.#headers = {
      Authorization: `Basic ${basic}`,
      ...(address !== undefined && { 'CF-Connecting-IP': address }),
    };
  }

  /** Reads JSON. Empty values of the query are left out. @throws RegistryError */
  async get<Answer>(
    path: string,
    query: Readonly<Record<string, string | number>> = {},
    headers: Readonly<Record<string, string>> = {},
  ): Promise<Answer> {
    return (await this.#ask('GET', withQuery(path, query), { headers })).json<Answer>();
  }

  /** Reads JSON; undefined if there is no such thing. @throws RegistryError of other statuses */
  async find<Answer>(path: string): Promise<Answer | undefined> {
    return unless(404, this.get<Answer>(path));
  }

  /**
   * Reads a manifest or a blob as text.
   * @param limit in bytes
   * @param makeRoom waits for room for the given number of bytes
   * @throws RegistryError, and what `makeRoom` throws
   */
  async textUpTo(
    limit: number,
    path: string,
    headers: Readonly<Record<string, string>>,
    makeRoom?: (bytes: number) => Promise<void>,
  ): Promise<StoredText> {
    const answer = await this.#ask('GET', path, { headers });
    const digest = answer.headers.get('Docker-Content-Digest') ?? '';
    const length = Number(answer.headers.get('Content-Length') ?? Number.NaN);
    let isRead = false;
    try {
      if (!(length <= limit)) return { digest, text: undefined };
      await makeRoom?.(length);
      isRead = true;
      // Unlike `text`, this does not warn about the content type, which says nothing about a blob.
      return { digest, text: new TextDecoder().decode(await answer.arrayBuffer()) };
    } finally {
      if (!isRead) await answer.body?.cancel();
    }
  }

  /**
   * Requests a change.
   * @param body sent as JSON
   * @returns the answer's JSON; undefined if it has none
   * @throws RegistryError
   */
  async change<Answer>(method: 'POST' | 'PUT' | 'PATCH' | 'DELETE', path: string, body?: unknown): Promise<Answer> {
    const answer = await this.#ask(
      method,
      path,
      body === undefined ? {} : { headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) },
    );
    const text = await answer.text();
    return (text === '' ? undefined : JSON.parse(text)) as Answer;
  }

  /** Points a tag to a manifest of the repository, by pushing the manifest again. @throws RegistryError */
  async setTag(repository: string, tag: string, digest: string): Promise<void> {
    const manifest = `/v2/${repository}/manifests/${encodeURIComponent(digest)}`;
    const { body, headers } = await this.#ask('GET', manifest, {});
    await this.#ask('PUT', withQuery(manifest, { tag }), {
      headers: {
        'Content-Type': headers.get('Content-Type') ?? '',
        'Content-Length': headers.get('Content-Length') ?? '',
      },
      body,
    });
  }

  /** Sends any request, and returns its successful answer. @throws RegistryError */
  async #ask(
    method: string,
    path: string,
    init: { headers?: Readonly<Record<string, string>>; body?: string | ReadableStream | null },
  ) {
    const url = new URL(`${this.#origin}${path}`);
    // A name of dots would lead to another path (RFC 3986 §5.2.4).
    if (!path.startsWith(url.pathname)) throw new RegistryError(404, `there is nothing at ${path}`);
    const request = new Request(url, {
      ...init,
      method,
      headers: { ...init.headers, ...this.#headers },
    });
    const answer = await this.#send(request);
    if (answer.ok) return answer;
    const text = await answer.text();
    throw new RegistryError(answer.status, messageOf(text) ?? `the registry answered ${answer.status}`);
  }
}

function messageOf(text: string): string | undefined {
  try {
    return (JSON.parse(text) as ErrorBody).errors?.map(({ message }) => message ?? '').join('; ');
  } catch {
    return undefined;
  }
}
