/** Every test starts with empty stores that have the schema. The plugin isolates files, not tests. */
import { applyD1Migrations } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { beforeEach } from 'vitest';

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

const STORES = [
  [env.DB_CENTRAL, env.BLOBS_CENTRAL],
  [env.DB_NODE1!, env.BLOBS_NODE1!],
  [env.DB_NODE2!, env.BLOBS_NODE2!],
] as const;

for (const [database] of STORES) await applyD1Migrations(database, env.MIGRATIONS);

const { results: tables } = await env.DB_CENTRAL.prepare(
  "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT GLOB '_cf*' AND name NOT GLOB 'd1_*' AND name NOT GLOB 'sqlite_*' AND name <> 'clock'",
).all<{ name: string }>();

beforeEach(async () => {
  for (const [database, bucket] of STORES) {
    await database.batch([
      ...tables.map(({ name }) => database.prepare(`DELETE FROM ${name}`)),
      database.prepare("UPDATE clock SET stamp = 0, commit_id = ''"),
    ]);
    for (;;) {
      const { objects } = await bucket.list();
      if (objects.length === 0) break;
      await bucket.delete(objects.map(({ key }) => key));
    }
  }
});
