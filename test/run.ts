/**
 * `npm test`: runs the quick checks at once, then the tests. A step that passes prints one line, or one line for each
 * test file. A step that fails prints its output and ends the run. On standard error, workerd reports every connection
 * that a test breaks off; those lines are dropped.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));

const STEPS: readonly (readonly [name: string, command: readonly string[]])[] = [
  ['lint', ['npm', 'run', '--silent', 'lint']],
  ['format', ['npm', 'run', '--silent', 'format:check']],
  ['types', ['npm', 'run', '--silent', 'types']],
];
/** The other projects have their own commands, because they take minutes. */
const PROJECTS = ['workerd', 'fuzz', 'local', 'black-box'].flatMap((name) => ['--project', name]);
const TESTS = ['vitest', 'run', '--config', 'test/vitest.config.ts', ...PROJECTS];

const BROKEN_CONNECTIONS = /^(?:stack: |exception = kj|uncaught exception; source = Uncaught).*\n/gm;

async function run(
  [program = '', ...args]: readonly string[],
  shown: boolean,
): Promise<{ code: number; kept: string }> {
  const child = spawn(program, args, { cwd: root, stdio: ['ignore', shown ? 'inherit' : 'pipe', 'pipe'] });
  let kept = '';
  for (const stream of [child.stdout, child.stderr])
    stream?.setEncoding('utf8').on('data', (text: string) => (kept += text));
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
if (code !== 0) console.error(kept.replaceAll(BROKEN_CONNECTIONS, ''));
process.exitCode = code;
