/** The figures of queues over time, hour by hour. */
import type { StoreName } from '../namespaces/namespace.ts';
import { forPage } from '../stores/deadline.ts';
import type { Counter, Histogram, HourFigures, Measure } from './queue-state.ts';

/** The most hours to show of all queues together. A sum reads a row of each queue for each hour. */
export const MOST_HOURS_OF_ALL = 7 * 24;

export interface Series {
  /** The hours in which something happened, oldest first. */
  readonly hours: readonly HourFigures[];
  /** False if the figures of a queue are missing, because it did not answer. */
  readonly complete: boolean;
}

/** Adds up what the stores' queues did in each hour. @param hoursOf asks the queue of one store */
export async function seriesOfAll(
  stores: readonly StoreName[],
  hoursOf: (store: StoreName) => Promise<readonly HourFigures[]>,
): Promise<Series> {
  const answers = await Promise.all(stores.map((store) => forPage(hoursOf(store)).catch(() => undefined)));
  const known = answers.filter((answer) => answer !== undefined);
  const byHour = Map.groupBy(known.flat(), ({ at }) => at);
  const hours = [...byHour.values()].map(sumOf).toSorted((a, b) => a.at - b.at);
  return { hours, complete: known.length === answers.length };
}

/** Adds up one hour of several queues. `held` stays unknown: a store without a row for the hour holds bytes too. */
function sumOf(same: readonly HourFigures[]): HourFigures {
  const { at, counters, histograms } = same.reduce(added);
  return { at, counters, histograms, held: null };
}

function added(a: HourFigures, b: HourFigures): HourFigures {
  const counters: Partial<Record<Counter, number>> = { ...a.counters };
  for (const [name, value] of Object.entries(b.counters) as [Counter, number][])
    counters[name] = (counters[name] ?? 0) + value;
  const sum = (measure: Measure): Histogram => addedHistogram(a.histograms[measure], b.histograms[measure]);
  const histograms = { announce_seconds: sum('announce_seconds'), settle_seconds: sum('settle_seconds') };
  return { at: a.at, counters, histograms, held: null };
}

function addedHistogram(a: Histogram, b: Histogram): Histogram {
  const buckets = a.buckets.map((count, i) => count + (b.buckets[i] ?? 0));
  return { buckets, count: a.count + b.count, sum: a.sum + b.sum };
}
