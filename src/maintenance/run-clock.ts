/**
 * The clock of a run of maintenance. Within a pass it never goes back, so that no time that the pass has written lies
 * in its future. If the machine's clock is set back, the length of the pass is unknown, so the pass begins no further
 * slice. The next pass takes the new time, and `round.ts` corrects the rows in which the old one was written.
 */

/** Milliseconds by which a clock may be set back in normal operation. */
const SMALL_STEP = 1000;

export class RunClock {
  readonly #start: number;
  readonly #began = Date.now();
  #latest = this.#began;
  #isSetBack = false;

  /** @param start when the run began, in milliseconds since the epoch */
  constructor(start: number) {
    this.#start = start;
  }

  beginPass(): void {
    if (this.isSetBack()) this.#latest = Date.now();
    this.#isSetBack = false;
  }

  /** Milliseconds since the epoch. */
  now(): number {
    const at = Date.now();
    if (at < this.#latest - SMALL_STEP) this.#isSetBack = true;
    this.#latest = Math.max(this.#latest, at);
    return this.#start + this.#latest - this.#began;
  }

  /** Whether the machine's clock was set back during the pass. */
  isSetBack(): boolean {
    this.now();
    return this.#isSetBack;
  }
}
