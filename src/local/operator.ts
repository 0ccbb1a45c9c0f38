/** Shared by the commands for operators: printing, running commands, and refusing. */
import { spawnSync } from 'node:child_process';
import { Refusal } from './wrangler-toml.ts';

export interface Operator {
  readonly print: (line: string) => void;
  /** Runs a command in a folder. With `keep`, its stdout is returned and not shown, and it cannot prompt. */
  readonly run: (command: readonly string[], folder: string, keep?: boolean) => Ran;
}

export interface Ran {
  readonly status: number;
  readonly stdout: string;
}

export interface Step {
  readonly command: readonly string[];
  readonly note?: string;
}

/** Runs the steps if `apply`, and prints those that are left. @throws Refusal if a step fails */
export function runOrPrint(operator: Operator, steps: readonly Step[], folder: string, apply: boolean): void {
  const left = apply ? steps.slice(runAll(operator, steps, folder)) : steps;
  if (left.length === 0) return;
  operator.print('\nLeft to do:');
  for (const { command, note } of left) {
    operator.print(`  ${shown(command)}`);
    if (note !== undefined) operator.print(`      ${note}`);
  }
  if (apply) throw new Refusal(`\n${shown(left[0]?.command ?? [])} failed.`);
}

function runAll(operator: Operator, steps: readonly Step[], folder: string): number {
  for (const [i, { command }] of steps.entries()) {
    operator.print(`\n> ${command.join(' ')}`);
    if (operator.run(command, folder).status !== 0) return i;
  }
  return steps.length;
}

/** Formats a command for the user to copy. */
export function shown(command: readonly string[]): string {
  const words = command.map((word) => (/^[\w./:=@-]+$/.test(word) ? word : JSON.stringify(word)));
  return [...(command[0] === 'wrangler' ? ['npx'] : []), ...words].join(' ');
}

/** Runs a command of `package.json`. A refusal prints its message and exits with status 1. */
export async function main(command: (args: string[], operator: Operator) => Promise<void>): Promise<void> {
  try {
    await command(process.argv.slice(2), { print: (line) => console.log(line), run: runCommand });
  } catch (error) {
    const expected =
      error instanceof Refusal || (error as { code?: string }).code?.startsWith('ERR_PARSE_ARGS') === true;
    console.error(expected ? (error as Error).message : error);
    process.exitCode = 1;
  }
}

function runCommand([command = '', ...args]: readonly string[], folder: string, keep = false): Ran {
  const { status, stdout, error } = spawnSync(command, args, {
    cwd: folder,
    encoding: 'utf8',
    stdio: ['inherit', keep ? 'pipe' : 'inherit', 'inherit'],
  });
  if (error !== undefined) console.error(`${command}: ${error.message}`);
  return { status: status ?? 1, stdout: stdout ?? '' };
}
