import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type CommandResult, runCommand } from '../command.ts';
import { buildGoProgram } from '../go-program.ts';
import type { TemporaryRegistry } from '../temporary-registry.ts';
import { type Client, type Image, type Pushed, TIMEOUT_SECONDS, type User } from './client.ts';

const VERSION = 'v1.3.6';

export interface Oras extends Client {
  /** Runs oras with these arguments, as this user, in the client's own folder. */
  readonly run: (user: User, ...args: readonly string[]) => Promise<CommandResult>;
  readonly directory: string;
}

/** @throws when oras cannot be built */
export async function oras({ host, directory }: TemporaryRegistry): Promise<Oras> {
  const program = await buildGoProgram('oras.land/oras/cmd/oras', VERSION);
  const home = join(directory, 'oras');
  await mkdir(home, { recursive: true });
  const settings = (user: User): string => join(home, `${user}.json`);
  const run = (user: User, ...args: readonly string[]): Promise<CommandResult> => {
    const environment = { HOME: home, DOCKER_CONFIG: join(home, user), ORAS_CACHE: '' };
    return runCommand(program, args, { timeoutSeconds: TIMEOUT_SECONDS, env: environment, directory: home });
  };
  const from = (user: User): string[] => ['--from-plain-http', '--from-registry-config', settings(user)];
  const to = (user: User): string[] => ['--to-plain-http', '--to-registry-config', settings(user)];
  const plain = (user: User): string[] => ['--plain-http', '--registry-config', settings(user)];

  return {
    name: 'oras',
    version: VERSION,
    directory: home,
    run: (user, ...args) => run(user, ...args, ...plain(user)),
    login: (user, password) => run(user, 'login', ...plain(user), '-u', user, '-p', password, host),
    async push(user: User, image: Image, reference: string): Promise<Pushed> {
      const source = `${image.layout}:${image.name}`;
      const result = await run(
        user,
        'cp',
        '--no-tty',
        '--from-oci-layout',
        ...to(user),
        source,
        `${host}/${reference}`,
      );
      return { result, layout: image.layout };
    },
    pull: (user, image, reference, layout) =>
      run(user, 'cp', '--no-tty', ...from(user), '--to-oci-layout', `${host}/${reference}`, `${layout}:${image.name}`),
    async pullPlatform(user, reference, os, architecture) {
      const one = ['--platform', `${os}/${architecture}`, `${host}/${reference}`];
      const pulled = await run(
        user,
        'cp',
        '--no-tty',
        ...from(user),
        '--to-oci-layout',
        ...one,
        join(home, 'platform:v1'),
      );
      return pulled.code === 0 ? run(user, 'manifest', 'fetch-config', '--descriptor', ...plain(user), ...one) : pulled;
    },
    copy: (user, _image, source, target) =>
      run(user, 'cp', '--no-tty', ...from(user), ...to(user), `${host}/${source}`, `${host}/${target}`),
    listTags: (user, repository) => run(user, 'repo', 'tags', ...plain(user), `${host}/${repository}`),
    remove: (user, reference) => run(user, 'manifest', 'delete', '--force', ...plain(user), `${host}/${reference}`),
  };
}
