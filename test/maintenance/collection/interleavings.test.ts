/**
 * Invariants 1, 4 and 5 while storage looks after itself: random interleavings of pushes in all forms, mounts, HEADs,
 * commits, deletions, announcements, copies, fetches, evictions and all collections on central and two nodes, with
 * clocks that the test drives. Operations are killed, or held while others come between, at any call to a store. Stores
 * are looked at after every step; in the end all is deleted, and nothing is left.
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
  titled(
    'nothing that is live or promised is lost, and nothing stays that was deleted',
    env.COLLECTION,
    'test:collection',
  ),
  async () => {
    const found = await firstFailure(TRIAL, env.COLLECTION);
    if (found !== undefined) throw new Error(await explain(found, PLAINER, carryOut, 'test:collection'));
  },
  TRIAL.milliseconds + 120_000,
);
