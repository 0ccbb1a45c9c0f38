/**
 * SHA-256 (FIPS 180-4, section 6.2) whose state can be saved, unlike that of the native hash. In workerd, this one is
 * three times as fast as `@noble/hashes`, because its rounds are written out: no word moves from one variable to
 * another.
 */

const BLOCK_BYTES = 64;
const STATE_BYTES = 32;

/** The 64 round constants. */
const K = new DataView(
  Uint8Array.fromHex(
    '428a2f9871374491b5c0fbcfe9b5dba53956c25b59f111f1923f82a4ab1c5ed5' +
      'd807aa9812835b01243185be550c7dc372be5d7480deb1fe9bdc06a7c19bf174' +
      'e49b69c1efbe47860fc19dc6240ca1cc2de92c6f4a7484aa5cb0a9dc76f988da' +
      '983e5152a831c66db00327c8bf597fc7c6e00bf3d5a7914706ca635114292967' +
      '27b70a852e1b21384d2c6dfc53380d13650a7354766a0abb81c2c92e92722c85' +
      'a2bfe8a1a81a664bc24b8b70c76c51a3d192e819d6990624f40e3585106aa070' +
      '19a4c1161e376c082748774c34b0bcb5391c0cb34ed8aa4a5b9cca4f682e6ff3' +
      '748f82ee78a5636f84c878148cc7020890befffaa4506cebbef9a3f7c67178f2',
  ).buffer,
);

const INITIAL = Uint8Array.fromHex('6a09e667bb67ae853c6ef372a54ff53a510e527f9b05688c1f83d9ab5be0cd19');

export class Sha256 {
  /** The eight words of the state, big-endian. */
  #state = INITIAL.slice();
  /** Bytes of a block that is not full yet. */
  readonly #tail = new Uint8Array(BLOCK_BYTES);
  /** Bytes hashed so far, the tail included. */
  #length = 0;

  /** Continues a hash from what {@link save} returned. */
  static restore(saved: Uint8Array): Sha256 {
    const hash = new Sha256();
    hash.#state = saved.slice(0, STATE_BYTES);
    hash.#length = Number(viewOf(saved).getBigUint64(STATE_BYTES));
    hash.#tail.set(saved.subarray(STATE_BYTES + 8));
    return hash;
  }

