/** Shows what the interleavings are worth: they find each mistake that is planted in the statements of collection. */
import { expect, test } from 'vitest';
import { type Chance, firstFailure } from '../../support/random-plans.ts';
import { MISTAKES, planted } from './interleavings/mistakes.ts';
import type { Plan } from './interleavings/operations.ts';
import { carryOut, TRIAL } from './interleavings/trial.ts';

/** Each mistake has to be found within as many runs; the seed makes no difference to what the suite is worth. */
const TO_FIND: Chance = { runs: 300, seed: 20_260_102, path: '' };

for (const [mistake, rewritings] of Object.entries(MISTAKES)) {
  test(
    `finds: ${mistake}`,
    async () => {
      const { reach, counts } = planted(rewritings);
      const trial = { ...TRIAL, carryOut: (given: Plan) => carryOut(given, reach) };
      const found = await firstFailure(trial, TO_FIND);
      // A mistake is planted only if its rewriting matches a statement.
      expect(counts.every((count) => count > 0)).toBe(true);
      console.log(`found in run ${found?.runs}: ${found?.error}`);
      expect(found?.error).toMatch(/lost|refused|gone/);
    },
    TRIAL.milliseconds,
  );
}
