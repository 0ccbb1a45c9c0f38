/**
 * A set of keys that is small enough for the position of a slice, because it keeps only 32 bits of each. A set of
 * 50,000 takes one in 86,000 other keys for a member.
 */
export class KeySet {
  readonly #hashes: Set<number>;

  private constructor(hashes: Iterable<number>) {
    this.#hashes = new Set(hashes);
  }

  /** Restores a set that {@link toJSON} has written; by default, an empty one. */
  static of(saved = ''): KeySet {
    return new KeySet(new Uint32Array(Uint8Array.fromBase64(saved).buffer));
  }

  add(key: string): void {
    this.#hashes.add(hashOf(key));
  }

  has(key: string): boolean {
    return this.#hashes.has(hashOf(key));
  }

  toJSON(): string {
    return new Uint8Array(Uint32Array.from(this.#hashes).buffer).toBase64();
  }
}

/** FNV-1a. */
function hashOf(key: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < key.length; i++) hash = Math.imul(hash ^ key.charCodeAt(i), 0x01000193);
  return hash >>> 0;
}
