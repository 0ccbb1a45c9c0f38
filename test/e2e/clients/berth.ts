/** `berth`, the command line of this repository. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { berthProgram } from '../berth-program.ts';
import { type CommandResult, commandOutput, runCommand } from '../command.ts';
import type { TemporaryRegistry } from '../temporary-registry.ts';
import { type Client, TIMEOUT_SECONDS, type User } from './client.ts';

export interface Berth extends Client {
  /** Returns the command and the environment of a push. */
  readonly pushing: (user: User, source: string, reference: string) => readonly [string[], Record<string, string>];
}

export async function berth({ host, directory }: TemporaryRegistry): Promise<Berth> {
  const program = await berthProgram();
  const home = join(directory, 'berth');
  await mkdir(home, { recursive: true });
  const environment = (user: User) => ({ HOME: home, DOCKER_CONFIG: join(home, user), XDG_STATE_HOME: home });
  const run = (user: User, ...args: readonly string[]): Promise<CommandResult> =>
    runCommand(process.execPath, [program, ...args], { timeoutSeconds: TIMEOUT_SECONDS, env: environment(user) });
  const pushing: Berth['pushing'] = (user, source, reference) => [
    [program, 'push', '--quiet', source, `${host}/${reference}`],
    environment(user),
  ];

  return {
    name: 'berth',
    version: (await commandOutput(process.execPath, [program, '--version'], { timeoutSeconds: 30 })).trim(),
    pushing,
    login: (user, password) =>
      runCommand('sh', ['-c', 'printf %s "$PASSWORD" | "$@"', 'sh', process.execPath, program, ...logIn(user, host)], {
        timeoutSeconds: TIMEOUT_SECONDS,
        env: { ...environment(user), PASSWORD: password },
      }),
    async push(user, image, reference) {
      const result = await run(user, 'push', '--quiet', `oci:${image.layout}:${image.name}`, `${host}/${reference}`);
      return { result, layout: image.layout };
    },
    pull: (user, image, reference, layout) =>
      run(user, 'pull', '--quiet', `${host}/${reference}`, `oci:${layout}:${image.name}`),
    copy: (user, _image, from, to) => run(user, 'copy', '--quiet', `${host}/${from}`, `${host}/${to}`),
  };
}

function logIn(user: User, host: string): string[] {
  return ['login', '--username', user, '--password-stdin', host];
}
