/** Alternating measurements and their statistics. */

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
    // The order alternates, so that neither side always runs after the other.
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

/** Returns half the distance between the quartiles, relative to the median: a measure of the noise. */
export function spreadOf(values: readonly number[]): number {
  return (quantile(values, 0.75) - quantile(values, 0.25)) / 2 / median(values);
}

/** @param at from 0 to 1 */
export function quantile(values: readonly number[], at: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.round((sorted.length - 1) * at)] ?? Number.NaN;
}

/** Returns requests a second over several connections, each with one request at a time. */
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
 * @param every milliseconds between checks, because checking loads the same machine
 * @throws when the condition does not hold in time
 */
export async function until(
  what: string,
  condition: () => Promise<boolean>,
  { seconds = 120, every = 5 } = {},
): Promise<void> {
  const end = Date.now() + seconds * 1000;
  while (!(await condition())) {
    if (Date.now() > end) throw new Error(`timed out waiting until ${what}`);
    await new Promise((done) => setTimeout(done, every));
  }
}
