/**
 * Tests invariants 1, 4 and 5 under maintenance, with random interleavings of pushes in all forms, mounts, HEADs,
 * commits, deletions, announcements, copies up, copies down, evictions and all collections, on central and two nodes.
 * The test drives the clocks. It kills operations at any call to a store, or holds them there while others run. It
 * checks the stores after every step. In the end it deletes everything, and checks that nothing is left.
 *
 * `npm run test:collection -- --runs 1000 --seed 7` does more runs, or replays a failure.
 */
import { env } from 'cloudflare:workers';
import { test } from 'vitest';
import type { Plainer } from '../../support/minimal.ts';
import { explain, firstFailure, titled } from '../../support/random-plans.ts';
import { EQUAL, type Plan, type Step } from './interleavings/operations.ts';
import { carryOut, TRIAL } from './interleavings/trial.ts';

const PLAINER: Plainer<Step, Plan> = {
  step: (step) => [
    ...(step.stop === null && step.pause === 0 ? [] : [{ ...step, pause: 0, stop: null }]),
    ...(step.stop === null ? [] : [{ ...step, stop: null }]),
    ...(step.pause === 0 ? [] : [{ ...step, pause: 0 }]),
  ],
  plan: ({ steps }) => [{ skews: EQUAL, steps }],
};

test(
  titled('nothing live or promised is lost, and nothing deleted stays', env.COLLECTION, 'test:collection'),
  async () => {
    const found = await firstFailure(TRIAL, env.COLLECTION);
    if (found !== undefined) throw new Error(await explain(found, PLAINER, carryOut, 'test:collection'));
  },
  TRIAL.milliseconds + 120_000,
);
