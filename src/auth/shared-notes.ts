/**
 * Notes that the isolates of a data center leave for each other in its cache. A note is a short text under a name. It
 * may vanish at any time, and a cache that fails holds none.
 *
 * Other Workers of the zone can use the same cache. So it sees a name only as its HMAC under the signing key, and a
 * note that was forged, or moved to another name, does not verify.
 */
import { within } from '../stores/deadline.ts';
import type { SigningKeys } from './signing-keys.ts';

/** The longest that a login waits for the cache, in milliseconds. */
const READ_MILLISECONDS = 500;

/** The characters of an HMAC-SHA256 in base64url. */
const SIGNATURE_CHARACTERS = 43;

export class SharedNotes {
  readonly #keys: SigningKeys;

  constructor(keys: SigningKeys) {
    this.#keys = keys;
  }

  /** Returns the note under a name; undefined if there is none. */
  async read(name: string): Promise<string | undefined> {
    const note = await within(READ_MILLISECONDS, this.#cached(name)).catch(() => undefined);
    const [signature = '', text = ''] = [note?.slice(0, SIGNATURE_CHARACTERS), note?.slice(SIGNATURE_CHARACTERS)];
    return (await this.#keys.verify(signedText(name, text), signature)) ? text : undefined;
  }

  /** Leaves a note for `seconds` seconds. Never rejects. */
  async write(name: string, text: string, seconds: number): Promise<void> {
    const note = `${await this.#keys.sign(signedText(name, text))}${text}`;
    const response = new Response(note, { headers: { 'Cache-Control': `max-age=${seconds}` } });
    await caches.default.put(await this.#keyOf(name), response).catch(() => undefined);
  }

  /** Removes a note. Never rejects. */
  async erase(name: string): Promise<void> {
    await caches.default.delete(await this.#keyOf(name)).catch(() => undefined);
  }

  async #cached(name: string): Promise<string | undefined> {
    return (await caches.default.match(await this.#keyOf(name)))?.text();
  }

  /** Returns a URL that no request can have. */
  async #keyOf(name: string): Promise<string> {
    return `https://notes.berth.invalid/${await this.#keys.sign(`name of a note\n${name}`)}`;
  }
}

function signedText(name: string, text: string): string {
  return `note\n${name}\n${text}`;
}
