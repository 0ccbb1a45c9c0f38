import { join } from 'node:path';
import { type CommandResult, installedVersion, runCommand } from '../command.ts';
import type { TemporaryRegistry } from '../temporary-registry.ts';
import { type Client, type Image, type Pushed, TIMEOUT_SECONDS, type User } from './client.ts';
import { containersEnvironment } from './containers-environment.ts';

/** Copies all platforms, and keeps the bytes. */
const COPY = ['copy', '--quiet', '--all', '--preserve-digests'];

export async function skopeo(registry: TemporaryRegistry): Promise<Client> {
  const { host } = registry;
  const environment = await containersEnvironment(registry, join(registry.directory, 'skopeo'));
  const run = (user: User, args: readonly string[]): Promise<CommandResult> =>
    runCommand('skopeo', args, { timeoutSeconds: TIMEOUT_SECONDS, env: environment(user) });
  const remote = (reference: string): string => `docker://${host}/${reference}`;

  return {
    name: 'skopeo',
    version: (await installedVersion('skopeo')) ?? '',
    login: (user, password) => run(user, ['login', '--tls-verify=false', '-u', user, '-p', password, host]),
    async push(user: User, image: Image, reference: string): Promise<Pushed> {
      const source = `oci:${image.layout}:${image.name}`;
      const result = await run(user, [...COPY, '--dest-tls-verify=false', source, remote(reference)]);
      return { result, layout: image.layout };
    },
    pull: (user, image, reference, layout) =>
      run(user, [...COPY, '--src-tls-verify=false', remote(reference), `oci:${layout}:${image.name}`]),
    copy: (user, _image, from, to) =>
      run(user, [...COPY, '--src-tls-verify=false', '--dest-tls-verify=false', remote(from), remote(to)]),
    listTags: (user, repository) => run(user, ['list-tags', '--tls-verify=false', remote(repository)]),
    remove: (user, reference) => run(user, ['delete', '--tls-verify=false', remote(reference)]),
  };
}
