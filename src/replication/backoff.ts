import { backoffAfter } from './machine.ts';

/**
 * The time that a lane waits after a failure that belongs to no single job, such as an unreachable database. The wait
 * doubles with each failure, until a run succeeds.
 */
export class Backoff {
  #began = 0;
  #until = 0;
  #attempts = 0;

  begin(now: number, random: number): void {
    this.#attempts++;
    this.#began = now;
    this.#until = now + backoffAfter(this.#attempts, random);
  }

  /**
   * Returns the end of the wait, in milliseconds since the epoch; 0 for no wait. A wait that began in the future is
   * over, because the clock was set back.
   */
  untilAsOf(now: number): number {
    return this.#began > now ? Math.min(this.#until, now) : this.#until;
  }

  /** Ends the wait after a success, or if there is nothing left to try. */
  end(): void {
    this.#until = 0;
    this.#attempts = 0;
  }

  /** Ends the wait so that the lane tries at once. If that fails, the wait goes on doubling. */
  interrupt(): void {
    this.#until = 0;
  }
}
