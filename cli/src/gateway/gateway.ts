/** Forwards the requests of clients to the host. Bodies that are too large for the host go in chunks. */
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http';
import { textOf } from '../../../src/oci-client/answer.ts';
import { withRetries } from '../../../src/oci-client/retry.ts';
import type { Surroundings } from '../../../src/oci-client/surroundings.ts';
import type { Request } from '../../../src/oci-client/transport.ts';
import type { BodyLimit } from '../../../src/oci-client/body-limit.ts';
import { PATIENCE, type Patience } from './client-body.ts';
import { Exchange, refusal } from './exchange.ts';
import { realmPath, requestHeaders } from './headers.ts';
import { Room } from './room.ts';
import { Tokens } from './tokens.ts';
import { Uploads } from './uploads.ts';

/** Chunks that are kept in memory at once, for all uploads together. */
const CHUNKS_IN_MEMORY = 6;
/** Larger than any manifest: registries take 4 MiB. */
const SMALL_BYTES = 16 * 1024 ** 2;
/** Bodies of that size that are kept in memory at once. */
const SMALL_IN_MEMORY = 4;
const METHODS = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE']);
/** Names that mean this machine, here or in a virtual machine of Docker Desktop, podman or Lima. */
const OWN_NAME = /^(?:localhost|[\w.-]+\.localhost|127\.[\d.]+|\[::1\]|host\.[\w-]+\.internal)(?::\d+)?$/i;

export interface GatewayOptions extends Pick<Surroundings, 'transport' | 'sleep'> {
  readonly host: URL;
  readonly limit: BodyLimit;
  readonly patience?: Patience;
  /** Called with messages for the user. */
  readonly tell?: (line: string) => void;
}

export class Gateway {
  readonly #options: GatewayOptions;
  readonly #room: Room;
  readonly #smallRoom = new Room(SMALL_IN_MEMORY * SMALL_BYTES);
  readonly #uploads: Uploads;
  readonly #tokens: Tokens;
  /** Paths of the host's token services. */
  readonly #realms = new Set<string>();

  constructor(options: GatewayOptions) {
    this.#options = options;
    this.#room = new Room(CHUNKS_IN_MEMORY * options.limit.bytes);
    this.#tokens = new Tokens(options.transport);
    this.#uploads = new Uploads(options, this.#tokens);
  }

  async handle(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    const exchange = new Exchange(incoming, outgoing, this.#room, this.#options.patience ?? PATIENCE);
    try {
      await exchange.answer(await this.#answerTo(exchange), this.#options.host);
    } catch (error) {
      await exchange.fail(error, this.#options.host);
    }
  }

  async #answerTo(exchange: Exchange): Promise<Response> {
    const { method = '', headers, headersDistinct } = exchange.incoming;
    // Otherwise something in front could read one of them, and this gateway another (RFC 9112 §3.2).
    if ((headersDistinct['host'] ?? []).length > 1)
      return refusal(400, 'UNSUPPORTED', 'a request must not have two Host headers');
    // Otherwise a web page could read the host through a name of its own that resolves to this machine.
    if (!OWN_NAME.test(headers.host ?? '')) {
      return refusal(
        421,
        'DENIED',
        `the gateway serves localhost, not ${headers.host}: use the address that it printed`,
      );
    }
    if (isFromPage(headers)) {
      return refusal(
        403,
        'DENIED',
        'the gateway does not answer web pages: use a registry client, or open the address yourself',
      );
    }
    if (!METHODS.has(method)) return refusal(405, 'UNSUPPORTED', `the gateway does not forward ${method}`);
    const url = URL.parse(exchange.incoming.url ?? '/', this.#options.host);
    if (url === null) return refusal(400, 'UNSUPPORTED', 'the address of the request is malformed');
    if (url.origin !== this.#options.host.origin)
      return refusal(400, 'UNSUPPORTED', 'the gateway is not a proxy: send a path, not a URL');
    const digest = url.searchParams.get('digest');
    const hasBody = exchange.body.length !== 0;
    if (hasBody && method === 'PATCH') return this.#uploads.append(exchange, url);
    if (method === 'PUT' && digest !== null) {
      return hasBody ? this.#uploads.close(exchange, url, digest) : this.#uploads.closeAsIs(exchange, url, digest);
    }
    if (hasBody && method === 'POST' && digest !== null) return this.#uploads.openAndClose(exchange, url, digest);
    return this.#forward(exchange, url);
  }

  /** Passes on a request whose body, if it has one, is small. */
  async #forward(exchange: Exchange, url: URL): Promise<Response> {
    const body = await exchange.body.whole(SMALL_BYTES, this.#smallRoom);
    if (body === undefined) return refusal(413, 'SIZE_INVALID', 'a body that is not a layer is larger than 16 MiB');
    const method = exchange.incoming.method as Request['method'];
    const request = { method, headers: requestHeaders(exchange.incoming), signal: exchange.signal };
    return this.#send(exchange, url, body.length === 0 ? request : { ...request, body });
  }

  async #send(exchange: Exchange, url: URL, request: Request): Promise<Response> {
    const { transport } = this.#options;
    const ask = (): Promise<Response> => transport(url, request);
    const answer = await (isRepeatable(request, url) ? withRetries(this.#options, exchange.signal, ask) : ask());
    const realm = realmPath(answer, this.#options.host);
    if (realm !== undefined) this.#realms.add(realm);
    this.#uploads.note(request.method, url, answer);
    if (!this.#realms.has(url.pathname) || !answer.ok) return answer;
    const text = await textOf(answer);
    this.#tokens.remember(url, request, text);
    return new Response(text, answer);
  }
}

/**
 * Returns whether a page of another origin has made a request. Browsers say so in either header: Sec-Fetch-Site
 * (Fetch Metadata, "The Sec-Fetch-Site HTTP Request Header"), which some leave out, or Origin (RFC 6454 §7).
 */
function isFromPage({ host, origin, 'sec-fetch-site': site }: IncomingHttpHeaders): boolean {
  const isForeign = origin !== undefined && origin.toLowerCase() !== `http://${host?.toLowerCase()}`;
  return isForeign || site === 'cross-site' || site === 'same-site';
}

/** Returns whether a request whose answer was lost may be made again. */
function isRepeatable({ method }: Request, { pathname }: URL): boolean {
  // If this opens a second upload session, the unused one expires.
  if (method === 'POST') return /\/uploads\/?$/.test(pathname);
  return method === 'GET' || method === 'HEAD' || method === 'PUT';
}
