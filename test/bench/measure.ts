/** Alternating measurements, and what is said of them. */

export interface Measured {
  readonly name: string;
  /** Medians, in milliseconds, or requests a second where `unit` says so. */
  readonly berth: number;
  readonly floor: number;
  /** Half the distance between the quartiles over the median: how much to believe. */
  readonly spread: number;
  /** berth / floor for times, for rates as well: above 1 is slower, or faster. */
  readonly ratio: number;
  readonly mustReach: string;
  readonly reached: boolean;
  readonly unit: 'ms' | 'requests/s';
}

export interface Comparison {
  readonly name: string;
  readonly unit: 'ms' | 'requests/s';
  readonly limit: number;
  readonly berth: () => Promise<number>;
  readonly floor: () => Promise<number>;
}

export async function timed(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await work();
  return performance.now() - start;
}

/** Runs both sides in turn, after one round that is not counted. */
export async function compare({ name, unit, limit, berth, floor }: Comparison, rounds: number): Promise<Measured> {
  const sides = { berth: [] as number[], floor: [] as number[] };
  for (let round = 0; round <= rounds; round++) {
    const results = { floor: await floor(), berth: await berth() };
    if (round === 0) continue;
    sides.berth.push(results.berth);
    sides.floor.push(results.floor);
  }
  const [ours, theirs] = [median(sides.berth), median(sides.floor)];
  const ratio = ours / theirs;
  const isRate = unit === 'requests/s';
  return {
    name,
    unit,
    berth: ours,
    floor: theirs,
    spread: Math.max(spreadOf(sides.berth), spreadOf(sides.floor)),
    ratio,
    mustReach: `${isRate ? '≥' : '≤'} ${limit} ×`,
    reached: isRate ? ratio >= limit : ratio <= limit,
  };
}

export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

function spreadOf(values: readonly number[]): number {
  return (quantile(values, 0.75) - quantile(values, 0.25)) / 2 / median(values);
}

function quantile(values: readonly number[], at: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.round((sorted.length - 1) * at)] ?? Number.NaN;
}
