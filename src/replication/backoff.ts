import { backoffAfter } from './machine.ts';

/** How long a lane waits after a failure that is nobody's job's: doubling, until it succeeds. */
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
   * In milliseconds since the epoch; 0 for not at all. A rest that began later than now is over: the clock was set
   * back.
   */
  untilAsOf(now: number): number {
    return this.#began > now ? Math.min(this.#until, now) : this.#until;
  }

  /** It has succeeded, or there is nothing left to be tried. */
  end(): void {
    this.#until = 0;
    this.#attempts = 0;
  }

  /** Tries at once, and goes on doubling if that fails. */
  interrupt(): void {
    this.#until = 0;
  }
}
