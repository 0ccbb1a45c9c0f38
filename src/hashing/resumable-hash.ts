/**
 * A hash whose state can be saved, so that one invocation continues what another began. It is slower than the native
 * hash, which cannot do that: use it only for content that arrives in parts.
 */
import { type Algorithm, type Digest, digestFromHash } from '../oci/digest.ts';
import { Sha256 } from './sha256.ts';
import { Sha512 } from './sha512.ts';

export interface ResumableHash {
  /** Adds bytes. It keeps no reference to them. */
  update(bytes: Uint8Array): void;
  /** Returns the digest of all bytes so far. More can be added afterwards. */
  digest(): Digest;
  /**
   * Returns the state as text of at most 273 characters: `<algorithm>:<base64url>`. The bytes are the eight words of
   * the state, the number of bytes hashed so far, in 8 bytes, both big-endian, and the last bytes, which do not fill a
   * block.
   */
  save(): string;
}

const HASHES = { sha256: Sha256, sha512: Sha512 } as const;

export function startHash(algorithm: Algorithm): ResumableHash {
  return new Resumable(algorithm, new HASHES[algorithm]());
}

/** Continues a hash. @param saved what `save` returned, in this or another isolate */
export function restoreHash(saved: string): ResumableHash {
  const [algorithm = '', state = ''] = saved.split(':');
  if (algorithm !== 'sha256' && algorithm !== 'sha512') throw new TypeError(`${saved} is not the state of a hash`);
  return new Resumable(algorithm, HASHES[algorithm].restore(Uint8Array.fromBase64(state, { alphabet: 'base64url' })));
}

class Resumable implements ResumableHash {
  readonly #algorithm: Algorithm;
  readonly #hash: Sha256 | Sha512;

  constructor(algorithm: Algorithm, hash: Sha256 | Sha512) {
    this.#algorithm = algorithm;
    this.#hash = hash;
  }

  update(bytes: Uint8Array): void {
    this.#hash.update(bytes);
  }

  digest(): Digest {
    return digestFromHash(this.#algorithm, this.#hash.digest().buffer);
  }

  save(): string {
    return `${this.#algorithm}:${this.#hash.save().toBase64({ alphabet: 'base64url', omitPadding: true })}`;
  }
}
