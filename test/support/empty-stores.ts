/**
 * Gives every test empty stores that have the schema. Test files share one runtime, since starting one for each file
 * would take longer than most files run. This module is evaluated before each file, and removes what the previous file
 * left.
 */
import { applyD1Migrations, evictAllDurableObjects } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { beforeEach, expect, vi } from 'vitest';
import { BUDGET_BYTES, isolateBudget, LOST_MILLISECONDS } from '../../src/stores/uploads/buffer-budget.ts';
import { BINDINGS, clearStores, dropSavedTables } from './bindings.ts';
import { DataCenterCache } from './data-center-cache.ts';
import { forgetObjects } from './durable-objects.ts';

declare global {
  // These bindings exist only in tests.
  namespace Cloudflare {
    interface Env {
      readonly MIGRATIONS: Parameters<typeof applyD1Migrations>[1];
      readonly BOOTSTRAP_SECRET: string;
    }
  }
}

vi.useRealTimers();
vi.unstubAllGlobals();
await forgetQueues();
forgetLoans();
await Promise.all(Object.values(BINDINGS).map(([database]) => applyD1Migrations(database, env.MIGRATIONS)));
await dropSavedTables();
await clearStores();

/** Tests of pure code have no stores to empty. */
const PURE = /\/test\/(?:oci|namespaces)\//;
if (!PURE.test(expect.getState().testPath ?? '')) {
  beforeEach(async () => {
    // Each file gets an empty cache of the data center, so that earlier tests answer nothing here.
    vi.stubGlobal('caches', { default: new DataCenterCache() });
    await clearStores();
  });
}

/** Stops the queues, imports and mirrors of the previous file, which would go on in the stores of this file. */
async function forgetQueues(): Promise<void> {
  await forgetObjects(env.REPLICATION_QUEUE);
  await forgetObjects(env.ORGANIZATION_IMPORTS);
  await forgetObjects(env.MIRROR_BLOB);
  await forgetObjects(env.ORGANIZATION_MIRROR);
  await evictAllDurableObjects();
}

/** Takes back the room of objects that a test has killed, as the budget does once two minutes have passed. */
function forgetLoans(): void {
  vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 2 * LOST_MILLISECONDS });
  const loan = isolateBudget.borrow(BUDGET_BYTES);
  if (loan !== undefined) isolateBudget.giveBack(loan);
  vi.useRealTimers();
}
