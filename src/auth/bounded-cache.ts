/**
 * A cache limited in bytes, which evicts its oldest entries. Keys are hashes, so that they hold no secrets and clients
 * cannot make them long.
 */

/** Bytes of an entry besides its value: a hash of 64 characters, and the objects around the value. */
const ENTRY_BYTES = 400;
/** Estimated bytes of memory per character of the value's JSON. */
const BYTES_A_CHARACTER = 4;

export class BoundedCache<Value> {
  readonly #limit: number;
  readonly #entries = new Map<string, { readonly value: Value; readonly bytes: number }>();
  #bytes = 0;

  /** @param limit in bytes */
  constructor(limit: number) {
    this.#limit = limit;
  }

  get(hash: string): Value | undefined {
    return this.#entries.get(hash)?.value;
  }

  /** Stores a value. @param value anything that JSON can represent */
  set(hash: string, value: Value): void {
    this.delete(hash);
    const bytes = ENTRY_BYTES + BYTES_A_CHARACTER * JSON.stringify(value).length;
    this.#entries.set(hash, { value, bytes });
    this.#bytes += bytes;
    for (const oldest of this.#entries.keys()) {
      if (this.#bytes <= this.#limit) break;
      this.delete(oldest);
    }
  }

  delete(hash: string): void {
    this.#bytes -= this.#entries.get(hash)?.bytes ?? 0;
    this.#entries.delete(hash);
  }

  /** Estimated bytes that all entries take. */
  get bytes(): number {
    return this.#bytes;
  }
}
