/** Every test starts with empty stores that have the schema. The plugin isolates files, not tests. */
import { applyD1Migrations } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { beforeEach } from 'vitest';
import { BINDINGS, clearStores } from './bindings.ts';

declare global {
  // Bindings that only tests have.
  namespace Cloudflare {
    interface Env {
      readonly MIGRATIONS: Parameters<typeof applyD1Migrations>[1];
      readonly BOOTSTRAP_SECRET: string;
      /** The one seed to run; empty for all. */
      readonly FAULT_SEED: string;
    }
  }
}

for (const [database] of Object.values(BINDINGS)) await applyD1Migrations(database, env.MIGRATIONS);

beforeEach(clearStores);
