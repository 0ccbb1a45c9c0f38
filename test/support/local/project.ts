/** A copy of the project whose commands a test can run and whose wrangler.toml they can change. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cp, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ROOT } from './operator.ts';
import { removeFolder, temporaryFolder } from './server.ts';

export interface Project {
  readonly toml: string;
  /** Runs a command of the project. @param input goes to its stdin @returns its status, and all that it printed */
  run(command: readonly string[], env?: NodeJS.ProcessEnv, input?: string): Promise<{ status: number; output: string }>;
  read(): Promise<string>;
  write(toml: string): Promise<void>;
  remove(): Promise<void>;
}

export async function copyProject(): Promise<Project> {
  const folder = await temporaryFolder();
  for (const name of ['package.json', 'tsconfig.json', 'wrangler.toml', 'src'])
    await cp(join(ROOT, name), join(folder, name), { recursive: true });
  await symlink(join(ROOT, 'node_modules'), join(folder, 'node_modules'));
  const toml = join(folder, 'wrangler.toml');
  return {
    toml,
    run: async ([program = '', ...args], env = {}, input = '') => {
      const child = spawn(program, args, { cwd: folder, env: { ...process.env, ...env }, stdio: 'pipe' });
      let output = '';
      for (const stream of [child.stdout, child.stderr])
        stream.on('data', (data: Buffer) => (output += data.toString()));
      child.stdin.end(input);
      const [status] = (await once(child, 'close')) as [number | null];
      return { status: status ?? 1, output };
    },
    read: async () => readFile(toml, 'utf8'),
    write: async (text) => writeFile(toml, text),
    remove: async () => removeFolder(folder),
  };
}
