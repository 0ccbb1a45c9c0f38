/** The share of work that one run of a Durable Object's alarm may do. */
import type { StatementMeter } from '../stores/statement-meter.ts';

/** Thrown between two pieces of work once the share is used up. It undoes nothing. */
export class SliceOver extends Error {
  override readonly name = 'SliceOver';
}

/** A run begins no new work after this time. Cloudflare kills a run after 15 minutes, whatever it is doing. */
const SLICE_MILLISECONDS = 2 * 60_000;

export class Slice {
  /** The ids of the imports that this run has found to be wanted still. */
  readonly confirmed = new Set<string>();
  readonly #hasMore: () => boolean;

  constructor(meter: StatementMeter) {
    this.#hasMore = meter.share(SLICE_MILLISECONDS);
  }

  get isOver(): boolean {
    return !this.#hasMore();
  }

  /** @throws SliceOver */
  requireLeft(): void {
    if (this.isOver) throw new SliceOver();
  }
}
