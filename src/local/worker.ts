/**
 * The Worker of a local run: Berth, behind whatever passes requests on to it on the same machine. A front that ends TLS
 * shows its clients another scheme, host and port than those that Berth is asked at, and says so in `X-Forwarded-Proto`
 * and `X-Forwarded-Host`. A deployment bundles nothing of this: there anyone could write these headers, and choose by
 * them where a client takes its password. Here all who can connect are on loopback.
 */
import { type Address, createApp } from '../app.ts';
import worker from '../index.ts';

export { ReplicationQueue } from '../index.ts';

export default {
  ...worker,

  /** @param port where what is answered here came in */
  at(port: string): ExportedHandler<Env> {
    const app = createApp((request) => addressOf(request, port));
    return { ...worker, fetch: (request, env, ctx) => app.fetch(request, env, ctx) };
  },
};

/** A name or address, with or without a port. */
const HOST = /^(?:[\w.-]+|\[[\da-f:.]+\])(?::\d{1,5})?$/i;

function addressOf(request: Request, port: string): Address {
  const url = new URL(request.url);
  const protocol = lastOf(request.headers.get('X-Forwarded-Proto'))?.toLowerCase();
  const host = lastOf(request.headers.get('X-Forwarded-Host'));
  const scheme = protocol === 'https' || protocol === 'http' ? protocol : undefined;
  if (scheme === undefined && host === undefined) return { url };
  const sent = `${scheme ?? 'http'}://${host !== undefined && HOST.test(host) ? host : url.host}${url.pathname}${url.search}`;
  return { url: URL.canParse(sent) ? new URL(sent) : url, port };
}

/** The value that the nearest proxy has written: others may stand before it, which it was sent. */
function lastOf(header: string | null): string | undefined {
  const last = header?.split(',').at(-1)?.trim();
  return last === '' ? undefined : last;
}
