import { fileURLToPath } from 'node:url';
import { cloudflareTest, readD1Migrations } from '@cloudflare/vitest-plugin';
import { defineConfig } from 'vitest/config';

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url));

process.env['SIGNING_KEY'] ??= Buffer.alloc(32, 1).toString('base64');

export default defineConfig({
  root: here('..'),
  test: {
    // Every request writes a log line.
    silent: 'passed-only',
    projects: [
      {
        plugins: [
          cloudflareTest(async () => ({
            main: here('../src/index.ts'),
            wrangler: { configPath: here('../wrangler.toml') },
            miniflare: {
              bindings: {
                MIGRATIONS: await readD1Migrations(here('../src/stores/migrations')),
                BOOTSTRAP_SECRET: 'the-bootstrap-secret-of-the-tests',
                FAULT_SEED: process.env['BERTH_SEED'] ?? '',
              },
            },
          })),
        ],
        test: {
          name: 'workerd',
          testTimeout: 60_000,
          include: ['test/*.test.ts', 'test/{oci,namespaces,stores,registry,auth,http,gc}/**/*.test.ts'],
          setupFiles: [here('support/empty-stores.ts')],
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
