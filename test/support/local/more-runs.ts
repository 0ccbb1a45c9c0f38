/**
 * Runs at full length a suite of random plans of which `npm test` runs a sample, or repeats the one plan that failed:
 *
 *     npm run test:convergence -- [--runs N] [--seed S] [--path P]
 *     npm run test:collection -- …
 *     npm run test:faults -- …
 *
 * Without a seed, the plans differ each time. It first prints the command that repeats them.
 */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const TESTS = {
  convergence: ['test/replication/convergence.test.ts'],
  collection: [
    'test/maintenance/collection/interleavings.test.ts',
    'test/maintenance/collection/planted-mistakes.test.ts',
  ],
  faults: ['test/stores/faults.test.ts'],
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
const tests = Object.hasOwn(TESTS, name) ? TESTS[name as keyof typeof TESTS] : undefined;
if (tests === undefined)
  throw new Error(`there is no suite of random plans called "${name}": choose one of ${Object.keys(TESTS).join(', ')}`);
const { runs, seed, path } = values;
console.log(`npm run test:${name} -- --runs ${runs} --seed ${seed}${path === '' ? '' : ` --path ${path}`}`);
const here = (file: string): string => fileURLToPath(new URL(file, import.meta.url));
const prefix = name.toUpperCase();
const { status } = spawnSync(
  process.execPath,
  [here('../../../node_modules/vitest/vitest.mjs'), 'run', '--config', here('../../vitest.config.ts'), ...tests],
  {
    stdio: 'inherit',
    env: { ...process.env, [`${prefix}_RUNS`]: runs, [`${prefix}_SEED`]: seed, [`${prefix}_PATH`]: path },
  },
);
process.exitCode = status ?? 1;
