/**
 * A property is a test that runs the cases with which it failed before, and then as many generated ones as requested,
 * from one seed.
 */
import * as fc from 'fast-check';
import { inject, test } from 'vitest';

declare module 'vitest' {
  interface ProvidedContext {
    readonly fuzzRuns: number;
    readonly fuzzSeed: number;
  }
}

/** Milliseconds for each thousand runs. A sequence of uploads takes 0.1 s, and several times that on a busy machine. */
const TIMEOUT_OF_THOUSAND = 600_000;

export interface PropertyOptions<Case> {
  readonly regressions?: readonly Case[];
  /** Restores the state after a failure, so that fast-check can shrink the example. */
  readonly restore?: () => Promise<void>;
  /** The share of the runs that it has, if its cases take long. */
  readonly share?: number;
}

export function property<Case>(
  name: string,
  cases: fc.Arbitrary<Case>,
  holds: (example: Case) => Promise<void>,
  { regressions = [], restore, share = 1 }: PropertyOptions<Case> = {},
): void {
  const numRuns = Math.ceil(inject('fuzzRuns') * share);
  const seed = inject('fuzzSeed');
  const holdsOrRestores = async (example: Case): Promise<void> => {
    try {
      await holds(example);
    } catch (failure) {
      await restore?.();
      throw failure;
    }
  };
  test(name, { timeout: TIMEOUT_OF_THOUSAND * Math.ceil(numRuns / 1000) }, async () => {
    for (const example of regressions) await holds(example);
    await fc.assert(fc.asyncProperty(cases, holdsOrRestores), { seed, numRuns });
  });
}
