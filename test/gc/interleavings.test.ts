/**
 * Invariants 1, 4 and 5 while storage looks after itself: random interleavings of pushes in all forms, mounts, HEADs,
 * commits, deletions, announcements, copies, fetches, evictions and all collections on central and two nodes, with clocks
 * that the test drives. Operations are killed, or held while others come between, at any call to a store. Stores are
 * looked at after every step; in the end all is deleted, and nothing is left.
 *
 * `npm run test:collection -- --runs 1000 --seed 7` does more runs, or replays a failure.
 */
import { env } from 'cloudflare:workers';
import { expect, test } from 'vitest';
import { contentOf } from '../replication/content.ts';
import { clearStores } from '../support/bindings.ts';
import type { Plainer } from '../support/minimal.ts';
import { type Chance, explain, firstFailure, titled, type Trial } from '../support/random-plans.ts';
import { end } from './interleavings/ending.ts';
import { type Reach, World } from './interleavings/isolates.ts';
import { KNOWN_PLANS } from './interleavings/known-plans.ts';
import { MISTAKES, planted } from './interleavings/mistakes.ts';
import { EQUAL, type Plan, type Step } from './interleavings/operations.ts';
import { plan } from './interleavings/plans.ts';
import { Run } from './interleavings/run.ts';

const LIMIT_MILLISECONDS = 240_000 + 2000 * env.COLLECTION.runs;

declare global {
  namespace Cloudflare {
    interface Env {
      readonly COLLECTION: Chance;
    }
  }
}

const content = await contentOf(0);

async function carryOut(given: Plan, reach: Reach = (database) => database): Promise<void> {
  await clearStores();
  const world = new World(given.skews, reach);
  const run = new Run(world, content);
  await run.carryOut(given);
  await end(run, world);
}

const PLAINER: Plainer<Step, Plan> = {
  step: (step) => [
    ...(step.stop === null && step.pause === 0 ? [] : [{ ...step, pause: 0, stop: null }]),
    ...(step.stop === null ? [] : [{ ...step, stop: null }]),
    ...(step.pause === 0 ? [] : [{ ...step, pause: 0 }]),
  ],
  plan: ({ steps }) => [{ skews: EQUAL, steps }],
};

const TRIAL: Trial<Plan> = { plans: plan, known: KNOWN_PLANS, carryOut, milliseconds: LIMIT_MILLISECONDS };

test(
  titled('nothing that is live or promised is lost, and nothing stays that was deleted', env.COLLECTION, 'test:collection'),
  async () => {
    const found = await firstFailure(TRIAL, env.COLLECTION);
    if (found !== undefined) throw new Error(await explain(found, PLAINER, carryOut, 'test:collection'));
  },
  LIMIT_MILLISECONDS + 120_000,
);

/** Within as many runs each has to be found; of which seed, makes no difference to what the suite is worth. */
const TO_FIND: Chance = { runs: 300, seed: 20_260_102, path: '' };

for (const [mistake, rewritings] of Object.entries(MISTAKES)) {
  test(
    `finds: ${mistake}`,
    async () => {
      const { reach, counts } = planted(rewritings);
      const trial = { ...TRIAL, carryOut: (given: Plan) => carryOut(given, reach) };
      const found = await firstFailure(trial, TO_FIND);
      // A statement that no rewriting matches would be the right one.
      expect(counts.every((count) => count > 0)).toBe(true);
      console.log(`found in run ${found?.runs}: ${found?.error}`);
      expect(found?.error).toMatch(/lost|refused|gone/);
    },
    LIMIT_MILLISECONDS,
  );
}
