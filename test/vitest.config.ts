import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { cloudflareTest, readD1Migrations } from '@cloudflare/vitest-plugin';
import type { Plugin } from 'vite';
import { defineConfig } from 'vitest/config';
import { keepTemporaryFilesInMemory } from './support/local/memory-folder.ts';

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url));

keepTemporaryFilesInMemory();
process.env['SIGNING_KEY'] ??= Buffer.alloc(32, 1).toString('base64');

/** The number of random plans that a suite runs, and their seed: a sample by default, more with `npm run test:…`. */
const chance = (name: string, firstSeed = 20_260_102) => ({
  runs: Number(process.env[`${name}_RUNS`] ?? 6),
  seed: Number(process.env[`${name}_SEED`] ?? firstSeed),
  path: process.env[`${name}_PATH`] ?? '',
});

// wrangler otherwise prints where secrets come from each time that it reads the configuration.
process.env['WRANGLER_LOG'] ??= 'error';

const PLANTED = 'test/maintenance/collection/planted-mistakes.test.ts';
/** The authorization matrix at nodes takes half as long as all other tests together. */
const MATRIX_AT_NODES = 'test/threats/matrix/*-node*.test.ts';
const LONG = 'test/**/*.long.test.ts';
/** Suites of which `npm test` runs a sample (`support/sample.ts`). */
const SAMPLED = [
  'test/threats/**/*.test.ts',
  'test/http/authorization.test.ts',
  'test/stores/uploads/uploads.test.ts',
  'test/stores/merge.test.ts',
  'test/stores/organizations/usage.test.ts',
  'test/stores/deletion/sweep.test.ts',
  'test/stores/manifests/image-measure.test.ts',
  'test/registry/images/list-rows.test.ts',
  'test/maintenance/integrity/scrub-killed.test.ts',
];

const inWorkerd = () =>
  cloudflareTest(async () => ({
    main: here('../src/index.ts'),
    wrangler: { configPath: here('../wrangler.toml') },
    miniflare: {
      bindings: {
        MIGRATIONS: await readD1Migrations(here('../src/stores/migrations')),
        BOOTSTRAP_SECRET: 'bootstraps-nothing-but-these-tests',
        FAULTS: chance('FAULTS', 1),
        CONVERGENCE: chance('CONVERGENCE'),
        COLLECTION: chance('COLLECTION'),
        SAMPLE: Number(process.env['SAMPLE'] ?? 8),
      },
    },
  }));

const TEXT = '\0text:';

/** Gives modules that the Worker imports `with { type: 'text' }` as text, which wrangler's bundler does by itself. */
const textModules = (): Plugin => ({
  name: 'text modules',
  enforce: 'pre',
  resolveId(source, importer) {
    if (importer?.endsWith('src/console/assets.ts') !== true || source.endsWith('.ts')) return undefined;
    return source.endsWith('.css') || source.endsWith('.js')
      ? `${TEXT}${createRequire(importer).resolve(source)}`
      : undefined;
  },
  load(id) {
    if (!id.startsWith(TEXT)) return undefined;
    return `export default ${JSON.stringify(readFileSync(id.slice(TEXT.length), 'utf8'))};`;
  },
});

export default defineConfig({
  root: here('..'),
  test: {
    // Every request writes a log line.
    silent: 'passed-only',
    reporters: [here('support/local/line-reporter.ts')],
    maxWorkers: 2,
    projects: [
      {
        plugins: [textModules(), inWorkerd()],
        test: {
          name: 'workerd',
          // One runtime runs many files in turn, because starting one takes longer than most files.
          isolate: false,
          testTimeout: 60_000,
          hookTimeout: 60_000,
          include: [
            'test/*.test.ts',
            'test/{oci,oci-client,hashing,namespaces,stores,registry,replication}/**/*.test.ts',
            'test/{auth,http,console,import,maintenance,mirror,threats,upstream}/**/*.test.ts',
          ],
          exclude: [PLANTED, MATRIX_AT_NODES, LONG],
          setupFiles: [here('support/console-canary.ts'), here('support/empty-stores.ts')],
        },
      },
      {
        plugins: [textModules(), inWorkerd()],
        test: {
          name: 'fuzz',
          isolate: false,
          include: ['test/fuzz/*.test.ts'],
          setupFiles: [
            here('support/console-canary.ts'),
            here('support/empty-stores.ts'),
            here('fuzz/support/setup.ts'),
          ],
          // `npm run test:fuzz` sets these.
          provide: {
            fuzzRuns: Number(process.env['FUZZ_RUNS'] ?? 100),
            fuzzSeed: Number(process.env['FUZZ_SEED'] ?? 1),
          },
        },
      },
      {
        // Only `npm run test:collection` runs these: each may take as many plans as the whole suite.
        plugins: [textModules(), inWorkerd()],
        test: {
          name: 'planted',
          isolate: false,
          include: [PLANTED],
          setupFiles: [here('support/console-canary.ts'), here('support/empty-stores.ts')],
        },
      },
      {
        // Only `npm run test:long` runs these.
        plugins: [textModules(), inWorkerd()],
        test: {
          name: 'long',
          isolate: false,
          testTimeout: 60_000,
          hookTimeout: 60_000,
          include: [LONG, ...SAMPLED],
          setupFiles: [here('support/console-canary.ts'), here('support/empty-stores.ts')],
        },
      },
      {
        test: {
          name: 'local',
          // The tests read what wrangler prints.
          env: { WRANGLER_LOG: 'log' },
          include: ['test/local/**/*.test.ts'],
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
      {
        test: {
          name: 'cli',
          globalSetup: [here('cli/support/build.ts')],
          include: ['test/cli/**/*.test.ts'],
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
      {
        test: {
          name: 'black-box',
          globalSetup: [here('cli/support/build.ts')],
          include: ['test/black-box/**/*.test.ts'],
          testTimeout: 120_000,
          hookTimeout: 60_000,
        },
      },
      {
        // Tests that drive a real browser. Only `npm run test:browser` runs these.
        test: {
          name: 'browser',
          include: ['test/browser/**/*.test.ts'],
          testTimeout: 120_000,
          hookTimeout: 60_000,
        },
      },
      {
        // Tests in which servers start, are killed, and lose their clients. Only `npm run test:long` runs these.
        test: {
          name: 'processes',
          globalSetup: [here('cli/support/build.ts')],
          include: ['test/processes/**/*.test.ts'],
          testTimeout: 120_000,
          hookTimeout: 60_000,
        },
      },
    ],
  },
});
