/** A property is a test: as many runs as asked for, of one seed, after the cases that it has failed with before. */
import * as fc from 'fast-check';
import { inject, test } from 'vitest';

declare module 'vitest' {
  interface ProvidedContext {
    readonly fuzzRuns: number;
    readonly fuzzSeed: number;
  }
}

/** For each thousand runs. A sequence of uploads takes a tenth of a second; a busy machine several times that. */
const TIMEOUT_OF_THOUSAND = 600_000;

export interface PropertyOptions<Case> {
  readonly regressions?: readonly Case[];
  /** Makes the state good again that a failure has left, so that smaller examples can be looked for. */
  readonly restore?: () => Promise<void>;
}

export function property<Case>(
  name: string,
  cases: fc.Arbitrary<Case>,
  holds: (example: Case) => Promise<void>,
  { regressions = [], restore }: PropertyOptions<Case> = {},
): void {
  const numRuns = inject('fuzzRuns');
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
