/** Checks below HTTP: the address and the certificate of a host, and what it does with plain HTTP. */
import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import { connect, type PeerCertificate } from 'node:tls';
import { isLoopback } from '../../config.ts';
import { header } from './client.ts';
import type { Host } from './hosts.ts';
import { Failed, type Found, failure, notChecked, ok, warning } from './line.ts';
import type { Run } from './run.ts';

const DAY = 86_400_000;

/** Cloudflare renews a certificate 30 days before it ends. */
const SOON = 14 * DAY;

const TLS_MILLISECONDS = 10_000;
const PLAIN_MILLISECONDS = 10_000;

const LOOPBACK = notChecked('loopback');

const DOMAIN = 'Check that the host is a custom domain of the Worker (routes in wrangler.toml), then npm run deploy';

export async function* checkAddress(_run: Run, { url }: Host): AsyncGenerator<Found, void> {
  if (isLoopback(url.hostname)) return yield LOOPBACK;
  const addresses = await lookup(unbracketed(url.hostname), { all: true }).catch((error: unknown) => {
    throw new Failed(`the name does not resolve: ${(error as Error).message}`, `${DOMAIN}.`);
  });
  yield ok(addresses.map(({ address }) => address).join(', '));
}

export async function* checkCertificate({ client }: Run, { url }: Host): AsyncGenerator<Found, void> {
  if (url.protocol === 'http:') return yield LOOPBACK;
  const { error, certificate } = await certificateOf(url, client.signal);
  const ends = new Date(certificate.valid_to);
  const until = `valid until ${ends.toISOString().slice(0, 10)}`;
  if (ends.getTime() < Date.now()) {
    return yield failure(
      `it ended on ${ends.toISOString().slice(0, 10)}`,
      'Look at SSL/TLS, Edge Certificates in the dashboard: Cloudflare should have renewed it.',
    );
  }
  if (error !== undefined)
    return yield failure(`it is not trusted: ${error}`, `${DOMAIN}. A custom domain brings its own certificate.`);
  if (ends.getTime() < Date.now() + SOON)
    return yield warning(until, 'It should have been renewed: look at SSL/TLS, Edge Certificates in the dashboard.');
  yield ok(until);
}

interface Presented {
  /** The reason why it is not trusted; undefined if it is. */
  readonly error: string | undefined;
  readonly certificate: PeerCertificate;
}

function certificateOf({ hostname, port }: URL, signal: AbortSignal): Promise<Presented> {
  const host = unbracketed(hostname);
  // A bad certificate has to be looked at as well. Nothing is sent over this connection.
  const options = { host, port: Number(port || 443), rejectUnauthorized: false };
  return new Promise((done, fail) => {
    const socket = connect(isIP(host) === 0 ? { ...options, servername: host } : options, () => {
      const { authorizationError: error } = socket as { authorizationError?: Error | string | null };
      const message = error instanceof Error ? error.message : (error ?? undefined);
      done({ error: message, certificate: socket.getPeerCertificate() });
      socket.destroy();
    });
    const stop = (): void => void socket.destroy(new Error('stopped'));
    const timeOut = (): void => void socket.destroy(new Error(`nothing within ${TLS_MILLISECONDS / 1000} seconds`));
    socket.setTimeout(TLS_MILLISECONDS, timeOut);
    signal.addEventListener('abort', stop);
    socket.once('error', ({ message }) => fail(new Failed(`no TLS connection: ${message}`, `${DOMAIN}.`)));
    socket.once('close', () => signal.removeEventListener('abort', stop));
  });
}

/** Returns an address as the network functions take it: a URL writes IPv6 addresses in brackets. */
function unbracketed(hostname: string): string {
  return hostname.replace(/^\[(.*)\]$/, '$1');
}

/**
 * Checks that plain HTTP is refused or redirected before a client is asked for its password: at port 80, or at the port
 * of the URL if it has one.
 */
export async function* checkPlainHttp({ client }: Run, { url }: Host): AsyncGenerator<Found, void> {
  if (url.protocol === 'http:') return yield LOOPBACK;
  const plain = new URL('/v2/', url);
  plain.protocol = 'http:';
  const answer = await client.ask(plain, { deadline: PLAIN_MILLISECONDS }).catch((error: unknown) => {
    client.signal.throwIfAborted();
    return error as Failed;
  });
  if (answer instanceof Error) return yield ok('nothing answers it');
  const { status } = answer;
  const location = header(answer, 'Location') ?? '';
  if (status >= 300 && status < 400 && location.startsWith(`https://${url.hostname}`))
    return yield ok('it is redirected to https');
  if (status >= 400 && header(answer, 'WWW-Authenticate') === undefined)
    return yield ok(`it is refused with ${status}`);
  yield failure(
    `GET http://${plain.host}/v2/ is answered with ${status}${location === '' ? '' : `, to ${location}`}`,
    'Clients would send passwords that anyone on the way can read. Turn on Always Use HTTPS, and deploy the latest code.',
  );
}
