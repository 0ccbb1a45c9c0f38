/** The user and password that a client presents. */
export interface Presented {
  readonly user: string;
  readonly password: string;
}

/** Parses the value of `Authorization: Basic` (RFC 7617); returns undefined if it is malformed. */
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

/** Returns whether the caller is anonymous: without credentials, skopeo sends an empty user and password. */
export function isEmpty({ user, password }: Presented): boolean {
  return user === '' && password === '';
}
