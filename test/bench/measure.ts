/** Alternating measurements, and what is said of them. */

export async function timed(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await work();
  return performance.now() - start;
}

export interface Sides {
  /** Milliseconds, or a rate. */
  readonly ours: readonly number[];
  readonly theirs: readonly number[];
}

/** Runs both sides in turn, after one round that is not counted. */
export async function alternate(
  ours: () => Promise<number>,
  theirs: () => Promise<number>,
  rounds: number,
): Promise<Sides> {
  const sides = { ours: [] as number[], theirs: [] as number[] };
  for (let round = 0; round <= rounds; round++) {
    // Whoever is first changes: what the one leaves behind must not always meet the other.
    const [first, second] = round % 2 === 0 ? [theirs, ours] : [ours, theirs];
    const results = new Map([[first, await first()]]);
    results.set(second, await second());
    if (round === 0) continue;
    sides.ours.push(results.get(ours) ?? Number.NaN);
    sides.theirs.push(results.get(theirs) ?? Number.NaN);
  }
  return sides;
}

export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

/** Half the distance between the quartiles over the median: how much to believe. */
export function spreadOf(values: readonly number[]): number {
  return (quantile(values, 0.75) - quantile(values, 0.25)) / 2 / median(values);
}

/** @param at from 0 to 1 */
export function quantile(values: readonly number[], at: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.round((sorted.length - 1) * at)] ?? Number.NaN;
}

/** Requests a second with some connections, each with one request under way. */
export async function rate(connections: number, requests: number, work: () => Promise<unknown>): Promise<number> {
  let left = requests;
  const milliseconds = await timed(() =>
    Promise.all(
      Array.from({ length: connections }, async () => {
        while (left-- > 0) await work();
      }),
    ),
  );
  return (requests / milliseconds) * 1000;
}

/**
 * Waits for a condition.
 * @param every how long it rests between looks, in milliseconds: looking is work for the same machine
 * @throws after a while
 */
export async function until(
  what: string,
  condition: () => Promise<boolean>,
  { seconds = 120, every = 5 } = {},
): Promise<void> {
  const end = Date.now() + seconds * 1000;
  while (!(await condition())) {
    if (Date.now() > end) throw new Error(`waited in vain: ${what}`);
    await new Promise((done) => setTimeout(done, every));
  }
}