  update(bytes: Uint8Array): void {
    const filled = this.#length % BLOCK_BYTES;
    this.#length += bytes.byteLength;
    let at = 0;
    if (filled > 0) {
      at = Math.min(BLOCK_BYTES - filled, bytes.byteLength);
      this.#tail.set(bytes.subarray(0, at), filled);
      if (filled + at < BLOCK_BYTES) return;
      compress(this.#state, this.#tail);
    }
    const whole = at + BLOCK_BYTES * Math.floor((bytes.byteLength - at) / BLOCK_BYTES);
    if (whole > at) compress(this.#state, bytes.subarray(at, whole));
    this.#tail.set(bytes.subarray(whole));
  }

  /** Returns the hash of the bytes so far. More can be added afterwards. */
  digest(): Uint8Array<ArrayBuffer> {
    const state = this.#state.slice();
    const filled = this.#length % BLOCK_BYTES;
    const padded = new Uint8Array(filled + 9 <= BLOCK_BYTES ? BLOCK_BYTES : 2 * BLOCK_BYTES);
    padded.set(this.#tail.subarray(0, filled));
    padded[filled] = 0x80;
    viewOf(padded).setBigUint64(padded.byteLength - 8, 8n * BigInt(this.#length));
    compress(state, padded);
    return state;
  }

  /** Returns the state: eight words, the length in 8 bytes, and the bytes that do not fill a block; big-endian. */
  save(): Uint8Array<ArrayBuffer> {
    const filled = this.#length % BLOCK_BYTES;
    const saved = new Uint8Array(STATE_BYTES + 8 + filled);
    saved.set(this.#state);
    viewOf(saved).setBigUint64(STATE_BYTES, BigInt(this.#length));
    saved.set(this.#tail.subarray(0, filled), STATE_BYTES + 8);
    return saved;
  }
}

function viewOf({ buffer, byteOffset, byteLength }: Uint8Array): DataView {
  return new DataView(buffer, byteOffset, byteLength);
}

/** Hashes whole blocks into the state. */
function compress(state: Uint8Array, blocks: Uint8Array): void {
  const [words, block] = [viewOf(state), viewOf(blocks)];
  for (let at = 0; at < blocks.byteLength; at += BLOCK_BYTES) compressBlock(words, block, at);
}

/**
 * Hashes one block, 16 rounds at a time. After eight rounds, each variable has had every place among the eight words.
 * `w0` to `w15` are the part of the message schedule that the rounds need next.
 */
function compressBlock(state: DataView, block: DataView, at: number): void {
  let a = state.getInt32(0);
  let b = state.getInt32(4);
  let c = state.getInt32(8);
  let d = state.getInt32(12);
  let e = state.getInt32(16);
  let f = state.getInt32(20);
  let g = state.getInt32(24);
  let h = state.getInt32(28);
  let w0 = block.getInt32(at);
  let w1 = block.getInt32(at + 4);
  let w2 = block.getInt32(at + 8);
  let w3 = block.getInt32(at + 12);
  let w4 = block.getInt32(at + 16);
  let w5 = block.getInt32(at + 20);
  let w6 = block.getInt32(at + 24);
  let w7 = block.getInt32(at + 28);
  let w8 = block.getInt32(at + 32);
  let w9 = block.getInt32(at + 36);
  let w10 = block.getInt32(at + 40);
  let w11 = block.getInt32(at + 44);
  let w12 = block.getInt32(at + 48);
  let w13 = block.getInt32(at + 52);
  let w14 = block.getInt32(at + 56);
  let w15 = block.getInt32(at + 60);
  for (let k = 0; ; k += 64) {
    h += ((e >>> 6) | (e << 26)) ^ ((e >>> 11) | (e << 21)) ^ ((e >>> 25) | (e << 7));
    h = (h + (g ^ (e & (f ^ g))) + K.getInt32(k) + w0) | 0;
    d = (d + h) | 0;
    h += ((a >>> 2) | (a << 30)) ^ ((a >>> 13) | (a << 19)) ^ ((a >>> 22) | (a << 10));
    h = (h + ((a & b) | (c & (a | b)))) | 0;
    g += ((d >>> 6) | (d << 26)) ^ ((d >>> 11) | (d << 21)) ^ ((d >>> 25) | (d << 7));
    g = (g + (f ^ (d & (e ^ f))) + K.getInt32(k + 4) + w1) | 0;
    c = (c + g) | 0;
    g += ((h >>> 2) | (h << 30)) ^ ((h >>> 13) | (h << 19)) ^ ((h >>> 22) | (h << 10));
    g = (g + ((h & a) | (b & (h | a)))) | 0;
    f += ((c >>> 6) | (c << 26)) ^ ((c >>> 11) | (c << 21)) ^ ((c >>> 25) | (c << 7));
    f = (f + (e ^ (c & (d ^ e))) + K.getInt32(k + 8) + w2) | 0;
    b = (b + f) | 0;
    f += ((g >>> 2) | (g << 30)) ^ ((g >>> 13) | (g << 19)) ^ ((g >>> 22) | (g << 10));
    f = (f + ((g & h) | (a & (g | h)))) | 0;
    e += ((b >>> 6) | (b << 26)) ^ ((b >>> 11) | (b << 21)) ^ ((b >>> 25) | (b << 7));
    e = (e + (d ^ (b & (c ^ d))) + K.getInt32(k + 12) + w3) | 0;
    a = (a + e) | 0;
    e += ((f >>> 2) | (f << 30)) ^ ((f >>> 13) | (f << 19)) ^ ((f >>> 22) | (f << 10));
    e = (e + ((f & g) | (h & (f | g)))) | 0;
    d += ((a >>> 6) | (a << 26)) ^ ((a >>> 11) | (a << 21)) ^ ((a >>> 25) | (a << 7));
    d = (d + (c ^ (a & (b ^ c))) + K.getInt32(k + 16) + w4) | 0;
    h = (h + d) | 0;
    d += ((e >>> 2) | (e << 30)) ^ ((e >>> 13) | (e << 19)) ^ ((e >>> 22) | (e << 10));
    d = (d + ((e & f) | (g & (e | f)))) | 0;
    c += ((h >>> 6) | (h << 26)) ^ ((h >>> 11) | (h << 21)) ^ ((h >>> 25) | (h << 7));
    c = (c + (b ^ (h & (a ^ b))) + K.getInt32(k + 20) + w5) | 0;
    g = (g + c) | 0;
    c += ((d >>> 2) | (d << 30)) ^ ((d >>> 13) | (d << 19)) ^ ((d >>> 22) | (d << 10));
    c = (c + ((d & e) | (f & (d | e)))) | 0;
    b += ((g >>> 6) | (g << 26)) ^ ((g >>> 11) | (g << 21)) ^ ((g >>> 25) | (g << 7));
    b = (b + (a ^ (g & (h ^ a))) + K.getInt32(k + 24) + w6) | 0;
    f = (f + b) | 0;
    b += ((c >>> 2) | (c << 30)) ^ ((c >>> 13) | (c << 19)) ^ ((c >>> 22) | (c << 10));
    b = (b + ((c & d) | (e & (c | d)))) | 0;
    a += ((f >>> 6) | (f << 26)) ^ ((f >>> 11) | (f << 21)) ^ ((f >>> 25) | (f << 7));
    a = (a + (h ^ (f & (g ^ h))) + K.getInt32(k + 28) + w7) | 0;
    e = (e + a) | 0;
    a += ((b >>> 2) | (b << 30)) ^ ((b >>> 13) | (b << 19)) ^ ((b >>> 22) | (b << 10));
    a = (a + ((b & c) | (d & (b | c)))) | 0;
    h += ((e >>> 6) | (e << 26)) ^ ((e >>> 11) | (e << 21)) ^ ((e >>> 25) | (e << 7));
    h = (h + (g ^ (e & (f ^ g))) + K.getInt32(k + 32) + w8) | 0;
    d = (d + h) | 0;
    h += ((a >>> 2) | (a << 30)) ^ ((a >>> 13) | (a << 19)) ^ ((a >>> 22) | (a << 10));
    h = (h + ((a & b) | (c & (a | b)))) | 0;
    g += ((d >>> 6) | (d << 26)) ^ ((d >>> 11) | (d << 21)) ^ ((d >>> 25) | (d << 7));
    g = (g + (f ^ (d & (e ^ f))) + K.getInt32(k + 36) + w9) | 0;
    c = (c + g) | 0;
    g += ((h >>> 2) | (h << 30)) ^ ((h >>> 13) | (h << 19)) ^ ((h >>> 22) | (h << 10));
    g = (g + ((h & a) | (b & (h | a)))) | 0;
    f += ((c >>> 6) | (c << 26)) ^ ((c >>> 11) | (c << 21)) ^ ((c >>> 25) | (c << 7));
    f = (f + (e ^ (c & (d ^ e))) + K.getInt32(k + 40) + w10) | 0;
    b = (b + f) | 0;
    f += ((g >>> 2) | (g << 30)) ^ ((g >>> 13) | (g << 19)) ^ ((g >>> 22) | (g << 10));
    f = (f + ((g & h) | (a & (g | h)))) | 0;
    e += ((b >>> 6) | (b << 26)) ^ ((b >>> 11) | (b << 21)) ^ ((b >>> 25) | (b << 7));
    e = (e + (d ^ (b & (c ^ d))) + K.getInt32(k + 44) + w11) | 0;
    a = (a + e) | 0;
    e += ((f >>> 2) | (f << 30)) ^ ((f >>> 13) | (f << 19)) ^ ((f >>> 22) | (f << 10));
    e = (e + ((f & g) | (h & (f | g)))) | 0;
    d += ((a >>> 6) | (a << 26)) ^ ((a >>> 11) | (a << 21)) ^ ((a >>> 25) | (a << 7));
    d = (d + (c ^ (a & (b ^ c))) + K.getInt32(k + 48) + w12) | 0;
    h = (h + d) | 0;
    d += ((e >>> 2) | (e << 30)) ^ ((e >>> 13) | (e << 19)) ^ ((e >>> 22) | (e << 10));
    d = (d + ((e & f) | (g & (e | f)))) | 0;
    c += ((h >>> 6) | (h << 26)) ^ ((h >>> 11) | (h << 21)) ^ ((h >>> 25) | (h << 7));
    c = (c + (b ^ (h & (a ^ b))) + K.getInt32(k + 52) + w13) | 0;
    g = (g + c) | 0;
    c += ((d >>> 2) | (d << 30)) ^ ((d >>> 13) | (d << 19)) ^ ((d >>> 22) | (d << 10));
    c = (c + ((d & e) | (f & (d | e)))) | 0;
    b += ((g >>> 6) | (g << 26)) ^ ((g >>> 11) | (g << 21)) ^ ((g >>> 25) | (g << 7));
    b = (b + (a ^ (g & (h ^ a))) + K.getInt32(k + 56) + w14) | 0;
    f = (f + b) | 0;
    b += ((c >>> 2) | (c << 30)) ^ ((c >>> 13) | (c << 19)) ^ ((c >>> 22) | (c << 10));
    b = (b + ((c & d) | (e & (c | d)))) | 0;
    a += ((f >>> 6) | (f << 26)) ^ ((f >>> 11) | (f << 21)) ^ ((f >>> 25) | (f << 7));
    a = (a + (h ^ (f & (g ^ h))) + K.getInt32(k + 60) + w15) | 0;
    e = (e + a) | 0;
    a += ((b >>> 2) | (b << 30)) ^ ((b >>> 13) | (b << 19)) ^ ((b >>> 22) | (b << 10));
    a = (a + ((b & c) | (d & (b | c)))) | 0;
    if (k === 192) break;
    w0 += ((w1 >>> 7) | (w1 << 25)) ^ ((w1 >>> 18) | (w1 << 14)) ^ (w1 >>> 3);
    w0 += ((w14 >>> 17) | (w14 << 15)) ^ ((w14 >>> 19) | (w14 << 13)) ^ (w14 >>> 10);
    w0 = (w0 + w9) | 0;
    w1 += ((w2 >>> 7) | (w2 << 25)) ^ ((w2 >>> 18) | (w2 << 14)) ^ (w2 >>> 3);
    w1 += ((w15 >>> 17) | (w15 << 15)) ^ ((w15 >>> 19) | (w15 << 13)) ^ (w15 >>> 10);
    w1 = (w1 + w10) | 0;
    w2 += ((w3 >>> 7) | (w3 << 25)) ^ ((w3 >>> 18) | (w3 << 14)) ^ (w3 >>> 3);
    w2 += ((w0 >>> 17) | (w0 << 15)) ^ ((w0 >>> 19) | (w0 << 13)) ^ (w0 >>> 10);
    w2 = (w2 + w11) | 0;
    w3 += ((w4 >>> 7) | (w4 << 25)) ^ ((w4 >>> 18) | (w4 << 14)) ^ (w4 >>> 3);
    w3 += ((w1 >>> 17) | (w1 << 15)) ^ ((w1 >>> 19) | (w1 << 13)) ^ (w1 >>> 10);
    w3 = (w3 + w12) | 0;
    w4 += ((w5 >>> 7) | (w5 << 25)) ^ ((w5 >>> 18) | (w5 << 14)) ^ (w5 >>> 3);
    w4 += ((w2 >>> 17) | (w2 << 15)) ^ ((w2 >>> 19) | (w2 << 13)) ^ (w2 >>> 10);
    w4 = (w4 + w13) | 0;
    w5 += ((w6 >>> 7) | (w6 << 25)) ^ ((w6 >>> 18) | (w6 << 14)) ^ (w6 >>> 3);
    w5 += ((w3 >>> 17) | (w3 << 15)) ^ ((w3 >>> 19) | (w3 << 13)) ^ (w3 >>> 10);
    w5 = (w5 + w14) | 0;
    w6 += ((w7 >>> 7) | (w7 << 25)) ^ ((w7 >>> 18) | (w7 << 14)) ^ (w7 >>> 3);
    w6 += ((w4 >>> 17) | (w4 << 15)) ^ ((w4 >>> 19) | (w4 << 13)) ^ (w4 >>> 10);
    w6 = (w6 + w15) | 0;
    w7 += ((w8 >>> 7) | (w8 << 25)) ^ ((w8 >>> 18) | (w8 << 14)) ^ (w8 >>> 3);
    w7 += ((w5 >>> 17) | (w5 << 15)) ^ ((w5 >>> 19) | (w5 << 13)) ^ (w5 >>> 10);
    w7 = (w7 + w0) | 0;
    w8 += ((w9 >>> 7) | (w9 << 25)) ^ ((w9 >>> 18) | (w9 << 14)) ^ (w9 >>> 3);
    w8 += ((w6 >>> 17) | (w6 << 15)) ^ ((w6 >>> 19) | (w6 << 13)) ^ (w6 >>> 10);
    w8 = (w8 + w1) | 0;
    w9 += ((w10 >>> 7) | (w10 << 25)) ^ ((w10 >>> 18) | (w10 << 14)) ^ (w10 >>> 3);
    w9 += ((w7 >>> 17) | (w7 << 15)) ^ ((w7 >>> 19) | (w7 << 13)) ^ (w7 >>> 10);
    w9 = (w9 + w2) | 0;
    w10 += ((w11 >>> 7) | (w11 << 25)) ^ ((w11 >>> 18) | (w11 << 14)) ^ (w11 >>> 3);
    w10 += ((w8 >>> 17) | (w8 << 15)) ^ ((w8 >>> 19) | (w8 << 13)) ^ (w8 >>> 10);
    w10 = (w10 + w3) | 0;
    w11 += ((w12 >>> 7) | (w12 << 25)) ^ ((w12 >>> 18) | (w12 << 14)) ^ (w12 >>> 3);
    w11 += ((w9 >>> 17) | (w9 << 15)) ^ ((w9 >>> 19) | (w9 << 13)) ^ (w9 >>> 10);
    w11 = (w11 + w4) | 0;
    w12 += ((w13 >>> 7) | (w13 << 25)) ^ ((w13 >>> 18) | (w13 << 14)) ^ (w13 >>> 3);
    w12 += ((w10 >>> 17) | (w10 << 15)) ^ ((w10 >>> 19) | (w10 << 13)) ^ (w10 >>> 10);
    w12 = (w12 + w5) | 0;
    w13 += ((w14 >>> 7) | (w14 << 25)) ^ ((w14 >>> 18) | (w14 << 14)) ^ (w14 >>> 3);
    w13 += ((w11 >>> 17) | (w11 << 15)) ^ ((w11 >>> 19) | (w11 << 13)) ^ (w11 >>> 10);
    w13 = (w13 + w6) | 0;
    w14 += ((w15 >>> 7) | (w15 << 25)) ^ ((w15 >>> 18) | (w15 << 14)) ^ (w15 >>> 3);
    w14 += ((w12 >>> 17) | (w12 << 15)) ^ ((w12 >>> 19) | (w12 << 13)) ^ (w12 >>> 10);
    w14 = (w14 + w7) | 0;
    w15 += ((w0 >>> 7) | (w0 << 25)) ^ ((w0 >>> 18) | (w0 << 14)) ^ (w0 >>> 3);
    w15 += ((w13 >>> 17) | (w13 << 15)) ^ ((w13 >>> 19) | (w13 << 13)) ^ (w13 >>> 10);
    w15 = (w15 + w8) | 0;
  }
  state.setInt32(0, state.getInt32(0) + a);
  state.setInt32(4, state.getInt32(4) + b);
  state.setInt32(8, state.getInt32(8) + c);
  state.setInt32(12, state.getInt32(12) + d);
  state.setInt32(16, state.getInt32(16) + e);
  state.setInt32(20, state.getInt32(20) + f);
  state.setInt32(24, state.getInt32(24) + g);
  state.setInt32(28, state.getInt32(28) + h);
}
