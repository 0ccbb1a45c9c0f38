/**
 * Invariants 1 to 4, whatever happens: random operations on central and two nodes, with skewed clocks, stores that fail
 * before or after a call or do it too late, queues that are killed, and operations in the middle of others. Then all
 * heals, and the hosts agree on what clients were told.
 *
 * `npm run test:convergence -- --runs 1000 --seed 7` does more runs, or replays a failure.
 */
import { env } from 'cloudflare:workers';
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { openHosts } from '../support/hosts.ts';
import { agree, heal } from './agreement.ts';
import { contentOf } from './content.ts';
import { Faults } from './faults.ts';
import { KNOWN_PLANS } from './known-plans.ts';
import { minimal } from './minimal.ts';
import { OneBatch } from './one-batch.ts';
import { plan, type Plan } from './operations.ts';
import { Run } from './run.ts';

const { runs: RUNS, seed: SEED, path: PATH } = env.CONVERGENCE;
const HOUR = 3_600_000;
const LIMIT_MILLISECONDS = 240_000 + 2000 * RUNS;

declare global {
  namespace Cloudflare {
    interface Env {
      readonly CONVERGENCE: { readonly runs: number; readonly seed: number; readonly path: string };
    }
  }
}

let run = 0;
let now = Date.UTC(2026, 0, 2);

async function converges(given: Plan): Promise<void> {
  const together = new OneBatch();
  const hosts = await openHosts(together.reach);
  // Later than every stamp of the runs before, whatever their clocks.
  hosts.now = now + HOUR;
  const content = await contentOf(run++);
  const faults = new Faults(hosts);
  const carried = new Run(hosts, faults, content);
  try {
    await carried.carryOut(given);
    await heal(hosts, content);
    await agree(hosts, carried, content, together);
  } finally {
    now = hosts.now;
  }
}

async function failureOf(given: Plan): Promise<string | undefined> {
  return converges(given).then(
    () => undefined,
    (error: unknown) => String(error instanceof Error ? error.stack : error),
  );
}

async function describe(found: Plan, replay: string): Promise<string> {
  const { skews, steps } = await minimal(found, failureOf);
  const failure = await failureOf({ skews, steps });
  const sequence = [skews, ...steps].map((part) => JSON.stringify(part)).join('\n');
  return `${failure ?? 'only the whole plan fails'}\n${sequence}\nnpm run test:convergence -- ${replay}`;
}

test(
  'hosts converge, and lose nothing that was acknowledged',
  async () => {
    await converges({ skews: { central: 0, node1: 0, node2: 0 }, steps: [] });
    const started = run;
    const result = await fc.check(fc.asyncProperty(plan, converges), {
      numRuns: RUNS,
      seed: SEED,
      endOnFailure: true,
      examples: KNOWN_PLANS.map((known): [Plan] => [known]),
      interruptAfterTimeLimit: LIMIT_MILLISECONDS,
      markInterruptAsFailure: true,
      ...(PATH === '' ? {} : { path: PATH }),
    });
    const found = result.counterexample?.[0];
    if (found !== undefined) throw new Error(await describe(found, `--seed ${result.seed} --path ${result.counterexamplePath}`));
    if (result.failed) throw new Error(`${result.numRuns} runs took longer than ${LIMIT_MILLISECONDS} ms`);
    expect(run - started).toBeGreaterThanOrEqual(PATH === '' ? RUNS : 1);
  },
  LIMIT_MILLISECONDS + 120_000,
);
