/** Carries out one plan, from empty stores to the end where everything is deleted and nothing is left. */
import { env } from 'cloudflare:workers';
import { contentOf } from '../../../replication/content.ts';
import { clearStores } from '../../../support/bindings.ts';
import type { Chance, Trial } from '../../../support/random-plans.ts';
import { end } from './ending.ts';
import { type Reach, World } from './isolates.ts';
import { KNOWN_PLANS } from './known-plans.ts';
import type { Plan } from './operations.ts';
import { plan } from './plans.ts';
import { Run } from './run.ts';

declare global {
  namespace Cloudflare {
    interface Env {
      readonly COLLECTION: Chance;
    }
  }
}

const LIMIT_MILLISECONDS = 240_000 + 2000 * env.COLLECTION.runs;

const content = await contentOf(0);

export async function carryOut(given: Plan, reach: Reach = (database) => database): Promise<void> {
  await clearStores();
  const world = new World(given.skews, reach);
  const run = new Run(world, content);
  await run.carryOut(given);
  await end(run, world);
}

export const TRIAL: Trial<Plan> = { plans: plan, known: KNOWN_PLANS, carryOut, milliseconds: LIMIT_MILLISECONDS };
