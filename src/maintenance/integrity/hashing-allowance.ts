/**
 * The most that one invocation may hash. An invocation of a cron trigger may get as little as 30 seconds of CPU
 * (Workers, "Limits"), and is killed beyond it.
 */
import type { Algorithm } from '../../oci/digest.ts';

/** Bytes that an invocation hashes in all stores together: 30 s at a slow 100 MiB/s of SHA-256. */
const BYTES_PER_INVOCATION = 3000 * 1024 * 1024;

/** The cost of a byte. A SHA-512 whose state can be saved is half as fast as SHA-256. */
const COSTS: Readonly<Record<Algorithm, number>> = { sha256: 1, sha512: 2 };

/**
 * The least cost of reading an object, in bytes, because many small objects cost CPU too. It also keeps an invocation
 * at 6,000 objects, below the 10,000 calls to bindings that it may make.
 */
export const LEAST_COST = 512 * 1024;

export class HashingAllowance {
  /** The most bytes that are read of an object in one go. */
  readonly partBytes: number;
  #left: number;

  constructor(partBytes: number, bytes = BYTES_PER_INVOCATION) {
    this.partBytes = partBytes;
    this.#left = bytes;
  }

  /** Takes `bytes` from what the invocation may still hash. Returns false if it may not hash that many. */
  take(bytes: number, algorithm: Algorithm): boolean {
    const cost = bytes * COSTS[algorithm];
    if (cost > this.#left) return false;
    this.#left -= cost;
    return true;
  }
}
