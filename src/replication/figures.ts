/**
 * A queue's counters and histograms, in memory: for all time, and for the current hour. Storing each change at once
 * would write several rows for each blob, so the queue stores them together: after each run of its alarm, and before
 * anybody reads them. A reader therefore never sees a counter fall, even if the Durable Object loses its memory.
 *
 * When an hour is over, its figures become a row of their own. An hour in which nothing happened has none.
 */
import { HOUR } from '../durations.ts';
import { BUCKETS, type Counter, type Histogram, type HourFigures, type Measure } from './queue-state.ts';

interface Amounts {
  readonly counters: Partial<Record<Counter, number>>;
  /**
   * The number of values that fit in each of {@link BUCKETS} but in no smaller one; last, the number above them all.
   */
  readonly histograms: Partial<Record<Measure, { counts: number[]; sum: number }>>;
}

interface Hour extends Amounts {
  /** Its start, in milliseconds since the epoch. */
  readonly at: number;
  /** See {@link HourFigures}; undefined until it is noted. */
  held?: number | null;
}

interface Stored extends Amounts {
  hour?: Hour;
}

/** An hour that is over, in its stored form. */
export interface EndedHour {
  readonly at: number;
  readonly stored: string;
}

export class Figures {
  readonly #all: Stored;
  readonly #now: () => number;
  #hour: Hour;
  #ended: EndedHour[] = [];
  #changed = false;

  /**
   * @param stored what {@link takeChanged} has returned
   * @param now returns milliseconds since the epoch
   */
  constructor(stored: string | undefined, now: () => number) {
    this.#all = stored === undefined ? { counters: {}, histograms: {} } : (JSON.parse(stored) as Stored);
    this.#now = now;
    this.#hour = this.#all.hour ?? emptyHour(startOfHour(now()));
  }

  count(counter: Counter, by: number): void {
    if (by === 0) return;
    for (const { counters } of this.#current()) counters[counter] = (counters[counter] ?? 0) + by;
    this.#changed = true;
  }

  counter(counter: Counter): number {
    return this.#all.counters[counter] ?? 0;
  }

  observe(measure: Measure, seconds: number): void {
    const bucket = BUCKETS.findIndex((limit) => seconds <= limit);
    const index = bucket === -1 ? BUCKETS.length : bucket;
    for (const { histograms } of this.#current()) {
      const histogram = (histograms[measure] ??= { counts: BUCKETS.map(() => 0), sum: 0 });
      histogram.counts[index] = (histogram.counts[index] ?? 0) + 1;
      histogram.sum += seconds;
    }
    this.#changed = true;
  }

  histogram(measure: Measure): Histogram {
    return histogramOf(this.#all, measure);
  }

  /** Whether the current hour has figures, but no note yet of the bytes that the store holds. */
  get lacksHeld(): boolean {
    this.#turn();
    return this.#hour.held === undefined && !isEmpty(this.#hour);
  }

  /** Notes the bytes that the store holds. */
  noteHeld(bytes: number | null): void {
    this.#turn();
    this.#hour.held = bytes;
    this.#changed = true;
  }

  /** Returns the figures of the current hour, even if nothing has happened in it. */
  currentHour(): HourFigures {
    this.#turn();
    return shownHour(this.#hour);
  }

  /** Returns all figures as JSON, and the hours that have ended; undefined if nothing changed since the last call. */
  takeChanged(): { readonly figures: string; readonly ended: readonly EndedHour[] } | undefined {
    this.#turn();
    if (!this.#changed) return undefined;
    this.#changed = false;
    const ended = this.#ended;
    this.#ended = [];
    const stored: Stored = { counters: this.#all.counters, histograms: this.#all.histograms, hour: this.#hour };
    return { figures: JSON.stringify(stored), ended };
  }

  #current(): readonly Amounts[] {
    this.#turn();
    return [this.#all, this.#hour];
  }

  /**
   * Begins a new hour if it is time. If the clock is set back to the hour before, the current hour goes on, because
   * beginning that hour again would overwrite its row.
   */
  #turn(): void {
    const at = startOfHour(this.#now());
    if (at === this.#hour.at || at === this.#hour.at - HOUR) return;
    if (!isEmpty(this.#hour)) {
      this.#ended.push({ at: this.#hour.at, stored: JSON.stringify(this.#hour) });
      this.#changed = true;
    }
    this.#hour = emptyHour(at);
  }
}

/** Reads an hour as {@link Figures} has stored it. */
export function readHour(stored: string): HourFigures {
  return shownHour(JSON.parse(stored) as Hour);
}

function startOfHour(time: number): number {
  return time - (time % HOUR);
}

function emptyHour(at: number): Hour {
  return { at, counters: {}, histograms: {} };
}

function isEmpty({ counters, histograms }: Amounts): boolean {
  return Object.keys(counters).length + Object.keys(histograms).length === 0;
}

function shownHour(hour: Hour): HourFigures {
  return {
    at: hour.at,
    counters: hour.counters,
    histograms: {
      announce_seconds: histogramOf(hour, 'announce_seconds'),
      settle_seconds: histogramOf(hour, 'settle_seconds'),
    },
    held: hour.held ?? null,
  };
}

function histogramOf({ histograms }: Amounts, measure: Measure): Histogram {
  const { counts, sum } = histograms[measure] ?? { counts: [], sum: 0 };
  let total = 0;
  const buckets = BUCKETS.map((_limit, i) => (total += counts[i] ?? 0));
  return { buckets, count: total + (counts[BUCKETS.length] ?? 0), sum };
}
