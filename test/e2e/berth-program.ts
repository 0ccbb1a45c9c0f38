import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { commandOutput } from './command.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** Builds the command line of this repository, and returns the file that Node runs. */
export async function berthProgram(): Promise<string> {
  await commandOutput('npm', ['run', '--silent', 'build', '-w', 'cli'], { timeoutSeconds: 60, directory: ROOT });
  return join(ROOT, 'cli/dist/berth.js');
}
