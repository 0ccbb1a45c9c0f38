/** Forged access tokens: changed ones, and ones that are signed anew. */

export type Forgery =
  | { readonly kind: 'none' }
  /** Shifts one character by some places in the alphabet. */
  | { readonly kind: 'character'; readonly segment: 0 | 1 | 2; readonly at: number; readonly by: number }
  | { readonly kind: 'cut'; readonly segment: 0 | 1 | 2; readonly to: number }
  | { readonly kind: 'segments'; readonly count: number }
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'another key'; readonly byte: number }
  /** Changes the header; undefined removes a member. `signed` means with the right key. */
  | { readonly kind: 'header'; readonly header: Readonly<Record<string, unknown>>; readonly signed: boolean }
  | { readonly kind: 'claims'; readonly claims: Readonly<Record<string, unknown>> };

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';

/** @param signingKey the registry's own, in base64 */
export async function forge(token: string, forgery: Forgery, signingKey: string): Promise<string> {
  const segments = token.split('.');
  const [header = '', claims = '', signature = ''] = segments;
  const key = Uint8Array.fromBase64(signingKey);
  switch (forgery.kind) {
    case 'none':
      return token;
    case 'character':
      return segments.with(forgery.segment, shifted(segments[forgery.segment] ?? '', forgery.at, forgery.by)).join('.');
    case 'cut':
      return segments.with(forgery.segment, (segments[forgery.segment] ?? '').slice(0, forgery.to)).join('.');
    case 'segments':
      return [...segments, 'e30', 'e30'].slice(0, forgery.count).join('.');
    case 'text':
      return forgery.text;
    case 'another key':
      return signed(header, claims, new Uint8Array(32).fill(forgery.byte));
    case 'header': {
      const changed = changedJson(header, forgery.header);
      return forgery.signed
        ? signed(changed, claims, key)
        : `${changed}.${claims}.${forgery.header['alg'] === 'none' ? '' : signature}`;
    }
    case 'claims':
      return signed(header, changedJson(claims, forgery.claims), key);
  }
}

/** Shifts a character, but never the last one: some of its bits encode nothing. */
function shifted(text: string, at: number, by: number): string {
  const place = at % (text.length - 1);
  const character = ALPHABET[(ALPHABET.indexOf(text[place] ?? '') + by) % ALPHABET.length] ?? '';
  return text.slice(0, place) + character + text.slice(place + 1);
}

function changedJson(encoded: string, changes: Readonly<Record<string, unknown>>): string {
  const text = new TextDecoder().decode(Uint8Array.fromBase64(encoded, { alphabet: 'base64url' }));
  const changed = JSON.stringify({ ...(JSON.parse(text) as Record<string, unknown>), ...changes });
  return base64url(new TextEncoder().encode(changed));
}

async function signed(header: string, claims: string, key: Uint8Array<ArrayBuffer>): Promise<string> {
  const imported = await crypto.subtle.importKey('raw', key, { name: 'HMAC', hash: 'SHA-256' }, false, ['sign']);
  const signature = await crypto.subtle.sign('HMAC', imported, new TextEncoder().encode(`${header}.${claims}`));
  return `${header}.${claims}.${base64url(new Uint8Array(signature))}`;
}

function base64url(bytes: Uint8Array): string {
  return bytes.toBase64({ alphabet: 'base64url', omitPadding: true });
}
