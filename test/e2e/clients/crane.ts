import { join } from 'node:path';
import { type CommandResult, runCommand } from '../command.ts';
import { buildGoProgram } from '../go-program.ts';
import type { TemporaryRegistry } from '../temporary-registry.ts';
import { type Client, type Image, type Pushed, TIMEOUT_SECONDS, type User } from './client.ts';

const VERSION = 'v0.22.1';

/** Builds crane, and returns its path. */
export function craneProgram(): Promise<string> {
  return buildGoProgram('github.com/google/go-containerregistry/cmd/crane', VERSION);
}

/** @throws when crane cannot be built */
export async function crane(registry: TemporaryRegistry): Promise<Client> {
  const { host, directory } = registry;
  const program = await craneProgram();
  const run = (user: User, args: readonly string[]): Promise<CommandResult> => {
    const home = join(directory, 'crane', user);
    return runCommand(program, args, { timeoutSeconds: TIMEOUT_SECONDS, env: { HOME: home, DOCKER_CONFIG: home } });
  };

  return {
    name: 'crane',
    version: VERSION,
    async login(user, password) {
      const noted = await run(user, ['auth', 'login', '-u', user, '-p', password, host]);
      // The login only stores the password: the first request shows whether it is right.
      return noted.code === 0 ? run(user, ['catalog', host]) : noted;
    },
    async push(user: User, image: Image, reference: string): Promise<Pushed> {
      return { result: await run(user, ['push', image.layout, `${host}/${reference}`]), layout: image.layout };
    },
    pull: (user, _image, reference, layout) => run(user, ['pull', '--format=oci', `${host}/${reference}`, layout]),
    copy: (user, _image, from, to) => run(user, ['copy', `${host}/${from}`, `${host}/${to}`]),
    listTags: (user, repository) => run(user, ['ls', `${host}/${repository}`]),
    async remove(user, reference) {
      const resolved = await run(user, ['digest', `${host}/${reference}`]);
      const [digest] = /sha256:[0-9a-f]{64}/.exec(resolved.output) ?? [];
      if (resolved.code !== 0 || digest === undefined) return resolved;
      const repository = reference.slice(0, reference.lastIndexOf(':'));
      return run(user, ['delete', `${host}/${repository}@${digest}`]);
    },
  };
}
