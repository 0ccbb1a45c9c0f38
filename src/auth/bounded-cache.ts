/**
 * What an isolate remembers, within a number of bytes: the oldest makes room. Keys are hashes, so that neither a secret
 * nor anything as long as a client likes is in them.
 */

/** Of an entry that is not its text: a hash of 64 characters, and objects around the value. */
const ENTRY_BYTES = 400;
/** An object takes a few times what it takes as JSON. */
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

  /** @param value of plain objects, lists, texts and numbers: what JSON has */
  set(hash: string, value: Value): void {
    this.#delete(hash);
    const bytes = ENTRY_BYTES + BYTES_A_CHARACTER * JSON.stringify(value).length;
    this.#entries.set(hash, { value, bytes });
    this.#bytes += bytes;
    for (const oldest of this.#entries.keys()) {
      if (this.#bytes <= this.#limit) break;
      this.#delete(oldest);
    }
  }

  /** As estimated. */
  get bytes(): number {
    return this.#bytes;
  }

  #delete(hash: string): void {
    this.#bytes -= this.#entries.get(hash)?.bytes ?? 0;
    this.#entries.delete(hash);
  }
}
