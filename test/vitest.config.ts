import { fileURLToPath } from 'node:url';
import { cloudflareTest, readD1Migrations } from '@cloudflare/vitest-plugin';
import { defineConfig } from 'vitest/config';

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url));

process.env['SIGNING_KEY'] ??= Buffer.alloc(32, 1).toString('base64');

/** How often a test carries out plans by chance, and which. */
const chance = (name: string) => ({
  runs: Number(process.env[`${name}_RUNS`] ?? 300),
  seed: Number(process.env[`${name}_SEED`] ?? 20_260_102),
  path: process.env[`${name}_PATH`] ?? '',
});

const inWorkerd = () =>
  cloudflareTest(async () => ({
    main: here('../src/index.ts'),
    wrangler: { configPath: here('../wrangler.toml') },
    miniflare: {
      bindings: {
        MIGRATIONS: await readD1Migrations(here('../src/stores/migrations')),
        BOOTSTRAP_SECRET: 'bootstraps-nothing-but-these-tests',
        FAULT_SEED: process.env['BERTH_SEED'] ?? '',
        CONVERGENCE: chance('CONVERGENCE'),
        COLLECTION: chance('COLLECTION'),
      },
    },
  }));

export default defineConfig({
  root: here('..'),
  test: {
    // Every request writes a log line.
    silent: 'passed-only',
    projects: [
      {
        plugins: [inWorkerd()],
        test: {
          name: 'workerd',
          testTimeout: 60_000,
          include: ['test/*.test.ts', 'test/{oci,namespaces,stores,registry,replication,auth,http,gc,threats}/**/*.test.ts'],
          setupFiles: [here('support/console-canary.ts'), here('support/empty-stores.ts')],
        },
      },
      {
        plugins: [inWorkerd()],
        test: {
          name: 'fuzz',
          include: ['test/fuzz/*.test.ts'],
          setupFiles: [here('support/console-canary.ts'), here('support/empty-stores.ts'), here('fuzz/support/setup.ts')],
          // `npm run test:fuzz` sets them.
          provide: { fuzzRuns: Number(process.env['FUZZ_RUNS'] ?? 100), fuzzSeed: Number(process.env['FUZZ_SEED'] ?? 1) },
        },
      },
      {
        test: {
          name: 'local',
          include: ['test/local/**/*.test.ts'],
          testTimeout: 60_000,
        },
      },
      {
        test: {
          name: 'black-box',
          include: ['test/black-box/**/*.test.ts'],
          testTimeout: 120_000,
          hookTimeout: 60_000,
          fileParallelism: false,
        },
      },
    ],
  },
});
