/**
 * `npm test`: runs the quick checks at once, then the tests. A step that passes prints one line, or one line for each
 * test file. A step that fails prints its output and ends the run. workerd reports every connection that a test breaks
 * off; those lines are dropped.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));

const STEPS: readonly (readonly [name: string, command: readonly string[]])[] = [
  ['lint', ['npm', 'run', '--silent', 'lint']],
  ['format', ['npm', 'run', '--silent', 'format:check']],
  ['types', ['npm', 'run', '--silent', 'types']],
];
/** The other projects have their own commands, because they take minutes. */
const PROJECTS = ['workerd', 'fuzz', 'local', 'cli', 'black-box'].flatMap((name) => ['--project', name]);
const TESTS = ['vitest', 'run', '--config', 'test/vitest.config.ts', ...PROJECTS];

/** The messages of workerd and of vitest's plugin about connections that a test breaks off. */
const BROKEN_CONNECTION = /^(?:stack: |exception = |uncaught exception; source = Uncaught|console warning; message = )/;

/** Runs a command. @param shown whether to print what it prints, rather than to keep it */
async function run(
  [program = '', ...args]: readonly string[],
  shown: boolean,
): Promise<{ code: number; kept: string }> {
  const color = process.stdout.isTTY ? { FORCE_COLOR: '1' } : {};
  const child = spawn(program, args, {
    cwd: root,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...color },
  });
  let kept = '';
  const keep = (line: string): void => {
    if (!BROKEN_CONNECTION.test(line)) kept += `${line}\n`;
  };
  createInterface(child.stderr).on('line', keep);
  createInterface(child.stdout).on('line', (line) => {
    if (!shown) keep(line);
    else if (!BROKEN_CONNECTION.test(line)) console.log(line);
  });
  const [code] = (await once(child, 'close')) as [number | null];
  return { code: code ?? 1, kept };
}

const codes = await Promise.all(
  STEPS.map(async ([name, command]) => {
    const start = Date.now();
    const { code, kept } = await run(command, false);
    if (code === 0) console.log(`${name}: ok (${((Date.now() - start) / 1000).toFixed(1)} s)`);
    else console.error(`${kept}\n${name} failed: npm run ${name}`);
    return code;
  }),
);
if (codes.some((code) => code !== 0)) process.exit(1);
const { code, kept } = await run([...TESTS, ...process.argv.slice(2)], true);
if (code !== 0) console.error(kept);
process.exitCode = code;
