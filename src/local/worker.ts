/**
 * The Worker of a local run. It supports proxies on the same machine: a proxy that terminates TLS is reached at another
 * scheme, host and port than Berth, and says so in `X-Forwarded-Proto` and `X-Forwarded-Host`. A deployment does not
 * include this file, because there anyone could send these headers and so choose where a client sends its password.
 * Here only processes on this machine can connect.
 */
import { type Address, createApp } from '../app.ts';
import worker from '../index.ts';

export { MirrorBlob, OrganizationImports, OrganizationMirror, ReplicationQueue } from '../index.ts';

export default {
  ...worker,

  /** Returns the entry point for requests that come in on a port. */
  at(port: string): ExportedHandler<Env> {
    const app = createApp((request) => addressOf(request, port));
    return { ...worker, fetch: (request, env, ctx) => app.fetch(request, env, ctx) };
  },
};

/** A host name or address, with or without a port. */
const HOST = /^(?:[\w.-]+|\[[\da-f:.]+\])(?::\d{1,5})?$/i;

function addressOf(request: Request, port: string): Address {
  const url = new URL(request.url);
  const protocol = lastOf(request.headers.get('X-Forwarded-Proto'))?.toLowerCase();
  const host = lastOf(request.headers.get('X-Forwarded-Host'));
  const scheme = protocol === 'https' || protocol === 'http' ? protocol : undefined;
  if (scheme === undefined && host === undefined) return { url };
  const sentTo = host !== undefined && HOST.test(host) ? host : url.host;
  const sent = `${scheme ?? 'http'}://${sentTo}${url.pathname}${url.search}`;
  return { url: URL.canParse(sent) ? new URL(sent) : url, port };
}

/** Returns the last value, which the nearest proxy added. Values before it came with the request. */
function lastOf(header: string | null): string | undefined {
  const last = header?.split(',').at(-1)?.trim();
  return last === '' ? undefined : last;
}
