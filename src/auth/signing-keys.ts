/**
 * The Worker's signing keys. There can be two, so that they can be rotated: the first signs, and both verify. The id of
 * a key is a prefix of its SHA-256. An id only selects one of the configured keys; it cannot bring in another.
 */
import { LAST_CHARACTERS } from './mac-spelling.ts';

/** Matches the base64url of an HMAC-SHA256, which has one spelling. */
const SIGNATURE = new RegExp(`^[\\w-]{42}[${LAST_CHARACTERS}]$`);

interface SigningKey {
  readonly id: string;
  readonly key: CryptoKey;
}

export class SigningKeys {
  readonly #keys: readonly [SigningKey, ...SigningKey[]];

  private constructor(keys: readonly [SigningKey, ...SigningKey[]]) {
    this.#keys = keys;
  }

  /** Imports the keys. @param secrets base64, with the signing key first */
  static async import(secrets: readonly string[]): Promise<SigningKeys> {
    const [first, ...others] = await Promise.all(secrets.map(importKey));
    if (first === undefined) throw new TypeError('a signing key is needed');
    return new SigningKeys([first, ...others]);
  }

  get current(): SigningKey {
    return this.#keys[0];
  }

  byId(id: string | undefined): SigningKey | undefined {
    return this.#keys.find((key) => key.id === id);
  }

  /** Returns the HMAC-SHA256 of a text, in base64url. */
  async sign(text: string): Promise<string> {
    const mac = await crypto.subtle.sign('HMAC', this.current.key, new TextEncoder().encode(text));
    return new Uint8Array(mac).toBase64({ alphabet: 'base64url', omitPadding: true });
  }

  /**
   * Returns a key of 32 bytes for a purpose, derived from the current key. It reveals nothing about the signing key,
   * because HMAC-SHA256 is a pseudorandom function (NIST SP 800-108).
   */
  async derive(purpose: string): Promise<Uint8Array> {
    return derived(this.current, purpose);
  }

  /** Returns the derived key of each signing key, the current one first. */
  deriveAll(purpose: string): Promise<Uint8Array[]> {
    return Promise.all(this.#keys.map((key) => derived(key, purpose)));
  }

  /** Returns whether one of the keys made the signature. The comparison takes constant time. */
  async verify(text: string, signature: string): Promise<boolean> {
    if (!SIGNATURE.test(signature)) return false;
    const mac = Uint8Array.fromBase64(signature, { alphabet: 'base64url' });
    const data = new TextEncoder().encode(text);
    for (const { key } of this.#keys) {
      if (await crypto.subtle.verify('HMAC', key, mac, data)) return true;
    }
    return false;
  }
}

async function derived({ key }: SigningKey, purpose: string): Promise<Uint8Array> {
  return new Uint8Array(await crypto.subtle.sign('HMAC', key, new TextEncoder().encode(`derived key\n${purpose}`)));
}

async function importKey(secret: string): Promise<SigningKey> {
  const bytes = Uint8Array.fromBase64(secret);
  const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
  const key = await crypto.subtle.importKey('raw', bytes, { name: 'HMAC', hash: 'SHA-256' }, false, ['sign', 'verify']);
  return { id: hash.slice(0, 6).toHex(), key };
}
