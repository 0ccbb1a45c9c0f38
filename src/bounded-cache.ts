/** A cache limited in bytes, which evicts its oldest entries. A password must not be a key: use its hash. */

/** Bytes of an entry besides its key and its value: the objects around them. */
const ENTRY_BYTES = 336;
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

  get(key: string): Value | undefined {
    return this.#entries.get(key)?.value;
  }

  /**
   * Stores a value.
   * @param key of one-byte characters
   * @param value anything that JSON can represent
   */
  set(key: string, value: Value): void {
    this.delete(key);
    const bytes = ENTRY_BYTES + key.length + BYTES_A_CHARACTER * JSON.stringify(value).length;
    this.#entries.set(key, { value, bytes });
    this.#bytes += bytes;
    for (const oldest of this.#entries.keys()) {
      if (this.#bytes <= this.#limit) break;
      this.delete(oldest);
    }
  }

  delete(key: string): void {
    this.#bytes -= this.#entries.get(key)?.bytes ?? 0;
    this.#entries.delete(key);
  }

  /** Estimated bytes that all entries take. */
  get bytes(): number {
    return this.#bytes;
  }
}
