/** Every test starts with an empty store that has the schema. The plugin isolates files, not tests. */
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

await applyD1Migrations(env.DB_CENTRAL, env.MIGRATIONS);

const { results: tables } = await env.DB_CENTRAL.prepare(
  "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT GLOB '_cf*' AND name NOT GLOB 'd1_*' AND name NOT GLOB 'sqlite_*' AND name <> 'clock'",
).all<{ name: string }>();

beforeEach(async () => {
  await env.DB_CENTRAL.batch([
    ...tables.map(({ name }) => env.DB_CENTRAL.prepare(`DELETE FROM ${name}`)),
    env.DB_CENTRAL.prepare("UPDATE clock SET stamp = 0, commit_id = ''"),
  ]);
  for (;;) {
    const { objects } = await env.BLOBS_CENTRAL.list();
    if (objects.length === 0) return;
    await env.BLOBS_CENTRAL.delete(objects.map(({ key }) => key));
  }
});
