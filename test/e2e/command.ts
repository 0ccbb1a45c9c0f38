/**
 * Runs other programs, each for a bounded time. A program leads its own process group, so that what it started ends with it.
 */
import { type ChildProcess, spawn } from 'node:child_process';

export interface CommandOptions {
  readonly timeoutSeconds: number;
  readonly env?: Readonly<Record<string, string>>;
  readonly directory?: string;
}

export interface CommandResult {
  /** 0 is success; a program that was stopped has none. */
  readonly code: number | undefined;
  /** What it printed, on both streams in the order of arrival. */
  readonly output: string;
  readonly seconds: number;
}

const running = new Set<ChildProcess>();
let stopping = false;

export async function runCommand(program: string, args: readonly string[], options: CommandOptions): Promise<CommandResult> {
  const started = performance.now();
  const { timeoutSeconds, env, directory } = options;
  return new Promise((done, fail) => {
    if (stopping) return;
    const child = spawn(program, args, {
      cwd: directory,
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    });
    running.add(child);
    let output = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8');
      stream.on('data', (text: string) => (output += text));
    }
    const timer = setTimeout(() => {
      output += `\nstopped after ${timeoutSeconds} s`;
      killGroup(child);
    }, timeoutSeconds * 1000);
    const finish = (): void => {
      clearTimeout(timer);
      running.delete(child);
    };
    child.on('error', (error) => {
      finish();
      fail(error);
    });
    child.on('close', (code) => {
      finish();
      if (!stopping) done({ code: code ?? undefined, output, seconds: (performance.now() - started) / 1000 });
    });
  });
}

/** What a program printed. @throws when it fails */
export async function commandOutput(program: string, args: readonly string[], options: CommandOptions): Promise<string> {
  const { code, output } = await runCommand(program, args, options);
  if (code !== 0) throw new Error(`${program} ${args.join(' ')} failed (${code ?? 'stopped'}):\n${output.trim()}`);
  return output;
}

/** Whether a program exists on this machine. */
export async function isInstalled(program: string, versionArgument = '--version'): Promise<boolean> {
  try {
    const { code } = await runCommand(program, [versionArgument], { timeoutSeconds: 30 });
    return code === 0;
  } catch {
    return false;
  }
}

/** Ends what runs and starts nothing more: who waits for a program waits on, until this process ends. */
export function stopCommands(): void {
  stopping = true;
  for (const child of running) killGroup(child);
}

function killGroup({ pid }: ChildProcess): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // It ended by itself.
  }
}
