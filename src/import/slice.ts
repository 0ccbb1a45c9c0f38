/** The share of work that one run of an import may do. */
import type { StatementMeter } from '../stores/statement-meter.ts';

/** Thrown between two pieces of work once the share is used up. It undoes nothing. */
export class SliceOver extends Error {
  override readonly name = 'SliceOver';
}

/** The time in which a run begins new work. A piece of work is small enough to end within Cloudflare's 15 minutes. */
const SLICE_MILLISECONDS = 2 * 60_000;
/** The statements of D1 after which a run begins nothing new. D1 may end an invocation after 1,000. */
const STATEMENTS = 600;

export class Slice {
  readonly #meter: StatementMeter;
  readonly #end = Date.now() + SLICE_MILLISECONDS;
  readonly #most: number;

  constructor(meter: StatementMeter) {
    this.#meter = meter;
    this.#most = meter.counted + STATEMENTS;
  }

  get isOver(): boolean {
    return Date.now() >= this.#end || this.#meter.counted >= this.#most;
  }

  /** @throws SliceOver */
  requireLeft(): void {
    if (this.isOver) throw new SliceOver();
  }
}
