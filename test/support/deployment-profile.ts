/**
 * The time that calls to stores take in a deployment. The bench waits that long, and tests in virtual time count it.
 * The same seed gives the same sequence of latencies.
 */
import { Random } from './random.ts';

export interface Profile {
  readonly seed: number;
  /** Shortest and longest time until D1 answers, in milliseconds. */
  readonly d1: readonly [from: number, to: number];
  /** Shortest and longest time until R2 answers, or sends the first byte of an object, in milliseconds. */
  readonly r2: readonly [from: number, to: number];
  /** Least and greatest bandwidth of one connection to R2, in bytes per millisecond. */
  readonly bandwidth: readonly [from: number, to: number];
}

/**
 * The latencies are those that Cloudflare's users report (docs/limits.md). Nobody publishes a bandwidth: this one is an
 * assumption.
 */
export const DEPLOYMENT: Profile = { seed: 20_261_130, d1: [5, 30], r2: [20, 100], bandwidth: [25_000, 100_000] };

const D1_CALLS: ReadonlySet<string> = new Set(['all', 'run', 'batch']);

export class Latencies {
  readonly #profile: Profile;
  readonly #random: Random;

  constructor(profile: Profile) {
    this.#profile = profile;
    this.#random = new Random(profile.seed);
  }

  /** Draws the milliseconds until a call is answered. @param call the binding's method, such as `batch` or `put` */
  of(call: string): number {
    return this.#between(D1_CALLS.has(call) ? this.#profile.d1 : this.#profile.r2);
  }

  /** Draws the milliseconds that a connection needs for the given number of bytes. */
  ofBytes(bytes: number): number {
    return Math.round(bytes / this.#between(this.#profile.bandwidth));
  }

  #between([from, to]: readonly [from: number, to: number]): number {
    return this.#random.between(from, to);
  }
}
