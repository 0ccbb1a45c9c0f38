/** Proves that the interleavings find each mistake that is planted in the statements of collection. */
import { expect, test } from 'vitest';
import { type Chance, firstFailure } from '../../support/random-plans.ts';
import { MISTAKES, planted } from './interleavings/mistakes.ts';
import type { Plan } from './interleavings/operations.ts';
import { carryOut, TRIAL } from './interleavings/trial.ts';

/** Each mistake must be found within this many runs. Any seed would do. */
const TO_FIND: Chance = { runs: 300, seed: 20_260_102, path: '' };

for (const [mistake, rewritings] of Object.entries(MISTAKES)) {
  test(
    `the interleavings find ${mistake}`,
    async () => {
      const { reach, counts } = planted(rewritings);
      const trial = { ...TRIAL, carryOut: (given: Plan) => carryOut(given, reach) };
      const found = await firstFailure(trial, TO_FIND);
      // A rewriting that matches no statement plants nothing.
      expect(counts.every((count) => count > 0)).toBe(true);
      console.log(`found in run ${found?.runs}: ${found?.error}`);
      expect(found?.error).toMatch(/lost|refused|gone/);
    },
    TRIAL.milliseconds,
  );
}
