/** HTTP through the proxy that the environment names, with the certificates that the options name. */
import { readFileSync } from 'node:fs';
import { lookup as systemLookup } from 'node:dns';
import { isIPv4, type LookupFunction } from 'node:net';
import { Readable } from 'node:stream';
import { ReadableStream as NodeStream } from 'node:stream/web';
import { rootCertificates } from 'node:tls';
import { Agent, type Dispatcher, EnvHttpProxyAgent, request as send } from 'undici';
import { type Request, type Transport, TransportError } from '../../src/oci-client/transport.ts';
import { Failure, WrongUse } from './errors.ts';

/** The options for reaching hosts. Each command that talks to a host has them. */
export interface TransportOptions {
  /** A file with certificates, in PEM, of authorities to trust besides the usual ones. */
  readonly ca?: string | undefined;
  /** Turns off the check of certificates. */
  readonly insecure?: boolean | undefined;
  /** Whether hosts other than this machine are reached over http, too. */
  readonly plainHttp?: boolean | undefined;
}

const CONNECT_MS = 20_000;
/** The longest pause in a body, in either direction. */
const STALLED_MS = 60_000;
/**
 * The time that a registry has to answer the whole request. Many hash an upload only when it is closed.
 */
const ANSWER_MS = 300_000;

/**
 * Returns the URL of a host. This machine is reached over http, unless the options are about certificates.
 * @param host `host[:port]`, or a URL, whose scheme then counts
 * @throws WrongUse if it is neither
 */
export function baseUrl(host: string, { ca, insecure, plainHttp }: TransportOptions = {}): URL {
  const isUrl = /^https?:\/\//.test(host);
  if (!URL.canParse(isUrl ? host : `http://${host}`)) {
    throw new WrongUse(`'${host}' is not a host: write a name or an address, and a port if it has one: host[:port]`);
  }
  if (isUrl) return new URL(host);
  const wantsCertificates = ca !== undefined || insecure === true;
  const isPlain = plainHttp === true || (!wantsCertificates && isLoopback(new URL(`http://${host}`).hostname));
  return new URL(`${isPlain ? 'http' : 'https'}://${host}`);
}

/** Returns whether a name or an address means this machine (RFC 6761 §6.3, RFC 1122 §3.2.1.3, RFC 4291 §2.5.3). */
export function isLoopback(hostname: string): boolean {
  return (
    hostname === 'localhost' ||
    hostname.endsWith('.localhost') ||
    hostname === '[::1]' ||
    hostname === '::1' ||
    (isIPv4(hostname) && hostname.startsWith('127.'))
  );
}

/** @throws Failure if the file of certificates can't be read */
export function createTransport(options: TransportOptions = {}): Transport {
  const tls = {
    ...(options.ca === undefined ? {} : { ca: [...rootCertificates, certificatesIn(options.ca)] }),
    ...(options.insecure === true ? { rejectUnauthorized: false } : {}),
  };
  const limits = { connectTimeout: CONNECT_MS, headersTimeout: ANSWER_MS, bodyTimeout: STALLED_MS };
  const direct = new Agent({ ...limits, connect: { ...tls, lookup } });
  const proxied = new EnvHttpProxyAgent({ ...limits, connect: tls, requestTls: tls });
  return async (url, request) => {
    const dispatcher = isLoopback(url.hostname) ? direct : proxied;
    const watch = new StallWatch(request.signal);
    try {
      const answer = await send(url, {
        dispatcher,
        method: request.method,
        headers: headersOf(request),
        signal: watch.signal,
        ...bodyOf(request, watch),
      });
      return responseOf(request, answer);
    } catch (error) {
      request.signal?.throwIfAborted();
      throw new TransportError(reasonOf(url, watch.signal.aborted ? watch.signal.reason : error), { cause: error });
    } finally {
      watch.end();
    }
  };
}

/** Gives up a request whose body has stopped moving. None of undici's limits applies while a body is being sent. */
class StallWatch {
  readonly #stalled = new AbortController();
  readonly signal: AbortSignal;
  #timer: NodeJS.Timeout | undefined;

  constructor(outer: AbortSignal | undefined) {
    this.signal = outer === undefined ? this.#stalled.signal : AbortSignal.any([outer, this.#stalled.signal]);
  }

  async *watched(stream: ReadableStream<Uint8Array>): AsyncGenerator<Uint8Array> {
    for await (const piece of stream as unknown as NodeStream<Uint8Array>) {
      this.#timer = setTimeout(() => {
        this.#stalled.abort(new Error(`the connection took no bytes for ${STALLED_MS / 1000} seconds`));
      }, STALLED_MS).unref();
      yield piece;
      this.end();
    }
  }

  end(): void {
    clearTimeout(this.#timer);
  }
}

function headersOf({ headers, body }: Request): Record<string, string> {
  const isStream = body !== undefined && typeof body !== 'string' && 'stream' in body;
  return { 'user-agent': 'berth', ...headers, ...(isStream ? { 'content-length': String(body.length) } : {}) };
}

function bodyOf({ body }: Request, watch: StallWatch): { body?: string | Uint8Array | Readable } {
  if (body === undefined) return {};
  if (typeof body === 'string' || !('stream' in body)) return { body };
  return { body: Readable.from(watch.watched(body.stream), { objectMode: false }) };
}

function responseOf({ method }: Request, { statusCode, headers, body }: Dispatcher.ResponseData): Response {
  const isEmpty = method === 'HEAD' || statusCode === 204 || statusCode === 304;
  // Reading to the end frees the connection.
  if (isEmpty) body.on('error', () => undefined).resume();
  // Not `Readable.toWeb`: after a cancel, late data makes it throw where nobody can catch the error.
  return new Response(isEmpty ? null : (NodeStream.from(body) as unknown as ReadableStream), {
    status: statusCode,
    headers: Object.entries(headers).flatMap(([name, values]) =>
      [values ?? []].flat().map((value): [string, string] => [name, value]),
    ),
  });
}

/** Resolves names under `localhost` to this machine, because not every system's resolver does. */
const lookup: LookupFunction = (hostname, options, done) => {
  systemLookup(hostname.endsWith('.localhost') ? 'localhost' : hostname, options, done);
};

function certificatesIn(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (cause) {
    throw new Failure(`the file of certificates ${file} can't be read: correct --ca`, { cause });
  }
}

function reasonOf(url: URL, error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  const advice = ADVICE[code ?? ''];
  const reason = message === '' ? (code ?? 'the connection failed') : message;
  return `${url.host}: ${reason}${advice === undefined ? '' : `: ${advice}`}`;
}

const UNTRUSTED = 'trust its authority with --ca FILE';
const ADVICE: Readonly<Record<string, string>> = {
  ENOTFOUND: 'check the name for typing errors',
  ECONNREFUSED: 'check that the registry runs, and its port',
  ERR_SSL_WRONG_VERSION_NUMBER: 'it may speak http only: try --plain-http',
  ERR_SSL_PACKET_LENGTH_TOO_LONG: 'it may speak http only: try --plain-http',
  SELF_SIGNED_CERT_IN_CHAIN: UNTRUSTED,
  DEPTH_ZERO_SELF_SIGNED_CERT: UNTRUSTED,
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: UNTRUSTED,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: UNTRUSTED,
};
