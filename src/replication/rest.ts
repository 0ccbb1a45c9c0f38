import { restAfter } from './machine.ts';

/** How long a lane waits after a failure that is nobody's job's: doubling, until it succeeds. */
export class Rest {
  /** Milliseconds since the epoch; 0 for not at all. */
  until = 0;
  #attempts = 0;

  begin(now: number, random: number): void {
    this.#attempts++;
    this.until = now + restAfter(this.#attempts, random);
  }

  /** It has succeeded, or there is nothing left to be tried. */
  end(): void {
    this.until = 0;
    this.#attempts = 0;
  }

  /** Tries at once, and goes on doubling if that fails. */
  interrupt(): void {
    this.until = 0;
  }
}
