/**
 * HTTP as registry clients speak it. Unlike `fetch`, it follows no redirect and decodes no Content-Encoding, so that a
 * check sees what a client sees.
 */
import {
  Agent as PlainAgent,
  type ClientRequest,
  type IncomingHttpHeaders,
  type IncomingMessage,
  request as plainRequest,
} from 'node:http';
import { Agent as TlsAgent, request as tlsRequest } from 'node:https';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { buffer } from 'node:stream/consumers';
import { Failed } from './line.ts';

/** The longest that a request may take. */
const REQUEST_MILLISECONDS = 30_000;

export interface Ask {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** A buffer is sent with its length, and anything else in chunks unless the headers have a Content-Length. */
  readonly body?: Buffer | Iterable<Buffer>;
  /** Milliseconds until the request is given up; 30 seconds by default. */
  readonly deadline?: number;
}

export interface Answer {
  readonly method: string;
  readonly url: URL;
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

export class Client {
  /** Aborts every request. */
  readonly signal: AbortSignal;
  readonly #plain = new PlainAgent({ keepAlive: true });
  readonly #tls = new TlsAgent({ keepAlive: true });

  constructor(signal: AbortSignal) {
    this.signal = signal;
  }

  /** Makes a request. @throws Failed if there is no answer in time; the signal's reason once it is aborted */
  async ask(url: URL, asked: Ask = {}): Promise<Answer> {
    const { method = 'GET', deadline = REQUEST_MILLISECONDS } = asked;
    const signal = AbortSignal.any([this.signal, AbortSignal.timeout(deadline)]);
    try {
      const { status, headers, body } = await this.#exchange(url, asked, signal);
      return { method, url, status, headers, body };
    } catch (error) {
      this.signal.throwIfAborted();
      const message = signal.aborted ? `nothing within ${deadline / 1000} seconds` : (error as Error).message;
      throw new Failed(`${method} ${url.pathname} got no answer: ${message}`, `Check that ${url.host} can be reached.`);
    }
  }

  /** Closes the connections that it keeps. */
  close(): void {
    this.#plain.destroy();
    this.#tls.destroy();
  }

  async #exchange(url: URL, asked: Ask, signal: AbortSignal): Promise<Pick<Answer, 'status' | 'headers' | 'body'>> {
    const request = this.#request(url, asked, signal);
    try {
      const response = await responseTo(request, asked.body);
      const { statusCode: status = 0, headers } = response;
      const body = await buffer(response).catch((error: unknown) => {
        // A server that refuses a body may close the connection before its answer has been read to the end.
        if (status >= 400 && !signal.aborted) return Buffer.alloc(0);
        throw error;
      });
      return { status, headers, body };
    } catch (error) {
      // The server has closed a kept connection just as the request went out on it. A chunk is not sent twice.
      const isStale = request.reusedSocket && (error as NodeJS.ErrnoException).code === 'ECONNRESET';
      if (!isStale || signal.aborted || asked.method === 'PATCH') throw error;
      return await this.#exchange(url, asked, signal);
    } finally {
      if (!request.writableFinished) request.destroy();
    }
  }

  #request(url: URL, { method = 'GET', headers: more = {}, body }: Ask, signal: AbortSignal): ClientRequest {
    const length = Buffer.isBuffer(body) ? { 'Content-Length': String(body.byteLength) } : {};
    const headers = { 'User-Agent': 'berth-doctor', ...length, ...more };
    return url.protocol === 'https:'
      ? tlsRequest(url, { method, headers, signal, agent: this.#tls })
      : plainRequest(url, { method, headers, signal, agent: this.#plain });
  }
}

/** Sends the body. An edge that refuses a body answers while it is being sent: then that answer counts. */
function responseTo(request: ClientRequest, body: Ask['body']): Promise<IncomingMessage> {
  return new Promise((done, fail) => {
    request.once('response', done);
    request.on('error', fail);
    if (body === undefined || Buffer.isBuffer(body)) request.end(body);
    else pipeline(Readable.from(body), request).catch(fail);
  });
}

export function json(answer: Answer): unknown {
  try {
    return JSON.parse(answer.body.toString());
  } catch {
    return undefined;
  }
}

export function header({ headers }: Answer, name: string): string | undefined {
  const value = headers[name.toLowerCase()];
  return Array.isArray(value) ? value.join(', ') : value;
}

/** Checks the status. @throws Failed that says what answered instead, and what to do */
export function requireStatus(answer: Answer, ...expected: readonly number[]): Answer {
  const isPage = header(answer, 'cf-mitigated') !== undefined || isHtml(answer);
  if (expected.includes(answer.status) && !isPage) return answer;
  throw unexpected(answer);
}

const isHtml = (answer: Answer): boolean => /\bhtml\b/.test(header(answer, 'Content-Type') ?? '');

const ZONE = 'docs/zone.md has the settings';

/** Explains an answer that no check expects. */
export function unexpected(answer: Answer): Failed {
  const { method, url, status } = answer;
  const what = `${method} ${shortened(url.pathname)} is answered with ${status}`;
  const mitigated = header(answer, 'cf-mitigated');
  if (mitigated !== undefined) {
    return new Failed(
      `${what} and a challenge page (cf-mitigated: ${mitigated})`,
      `Turn off Bot Fight Mode, and skip other security rules for this host: ${ZONE}.`,
    );
  }
  if (status >= 300 && status < 400) return redirected(answer, what);
  if (isHtml(answer)) {
    return new Failed(
      `${what} and an HTML page, which Berth never sends`,
      `Something in front of Berth answers, such as a security rule: ${ZONE}.`,
    );
  }
  if (status === 413) {
    return new Failed(
      `${what}: the request body is too large`,
      'The plan of the zone, or Maximum Upload Size, limits request bodies: docs/limits.md has the limits of the plans.',
    );
  }
  const message = messageOf(answer);
  if (status === 429 && message === undefined)
    return new Failed(`${what}, but not by Berth`, `A rate limiting rule of the zone counts the registry: ${ZONE}.`);
  return new Failed(`${what}${message === undefined ? '' : `: ${message}`}`, adviceFor(status, url));
}

function redirected(answer: Answer, what: string): Failed {
  const location = header(answer, 'Location') ?? '';
  const isAccess = /\.cloudflareaccess\.com\b|\/cdn-cgi\/access\//.test(location);
  return new Failed(
    `${what}, to ${shortened(location.split('?')[0] ?? '')}`,
    isAccess
      ? 'Remove the host from Cloudflare Access: registry clients cannot log in there.'
      : `Remove the rule that redirects this host: clients cannot push through a redirect. ${ZONE}.`,
  );
}

function adviceFor(status: number, url: URL): string {
  switch (status) {
    case 401:
      return 'Check the user and the secret of the credential.';
    case 403:
      return 'Use a credential that may do this: docs/doctor.md says which rights it needs.';
    case 404:
      return `Check that ${url.host} is a host of this deployment, and that the latest code is deployed.`;
    case 429:
      return 'Wait a minute, then try again.';
    default:
      return 'Look at the log of the Worker: npx wrangler tail --env production.';
  }
}

/** Returns the message of Berth's own error; undefined if something else answered. */
export function messageOf(answer: Answer): string | undefined {
  const body = json(answer) as { errors?: readonly { message?: unknown }[] } | undefined;
  const message = body?.errors?.[0]?.message;
  return typeof message === 'string' ? message : undefined;
}

const SHOWN = 100;

function shortened(text: string): string {
  return text.length > SHOWN ? `${text.slice(0, SHOWN)}…` : text;
}
