/** Leaves an upstream alone after it has failed. */
import { HOUR } from '../durations.ts';
import { LoginError } from '../oci-client/authorization.ts';
import { OciError } from '../oci/errors.ts';
import { Postponed } from '../upstream/connect.ts';
import { mayPass, publicReasonOf, waitAfter } from '../upstream/failure.ts';

/** The longest pause that an upstream may ask for. */
const LONGEST_MILLISECONDS = 6 * HOUR;

/**
 * Returns whether a failure concerns the upstream, not only what was asked of it. A login that is refused again and
 * again could be locked. A lack of memory here is not the upstream's failure.
 */
export function concernsUpstream(error: unknown): boolean {
  return error instanceof LoginError || (!(error instanceof OciError) && mayPass(error));
}

export class Pause {
  readonly #longest: number;
  #failures = 0;
  #error: unknown;
  #reason = '';
  #until = 0;

  /** @param longest the longest pause that the upstream has not asked for, in milliseconds; ten minutes by default */
  constructor(longest = Infinity) {
    this.#longest = longest;
  }

  get isOn(): boolean {
    return Date.now() < this.#until;
  }

  /** When it ends, in milliseconds since the epoch. */
  get until(): number {
    return this.#until;
  }

  get error(): unknown {
    return this.#error;
  }

  /** The last failure, for operators. */
  get reason(): string {
    return this.#reason;
  }

  /** The last failure, for anybody who may pull. */
  get publicReason(): string {
    return publicReasonOf(this.#error);
  }

  /** Whether another attempt may get past the last failure. */
  get mayPass(): boolean {
    return mayPass(this.#error);
  }

  /** Begins a pause: longer with each failure in a row, or as long as the upstream asks. */
  begin(error: unknown, reason: string): void {
    const asked = error instanceof Postponed ? Math.min(error.milliseconds, LONGEST_MILLISECONDS) : undefined;
    this.#until = Date.now() + (asked ?? Math.min(waitAfter(this.#failures), this.#longest));
    this.#failures += 1;
    this.#error = error;
    this.#reason = reason;
  }

  /** Forgets all failures. */
  end(): void {
    this.#failures = 0;
    this.#until = 0;
  }
}
