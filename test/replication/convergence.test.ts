/**
 * Invariants 1 to 4 under random operations on central and two nodes, with skewed clocks, stores that fail before or
 * after a call, act late or never answer, killed queues, and operations in the middle of others. Then all faults end,
 * and the hosts must agree on what clients were told.
 *
 * `npm run test:convergence -- --runs 1000 --seed 7` does more runs, or replays a failure.
 */
import { env } from 'cloudflare:workers';
import { expect, test } from 'vitest';
import { removeMirror } from '../../src/stores/organizations/mirrors.ts';
import { openHosts } from '../support/hosts.ts';
import type { Plainer } from '../support/minimal.ts';
import { type Chance, explain, firstFailure, titled, type Trial } from '../support/random-plans.ts';
import { passDeadlinesOfStalledCalls } from '../support/stalled-calls.ts';
import { agree, heal } from './agreement.ts';
import { contentOf } from './content.ts';
import { Faults } from './faults.ts';
import { KNOWN_PLANS } from './known-plans.ts';
import { OneBatch } from './one-batch.ts';
import { plan, type Plan, type Step } from './operations.ts';
import { Run } from './run.ts';

passDeadlinesOfStalledCalls();

const HOUR = 3_600_000;
const LIMIT_MILLISECONDS = 240_000 + 2000 * env.CONVERGENCE.runs;

declare global {
  namespace Cloudflare {
    interface Env {
      readonly CONVERGENCE: Chance;
    }
  }
}

let run = 0;
let now = Date.UTC(2026, 0, 2);

async function converges(given: Plan): Promise<void> {
  const together = new OneBatch();
  const hosts = await openHosts({ reach: together.reach });
  // Later than every version of earlier runs, whatever their clocks.
  hosts.now = now + HOUR;
  const content = await contentOf(run++);
  const faults = new Faults(hosts);
  const carried = new Run(hosts, faults, content);
  try {
    await carried.carryOut(given);
    await heal(hosts, content);
    await agree(hosts, carried, content, together);
    // Makes room for those of later runs.
    await removeMirror(hosts.central.store.database, content.otherOrganization, hosts.now);
  } finally {
    now = hosts.now;
  }
}

const TRIAL: Trial<Plan> = { plans: plan, known: KNOWN_PLANS, carryOut: converges, milliseconds: LIMIT_MILLISECONDS };

const PLAINER: Plainer<Step, Plan> = {
  step: (step) => {
    const plain = { ...step, pause: 0, fault: null };
    if (step.pause === 0) return step.fault === null ? [] : [plain];
    return step.fault === null ? [plain] : [plain, { ...step, pause: 0 }];
  },
  plan: ({ steps }) => [{ skews: { central: 0, node1: 0, node2: 0 }, steps }],
};

test(
  titled('hosts converge, and lose nothing that was acknowledged', env.CONVERGENCE, 'test:convergence'),
  async () => {
    await converges({ skews: { central: 0, node1: 0, node2: 0 }, steps: [] });
    const started = run;
    const found = await firstFailure(TRIAL, env.CONVERGENCE);
    if (found !== undefined) throw new Error(await explain(found, PLAINER, converges, 'test:convergence'));
    expect(run - started).toBeGreaterThanOrEqual(env.CONVERGENCE.path === '' ? env.CONVERGENCE.runs : 1);
  },
  LIMIT_MILLISECONDS + 120_000,
);
