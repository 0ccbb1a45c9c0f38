import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type CommandResult, runCommand } from '../command.ts';
import { buildGoProgram } from '../go-program.ts';
import type { TemporaryRegistry } from '../temporary-registry.ts';
import { type Client, TIMEOUT_SECONDS, type User } from './client.ts';

const VERSION = 'v0.11.7';

export interface Regctl extends Client {
  /** Returns regctl with a separate configuration for the registry at `host`; `options` are those of `registry set`. */
  readonly at: (host: string, name: string, ...options: readonly string[]) => Client;
}

/** @throws when regctl cannot be built */
export async function regctl({ host, directory }: TemporaryRegistry): Promise<Regctl> {
  const program = await buildGoProgram('github.com/regclient/regclient/cmd/regctl', VERSION);
  const home = join(directory, 'regctl');
  await mkdir(home, { recursive: true });
  const at = (registry: string, name: string, ...options: readonly string[]): Client => {
    const run = (user: User, ...args: readonly string[]): Promise<CommandResult> => {
      const env = { HOME: home, DOCKER_CONFIG: home, REGCTL_CONFIG: join(home, `${name}-${user}.json`) };
      return runCommand(program, args, { timeoutSeconds: TIMEOUT_SECONDS, env, directory: home });
    };
    /** Turns TLS off. Otherwise regctl would use it for users who have not logged in. */
    const plain = (user: User): Promise<CommandResult> =>
      run(user, 'registry', 'set', '--tls', 'disabled', '--skip-check', ...options, registry);
    const runPlain = async (user: User, ...args: readonly string[]): Promise<CommandResult> => {
      const set = await plain(user);
      return set.code === 0 ? run(user, ...args) : set;
    };
    return {
      name,
      version: VERSION,
      login: (user, password) => runPlain(user, 'registry', 'login', '-u', user, '-p', password, registry),
      async push(user, image, reference) {
        const result = await runPlain(
          user,
          'image',
          'copy',
          `ocidir://${image.layout}:${image.name}`,
          `${registry}/${reference}`,
        );
        return { result, layout: image.layout };
      },
      pull: (user, image, reference, layout) =>
        runPlain(user, 'image', 'copy', `${registry}/${reference}`, `ocidir://${layout}:${image.name}`),
      async pullPlatform(user, reference, os, architecture) {
        const one = ['--platform', `${os}/${architecture}`, `${registry}/${reference}`];
        const pulled = await runPlain(user, 'image', 'copy', ...one, `ocidir://${join(home, 'platform')}:v1`);
        return pulled.code === 0 ? run(user, 'manifest', 'get', '--format', '{{ .GetConfig }}', ...one) : pulled;
      },
      copy: (user, _image, from, to) => runPlain(user, 'image', 'copy', `${registry}/${from}`, `${registry}/${to}`),
      listTags: (user, repository) => runPlain(user, 'tag', 'ls', `${registry}/${repository}`),
      remove: (user, reference) =>
        runPlain(user, 'manifest', 'delete', '--force-tag-dereference', `${registry}/${reference}`),
    };
  };
  return { ...at(host, 'regctl'), at };
}
