/** Runs `npm start` as a process of its own, which tests can kill. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, readdir, readFile, readlink, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { freePorts } from '../../../src/local/simulators.ts';
import { requireNoLoggedSecrets } from './logged-secrets.ts';

const START = fileURLToPath(new URL('../../../src/local/start.ts', import.meta.url));
const START_MILLISECONDS = 60_000;

/** Running servers. Each is a process group of its own, which would outlive this process. */
const running = new Set<number>();
process.on('exit', () => {
  for (const group of running) signal(-group, 'SIGKILL');
});

export interface Server {
  /** Central's URL. */
  readonly url: string;
  readonly port: number;
  readonly nodes: readonly { readonly name: string; readonly url: string; readonly port: number }[];
  readonly pid: number;
  /** Returns everything that it has printed. */
  output(): string;
  /**
   * Kills the whole process group with SIGKILL. Killing only node would leave workerd on the port.
   * @throws like `interrupt`, if it has left a secret in its log or on its screen
   */
  kill(): Promise<void>;
  /** Sends SIGINT, like Ctrl-C, and returns the exit status. */
  interrupt(): Promise<number | null>;
}

export async function temporaryFolder(): Promise<string> {
  return mkdtemp(join(tmpdir(), 'berth-'));
}

export async function removeFolder(folder: string): Promise<void> {
  await rm(folder, { recursive: true, force: true });
}

/** Starts a server and waits until it is ready. @param command what Node runs: by default what `npm start` runs */
export async function startServer(
  stateDir: string,
  port?: number,
  command: readonly string[] = [START],
): Promise<Server> {
  const at = port ?? (await freePorts())[0] ?? 0;
  const child = spawn(process.execPath, command, {
    env: { ...process.env, PORT: String(at), STATE_DIR: stateDir },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (data: Buffer) => (output += data.toString()));
  const exited = exitOf(child);
  const pid = child.pid ?? 0;
  if (child.pid !== undefined) running.add(child.pid);
  const server: Server = {
    url: `http://127.0.0.1:${at}`,
    port: at,
    nodes: ['node1', 'node2'].map((name, i) => ({ name, url: `http://127.0.0.1:${at + 1 + i}`, port: at + 1 + i })),
    pid,
    output: () => output,
    kill: async () => {
      signal(-pid, 'SIGKILL');
      await exited;
      await until(async () => (await processesOf(pid)).length === 0);
      running.delete(pid);
      await requireNoLoggedSecrets(stateDir, output);
    },
    interrupt: async () => {
      signal(-pid, 'SIGINT');
      const status = await exited;
      await requireNoLoggedSecrets(stateDir, output);
      return status;
    },
  };
  try {
    await until(() => {
      if (child.exitCode !== null) throw new Error(`the server exited: ${output}`);
      return output.includes('Ctrl-C stops it.');
    });
  } catch (error) {
    await server.kill();
    throw error;
  }
  return server;
}

/** Returns the processes of a group that still run. */
export async function processesOf(group: number): Promise<number[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number);
  const groups = await Promise.all(
    pids.map(async (pid) => {
      const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
      const [state, , processGroup] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      return { pid, running: state !== 'Z', group: Number(processGroup) };
    }),
  );
  return groups.filter((process) => process.group === group && process.running).map(({ pid }) => pid);
}

/** Returns the addresses that processes of a group listen on, in the hexadecimal form of /proc. */
export async function listeningAddresses(group: number): Promise<string[]> {
  const inodes = new Set<string>();
  for (const pid of await processesOf(group)) {
    for (const fd of await readdir(`/proc/${pid}/fd`).catch(() => [])) {
      const target = await readlink(`/proc/${pid}/fd/${fd}`).catch(() => '');
      const inode = /^socket:\[(\d+)\]$/.exec(target)?.[1];
      if (inode !== undefined) inodes.add(inode);
    }
  }
  const tables = await Promise.all(
    ['tcp', 'tcp6'].map((name) => readFile(`/proc/net/${name}`, 'utf8').catch(() => '')),
  );
  return tables
    .flatMap((table) => table.split('\n').slice(1))
    .map((line) => line.trim().split(/\s+/))
    .filter(([, , , state, , , , , , inode]) => state === '0A' && inode !== undefined && inodes.has(inode))
    .map(([, local = '']) => local.split(':')[0] ?? '');
}

/** Waits for a condition. @throws after a minute, or the time that is given */
export async function until(
  condition: () => boolean | Promise<boolean>,
  milliseconds = START_MILLISECONDS,
): Promise<void> {
  const end = Date.now() + milliseconds;
  while (!(await condition())) {
    if (Date.now() > end) throw new Error(`the condition was not met within ${milliseconds / 1000} seconds`);
    await new Promise((done) => setTimeout(done, 20));
  }
}

function exitOf(child: ChildProcess): Promise<number | null> {
  return new Promise((done) => child.on('exit', (code) => done(code)));
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}
