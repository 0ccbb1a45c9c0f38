/** What a client logs in with. */
export interface Presented {
  readonly user: string;
  readonly password: string;
}

/** The user and password of `Authorization: Basic` (RFC 7617); undefined where it is malformed. */
export function parseBasic(encoded: string): Presented | undefined {
  let decoded: string;
  try {
    decoded = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(Uint8Array.fromBase64(encoded));
  } catch {
    return undefined;
  }
  const colon = decoded.indexOf(':');
  return colon < 0 ? undefined : { user: decoded.slice(0, colon), password: decoded.slice(colon + 1) };
}

/** skopeo without credentials sends an empty user and password: an anonymous caller. */
export function isEmpty({ user, password }: Presented): boolean {
  return user === '' && password === '';
}
