/** `npm run test:convergence -- [--runs N] [--seed S] [--path P]`: more runs of the convergence test, or one that failed. */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const { values } = parseArgs({
  options: {
    runs: { type: 'string', default: '300' },
    seed: { type: 'string', default: String(Math.floor(Math.random() * 2 ** 31)) },
    path: { type: 'string', default: '' },
  },
});
const { runs, seed, path } = values;
console.log(`${runs} runs, seed ${seed}`);
const here = (file: string): string => fileURLToPath(new URL(file, import.meta.url));
const { status } = spawnSync(
  process.execPath,
  [
    here('../../../node_modules/vitest/vitest.mjs'),
    'run',
    '--config',
    here('../../vitest.config.ts'),
    'test/replication/convergence.test.ts',
  ],
  {
    stdio: 'inherit',
    env: { ...process.env, CONVERGENCE_RUNS: runs, CONVERGENCE_SEED: seed, CONVERGENCE_PATH: path },
  },
);
process.exitCode = status ?? 1;
