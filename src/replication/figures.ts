/**
 * A queue's counters and histograms, in memory. Each of them would be a row of its own for each blob, so the queue
 * stores them together: after each run of its alarm, and before anybody reads them. Whoever has read a counter
 * therefore never sees it fall, even if the Durable Object loses its memory.
 */
import { BUCKETS, type Counter, type Histogram, type Measure } from './queue-state.ts';

interface Stored {
  readonly counters: Partial<Record<Counter, number>>;
  /** How many values each of {@link BUCKETS} has that no smaller one has, followed by those that exceed the last. */
  readonly histograms: Partial<Record<Measure, { counts: number[]; sum: number }>>;
}

export class Figures {
  readonly #all: Stored;
  #changed = false;

  /** @param stored what {@link takeChanged} has returned */
  constructor(stored: string | undefined) {
    this.#all = stored === undefined ? { counters: {}, histograms: {} } : (JSON.parse(stored) as Stored);
  }

  count(counter: Counter, by: number): void {
    if (by === 0) return;
    this.#all.counters[counter] = this.counter(counter) + by;
    this.#changed = true;
  }

  counter(counter: Counter): number {
    return this.#all.counters[counter] ?? 0;
  }

  observe(measure: Measure, seconds: number): void {
    const histogram = (this.#all.histograms[measure] ??= { counts: Array.from(BUCKETS, () => 0), sum: 0 });
    const bucket = BUCKETS.findIndex((limit) => seconds <= limit);
    const index = bucket === -1 ? BUCKETS.length : bucket;
    histogram.counts[index] = (histogram.counts[index] ?? 0) + 1;
    histogram.sum += seconds;
    this.#changed = true;
  }

  histogram(measure: Measure): Histogram {
    const { counts, sum } = this.#all.histograms[measure] ?? { counts: [], sum: 0 };
    let total = 0;
    const buckets = BUCKETS.map((_limit, i) => (total += counts[i] ?? 0));
    return { buckets, count: total + (counts[BUCKETS.length] ?? 0), sum };
  }

  /** Returns all figures as JSON if they have changed since the last call, and otherwise undefined. */
  takeChanged(): string | undefined {
    if (!this.#changed) return undefined;
    this.#changed = false;
    return JSON.stringify(this.#all);
  }
}
