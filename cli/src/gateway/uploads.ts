/** Forwards the requests that bring the bytes of a blob, in bodies that the host takes. */
import { withRetries } from '../../../src/oci-client/retry.ts';
import type { Surroundings } from '../../../src/oci-client/surroundings.ts';
import type { Request, Transport } from '../../../src/oci-client/transport.ts';
import type { BodyLimit } from '../../../src/oci-client/body-limit.ts';
import type { Exchange } from './exchange.ts';
import { requestHeaders } from './headers.ts';
import { Sessions } from './sessions.ts';
import type { Tokens } from './tokens.ts';
import {
  appendContent,
  type BlobAddress,
  closedAnswer,
  closeUpload,
  sessionIn,
  sizeIn,
  type UploadOptions,
  type UploadSession,
} from '../../../src/oci-client/upload-session.ts';

interface Options extends Pick<Surroundings, 'transport' | 'sleep'> {
  readonly limit: BodyLimit;
  readonly tell?: (line: string) => void;
}

/** Headers about the client's body. The gateway's own requests leave them out. */
const OF_THE_BODY = new Set(['content-type', 'content-encoding']);

export class Uploads {
  readonly #options: Options;
  readonly #tokens: Tokens;
  readonly #sessions = new Sessions();

  constructor(options: Options, tokens: Tokens) {
    this.#options = options;
    this.#tokens = tokens;
  }

  /** Learns the size of an upload, and the host's limit, from an answer to a request without a body. */
  note(method: Request['method'], url: URL, answer: Response): void {
    if (method === 'POST' && answer.status === 202) {
      this.#options.limit.learn(answer.headers);
      this.#sessions.remember(sessionIn(answer, url, 0).url, 0);
    }
    const size = method === 'GET' && answer.status === 204 ? sizeIn(answer.headers) : undefined;
    if (size !== undefined) this.#sessions.remember(sessionIn(answer, url, size).url, size);
  }

  /** PATCH: one chunk of the client's, or a whole blob. */
  async append(exchange: Exchange, url: URL): Promise<Response> {
    const session = await this.#sessionAt(exchange, url);
    return session instanceof Response ? session : this.#send(exchange, session);
  }

  /** PUT of an upload with a body: the last chunk, or a whole blob. */
  async close(exchange: Exchange, url: URL, digest: string): Promise<Response> {
    const session = await this.#sessionAt(exchange, withoutDigest(url));
    return session instanceof Response ? session : this.#send(exchange, session, blobAt(url, digest));
  }

  /** PUT of an upload without a body: the host already has all bytes of the blob. */
  async closeAsIs(exchange: Exchange, url: URL, digest: string): Promise<Response> {
    const send = this.#transport(exchange);
    let attempts = 0;
    const answer = await withRetries(this.#options, exchange.signal, () => {
      attempts += 1;
      return send(url, nothing('PUT', exchange));
    });
    return attempts === 1 ? answer : closedAnswer(send, answer, blobAt(url, digest), exchange.signal);
  }

  /** POST with a digest and a body: a whole blob. The host is asked for an upload, because the body may break. */
  async openAndClose(exchange: Exchange, url: URL, digest: string): Promise<Response> {
    const opening = withoutDigest(url);
    if (digest.startsWith('sha512:')) opening.searchParams.set('digest-algorithm', 'sha512');
    const send = this.#transport(exchange);
    const answer = await withRetries(this.#options, exchange.signal, () => send(opening, nothing('POST', exchange)));
    if (answer.status !== 202) return answer;
    this.note('POST', opening, answer);
    return this.#send(exchange, sessionIn(answer, opening, 0), blobAt(url, digest));
  }

  /** Sends the body into the session. @param blob if given, the session is closed as this blob */
  async #send(exchange: Exchange, opened: UploadSession, blob?: BlobAddress): Promise<Response> {
    const { limit } = this.#options;
    const send = this.#transport(exchange);
    const isNumbered = exchange.incoming.headers['content-range'] !== undefined;
    let session = opened;
    for await (const chunk of exchange.body.chunks(() => limit.bytes)) {
      const isOnly = chunk.isLast && session === opened;
      const options = this.#uploadOptions(exchange, session, isNumbered || !isOnly);
      if (isOnly && blob !== undefined) return await closeUpload(send, session, chunk, blob, options);
      // The host decides how to answer an empty chunk.
      if (chunk.length === 0) return await send(session.url, nothing('PATCH', exchange));
      const appended = await appendContent(send, session, chunk, options);
      ({ session } = appended);
      this.#sessions.remember(session.url, session.size);
      if (!appended.answer.ok || (chunk.isLast && blob === undefined)) return appended.answer;
    }
    if (blob === undefined) throw new Error('a body has a last chunk');
    return closeUpload(send, session, undefined, blob, this.#uploadOptions(exchange, session, true));
  }

  /** Returns the session of a request, or the host's error if it does not say how far the session is. */
  async #sessionAt(exchange: Exchange, url: URL): Promise<UploadSession | Response> {
    const [, start] = /^(?:bytes[ =])?(\d{1,15})-/.exec(exchange.incoming.headers['content-range'] ?? '') ?? [];
    const size = start === undefined ? this.#sessions.sizeOf(url) : Number(start);
    if (size !== undefined) return { url, size };
    const answer = await this.#transport(exchange)(url, { method: 'GET', signal: exchange.signal });
    return answer.ok ? sessionIn(answer, url, sizeIn(answer.headers) ?? 0) : answer;
  }

  #uploadOptions({ signal }: Exchange, { url, size }: UploadSession, isPart: boolean): UploadOptions {
    const { limit, tell, sleep } = this.#options;
    return {
      limit,
      signal,
      isPart,
      ...(sleep === undefined ? {} : { sleep }),
      onRetry: (reason) =>
        tell?.(`${repositoryIn(url) ?? url.host}: sending the chunk at byte ${size} again: ${reason}`),
    };
  }

  /** Sends with the client's headers, among them its login. */
  #transport({ incoming }: Exchange): Transport {
    const all = requestHeaders(incoming);
    const ofTheBody = Object.fromEntries(Object.entries(all).filter(([name]) => OF_THE_BODY.has(name)));
    const others = Object.fromEntries(Object.entries(all).filter(([name]) => !OF_THE_BODY.has(name)));
    return async (url, request) => {
      const { authorization } = others;
      const current = authorization === undefined ? {} : { authorization: await this.#tokens.current(authorization) };
      const body = request.body === undefined ? {} : ofTheBody;
      return this.#options.transport(url, {
        ...request,
        headers: { ...others, ...request.headers, ...body, ...current },
      });
    };
  }
}

function nothing(method: Request['method'], { signal }: Exchange): Request {
  return { method, headers: { 'content-length': '0' }, signal };
}

/** Removes the digest, and leaves the rest of the query as it is written, because the host may have signed it. */
function withoutDigest(url: URL): URL {
  const others = new URL(url);
  others.search = url.search
    .slice(1)
    .split('&')
    .filter((parameter) => !parameter.startsWith('digest='))
    .join('&');
  return others;
}

function blobAt(url: URL, digest: string): BlobAddress {
  const repository = repositoryIn(url);
  return { digest, url: repository === undefined ? undefined : new URL(`/v2/${repository}/blobs/${digest}`, url) };
}

function repositoryIn({ pathname }: URL): string | undefined {
  return /^\/v2\/(.+)\/blobs\/uploads(?:\/|$)/.exec(pathname)?.[1];
}
