/** A row of the table: what it measures, the value that it must reach, and the outcome. */
import { alternate, median, spreadOf } from './measure.ts';
import type { Surroundings } from './surroundings.ts';

export const ROUNDS = 7;

export interface Row {
  readonly name: string;
  /** Empty for a row that only informs. */
  readonly mustReach: string;
  readonly boundBy: string;
  readonly run: (surroundings: Surroundings) => Promise<Outcome>;
}

export interface Outcome {
  /** The figure that is judged, as text. */
  readonly measured: string;
  readonly reached: boolean;
  /** The figures behind it. */
  readonly details: string;
  /** Raw figures for the JSON file. */
  readonly figures: Readonly<Record<string, unknown>>;
}

export interface Compared {
  readonly ours: () => Promise<number>;
  readonly theirs: () => Promise<number>;
  readonly unit?: 'ms' | 'requests/s' | 'MiB/s';
  readonly rounds?: number;
  /** The greatest ratio of ours to theirs that passes for times, or the least for rates. */
  readonly limit: number;
}

/** Compares the medians of both sides in alternating rounds, and returns their ratio. */
export async function compare({ ours, theirs, unit = 'ms', rounds = ROUNDS, limit }: Compared): Promise<Outcome> {
  const sides = await alternate(ours, theirs, rounds);
  const [our, their] = [median(sides.ours), median(sides.theirs)];
  const spread = Math.max(spreadOf(sides.ours), spreadOf(sides.theirs));
  const ratio = our / their;
  return {
    measured: `${ratio.toFixed(2)} ×`,
    reached: unit === 'ms' ? ratio <= limit : ratio >= limit,
    details: `${figure(our)} against ${figure(their)} ${unit}, ±${(spread * 100).toFixed(0)} %`,
    figures: { ...sides, median: our, medianOfFloor: their, ratio, spread, unit, rounds },
  };
}

/** @param misses requirements that were not met */
export function outcome(
  measured: string,
  misses: readonly string[],
  details: string,
  figures: Readonly<Record<string, unknown>>,
): Outcome {
  return { measured, reached: misses.length === 0, details: [details, ...misses].filter(Boolean).join('; '), figures };
}

function figure(value: number): string {
  return value < 10 ? value.toFixed(1) : value.toFixed(0);
}
