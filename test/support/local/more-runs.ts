/**
 * `npm run test:convergence -- [--runs N] [--seed S] [--path P]`, `npm run test:collection -- …`: more runs of a test that
 * carries out plans by chance, or the one that failed. Without a seed, others each time. First of all it prints the command
 * that carries out the same plans again.
 */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const TESTS = {
  convergence: 'test/replication/convergence.test.ts',
  collection: 'test/gc/interleavings.test.ts',
} as const;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    runs: { type: 'string', default: '300' },
    seed: { type: 'string', default: String(Math.floor(Math.random() * 2 ** 31)) },
    path: { type: 'string', default: '' },
  },
});
const [name = ''] = positionals;
const test = Object.hasOwn(TESTS, name) ? TESTS[name as keyof typeof TESTS] : undefined;
if (test === undefined) throw new Error(`there is no test of plans by chance called "${name}": ${Object.keys(TESTS).join(', ')}`);
const { runs, seed, path } = values;
console.log(`npm run test:${name} -- --runs ${runs} --seed ${seed}${path === '' ? '' : ` --path ${path}`}`);
const here = (file: string): string => fileURLToPath(new URL(file, import.meta.url));
const prefix = name.toUpperCase();
const { status } = spawnSync(
  process.execPath,
  [here('../../../node_modules/vitest/vitest.mjs'), 'run', '--config', here('../../vitest.config.ts'), test],
  {
    stdio: 'inherit',
    env: { ...process.env, [`${prefix}_RUNS`]: runs, [`${prefix}_SEED`]: seed, [`${prefix}_PATH`]: path },
  },
);
process.exitCode = status ?? 1;
