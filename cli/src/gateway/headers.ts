/** Decides which headers pass the gateway, and changes addresses so that the client stays on it. */
import type { IncomingMessage, OutgoingHttpHeaders } from 'node:http';

/** About one connection, not about the message (RFC 9110 §7.6.1). */
const HOP_BY_HOP = [
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
];
/** The gateway states these itself. */
const OF_THE_BODY = ['content-length', 'content-range', 'expect', 'host'];
/** Dropped because the gateway reads answers with tokens, which an edge would otherwise compress. */
const ACCEPT_ENCODING = 'accept-encoding';
const WITH_ADDRESSES = new Set(['link', 'location', 'www-authenticate']);

/** Returns a request's headers for the host. Leaves out those about the body, which the gateway may cut. */
export function requestHeaders({ headers }: IncomingMessage): Record<string, string> {
  const dropped = new Set([...HOP_BY_HOP, ...OF_THE_BODY, ACCEPT_ENCODING, ...namesIn(headers.connection)]);
  return Object.fromEntries(
    Object.entries(headers)
      .filter(([name, value]) => value !== undefined && !dropped.has(name))
      .map(([name, value]) => [name, [value].flat().join(', ')]),
  );
}

/**
 * Returns an answer's headers for the client. Addresses on the host become addresses on the gateway; others stay.
 * @param own the gateway as the client addresses it, `http://localhost:5000`
 */
export function answerHeaders({ headers }: Response, host: URL, own: string): OutgoingHttpHeaders {
  const dropped = new Set([...HOP_BY_HOP, ...namesIn(headers.get('connection') ?? undefined)]);
  const onHost = new RegExp(`https?://${host.host.replaceAll(/[.[\]]/g, String.raw`\$&`)}(?=[/?#">]|$)`, 'gi');
  const kept: Record<string, string | string[]> = {};
  for (const [name, value] of headers) {
    if (dropped.has(name) || name === 'set-cookie') continue;
    kept[name] = WITH_ADDRESSES.has(name) ? value.replaceAll(onHost, own) : value;
  }
  const cookies = headers.getSetCookie();
  return cookies.length === 0 ? kept : { ...kept, 'set-cookie': cookies };
}

/**
 * Returns the path of the token service, if it is on the host
 * (https://distribution.github.io/distribution/spec/auth/token/).
 */
export function realmPath({ headers }: Response, host: URL): string | undefined {
  const realm = /^bearer .*\brealm="([^"]*)"/i.exec(headers.get('www-authenticate') ?? '')?.[1];
  if (realm === undefined || !URL.canParse(realm)) return undefined;
  const url = new URL(realm);
  return url.host === host.host ? url.pathname : undefined;
}

function namesIn(connection: string | undefined): string[] {
  return (connection ?? '').split(',').map((name) => name.trim().toLowerCase());
}
