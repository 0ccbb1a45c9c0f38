/** `npm run test:fuzz -- --runs N --seed S`: runs each property of `test/fuzz` N times. */
import { spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { parseArgs } from 'node:util';

const { values, positionals } = parseArgs({
  options: { runs: { type: 'string', default: '1000' }, seed: { type: 'string', default: String(randomInt(2 ** 31)) } },
  allowPositionals: true,
});

for (const [name, value] of Object.entries(values)) {
  if (/^\d{1,10}$/.test(value)) continue;
  console.error(`--${name} must be a whole number, not ${value}`);
  process.exit(2);
}

const { runs, seed } = values;
console.log(
  `${runs} runs of each property, seed ${seed}. To replay: npm run test:fuzz -- --runs ${runs} --seed ${seed}`,
);
const vitest = spawn('vitest', ['run', '--config', 'test/vitest.config.ts', '--project', 'fuzz', ...positionals], {
  stdio: 'inherit',
  env: { ...process.env, FUZZ_RUNS: runs, FUZZ_SEED: seed },
});
const [code] = (await once(vitest, 'exit')) as [number | null];
process.exitCode = code ?? 1;
