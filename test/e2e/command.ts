/**
 * Runs other programs, each with a time limit. A program leads its own process group, so that its children end with it.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { setTimeout } from 'node:timers/promises';

export interface CommandOptions {
  readonly timeoutSeconds: number;
  readonly env?: Readonly<Record<string, string>>;
  readonly directory?: string;
}

export interface CommandResult {
  /** Exit status; undefined for a program that was stopped. */
  readonly code: number | undefined;
  /** Its output, from both streams in the order of arrival. */
  readonly output: string;
  readonly seconds: number;
}

const running = new Set<ChildProcess>();
let stopping = false;

export async function runCommand(
  program: string,
  args: readonly string[],
  options: CommandOptions,
): Promise<CommandResult> {
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
    const timer = globalThis.setTimeout(() => {
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

/** Returns the output of a program. @throws when it fails */
export async function commandOutput(
  program: string,
  args: readonly string[],
  options: CommandOptions,
): Promise<string> {
  const { code, output } = await runCommand(program, args, options);
  if (code !== 0) throw new Error(`${program} ${args.join(' ')} failed (${code ?? 'stopped'}):\n${output.trim()}`);
  return output;
}

/** Returns the version that an installed program prints; undefined if it is not installed. */
export async function installedVersion(program: string, versionArgument = '--version'): Promise<string | undefined> {
  try {
    const { code, output } = await runCommand(program, [versionArgument], { timeoutSeconds: 30 });
    return code === 0 ? (/\d+\.\d[\w.+~-]*/.exec(output)?.[0] ?? 'of an unknown version') : undefined;
  } catch {
    return undefined;
  }
}

export interface DaemonOptions {
  readonly env?: Readonly<Record<string, string>>;
  /** Called repeatedly until the daemon is ready. */
  readonly isReady: () => Promise<boolean>;
}

const START_SECONDS = 60;
const STOP_SECONDS = 20;

/**
 * Runs a daemon during `use`, and stops it afterwards.
 * @throws the daemon's output, when it does not become ready
 */
export async function withDaemon<T>(
  program: string,
  args: readonly string[],
  { env, isReady }: DaemonOptions,
  use: () => Promise<T>,
): Promise<T> {
  const child = spawn(program, args, {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  });
  running.add(child);
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8');
    stream.on('data', (text: string) => (output = (output + text).slice(-4000)));
  }
  child.on('error', (error) => (output += error.message));
  const closed = new Promise<void>((done) => child.on('close', () => done()));
  try {
    const deadline = Date.now() + START_SECONDS * 1000;
    while (!(await isReady())) {
      if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null || Date.now() > deadline)
        throw new Error(`${program} is not ready:\n${output.trim()}`);
      await setTimeout(100);
    }
    return await use();
  } finally {
    killGroup(child, 'SIGTERM');
    await Promise.race([closed, setTimeout(STOP_SECONDS * 1000, undefined, { ref: false })]);
    killGroup(child);
    running.delete(child);
  }
}

/** Stops all running programs and starts no more. Callers keep waiting until this process ends. */
export function stopCommands(): void {
  stopping = true;
  for (const child of running) killGroup(child);
}

function killGroup({ pid }: ChildProcess, signal: 'SIGTERM' | 'SIGKILL' = 'SIGKILL'): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, signal);
  } catch {
    // It has already ended.
  }
}
