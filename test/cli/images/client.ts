/** The program, run as a user runs it, against a registry in another process. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeAll } from 'vitest';
import type { serverForFile } from '../../support/local/server-for-file.ts';
import { berth, type Result } from '../support/berth.ts';
import { Layout } from './layout.ts';
import { Wire } from './wire.ts';

export interface Client {
  /** Holds all that the tests of the file write. */
  folder: string;
  env: Record<string, string>;
  /** Central, as `host:port`. */
  host: string;
  /** Runs the program. @throws if it fails */
  readonly run: (args: readonly string[], stdin?: string) => Promise<Result>;
  readonly login: (at: string) => Promise<Result>;
  readonly layoutAt: (name: string) => Layout;
  /** Opens a connection to central, logs in over it, and returns it with its address. */
  readonly wire: () => Promise<{ readonly wire: Wire; readonly at: string }>;
}

/** Logs alice in before all tests of a file. */
export function clientOf(server: ReturnType<typeof serverForFile>): Client {
  const wires: Wire[] = [];
  const client: Client = {
    folder: '',
    env: {},
    host: '',
    run: async (args, stdin = '') => {
      const result = await berth(args, { env: client.env, stdin });
      if (result.code !== 0) throw new Error(`berth ${args.join(' ')}: ${result.stderr}`);
      return result;
    },
    login: (at) => client.run(['login', '-u', 'alice', '--password-stdin', at], 'alice-dev\n'),
    layoutAt: (name) => new Layout(join(client.folder, name)),
    wire: async () => {
      const wire = new Wire(server.current.port);
      wires.push(wire);
      const at = await wire.open();
      await client.login(at);
      return { wire, at };
    },
  };
  beforeAll(async () => {
    client.folder = join(server.folder, 'client');
    await mkdir(client.folder);
    const { folder } = client;
    client.env = { DOCKER_CONFIG: join(folder, 'docker'), XDG_STATE_HOME: join(folder, 'state'), HOME: folder };
    client.host = `127.0.0.1:${server.current.port}`;
    await client.login(client.host);
  });
  afterEach(async () => void (await Promise.all(wires.splice(0).map((wire) => wire.close()))));
  return client;
}

/** Returns the digest of the image that the program has named. */
export function digestIn({ stdout }: Result): string {
  return stdout.trim().split('@')[1] ?? '';
}
