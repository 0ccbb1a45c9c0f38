/** SHA-512 whose state can be saved, by `@noble/hashes`. The library keeps the state to itself and its subclasses. */
import { _SHA512 } from '@noble/hashes/sha2.js';

const WORDS = 16;
const STATE_BYTES = 4 * WORDS;

export class Sha512 {
  #hash = new OpenSha512();

  /** Continues a hash from what {@link save} returned. */
  static restore(saved: Uint8Array): Sha512 {
    const hash = new Sha512();
    hash.#hash = OpenSha512.restore(saved);
    return hash;
  }

  update(bytes: Uint8Array): void {
    this.#hash.update(bytes);
  }

  /** Returns the hash of the bytes so far. More can be added afterwards. */
  digest(): Uint8Array<ArrayBuffer> {
    return Uint8Array.from(this.#hash.clone().digest());
  }

  /** Returns the state: eight words, the length in 8 bytes, and the bytes that do not fill a block; big-endian. */
  save(): Uint8Array<ArrayBuffer> {
    return this.#hash.save();
  }
}

class OpenSha512 extends _SHA512 {
  static restore(saved: Uint8Array): OpenSha512 {
    const hash = new OpenSha512();
    const view = new DataView(saved.buffer, saved.byteOffset, saved.byteLength);
    const words = Array.from({ length: WORDS }, (_, i) => view.getInt32(4 * i));
    hash.set(...(words as Parameters<OpenSha512['set']>));
    hash.length = Number(view.getBigUint64(STATE_BYTES));
    hash.pos = hash.length % hash.blockLen;
    hash.buffer.set(saved.subarray(STATE_BYTES + 8));
    return hash;
  }

  save(): Uint8Array<ArrayBuffer> {
    const saved = new Uint8Array(STATE_BYTES + 8 + this.pos);
    const view = new DataView(saved.buffer);
    for (const [i, word] of this.get().entries()) view.setInt32(4 * i, word);
    view.setBigUint64(STATE_BYTES, BigInt(this.length));
    saved.set(this.buffer.subarray(0, this.pos), STATE_BYTES + 8);
    return saved;
  }
}
