/**
 * buildah and podman keep images in their own storage, with unpacked layers. So an index is sent as a list that refers
 * to the layouts of its images; a single image goes through the storage, as it does for most users. They compress
 * uncompressed layers while they send them, so the size is unknown when the upload begins.
 */
import { rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { type CommandResult, installedVersion, runCommand } from '../command.ts';
import type { TemporaryRegistry } from '../temporary-registry.ts';
import { type Client, type Image, TIMEOUT_SECONDS, type User } from './client.ts';
import { containersEnvironment } from './containers-environment.ts';

type Run = (user: User, ...args: readonly string[]) => Promise<CommandResult>;

export async function containersStorageClient(
  name: 'buildah' | 'podman',
  registry: TemporaryRegistry,
): Promise<Client> {
  const { host } = registry;
  const home = join(registry.directory, name);
  const environment = await containersEnvironment(registry, home);
  const remote = (reference: string): string => `docker://${host}/${reference}`;

  const inStorage = (storage: string, directory = home): Run => {
    const options = [
      '--root',
      join(home, storage, 'root'),
      '--runroot',
      join(home, storage, 'run'),
      '--storage-driver',
      'vfs',
    ];
    if (name === 'podman') options.push('--tmpdir', join(home, storage, 'tmp'));
    return (user, ...args) =>
      runCommand(name, [...options, ...args], { timeoutSeconds: TIMEOUT_SECONDS, env: environment(user), directory });
  };
  /** Runs in a new storage, and deletes it afterwards. */
  const inNewStorage = async (work: (run: Run) => Promise<CommandResult>): Promise<CommandResult> => {
    try {
      return await work(inStorage('new'));
    } finally {
      await rm(join(home, 'new'), { recursive: true, force: true });
    }
  };
  // These programs make a name of the layout's path, and not every absolute path is a valid name.
  const load = async (user: User, image: Image): Promise<Run> => {
    const run = inStorage('sent', dirname(image.layout));
    const source = `oci:${image.name}:${image.name}`;
    const loaded =
      image.kind === 'index'
        ? await inTurn(
            () => run(user, 'manifest', 'create', image.name),
            () => run(user, 'manifest', 'add', '--all', image.name, source),
          )
        : await run(user, 'pull', '--quiet', source);
    if (loaded.code !== 0) throw new Error(loaded.output);
    return run;
  };
  const loaded = new Map<string, Promise<Run>>();
  const sender = (user: User, image: Image): Promise<Run> => {
    const run = loaded.get(image.name) ?? load(user, image);
    loaded.set(image.name, run);
    return run;
  };
  const send = (run: Run, user: User, image: Image, target: string): Promise<CommandResult> =>
    image.kind === 'index'
      ? run(user, 'manifest', 'push', '--all', image.name, target)
      : run(user, 'push', '--quiet', image.name, target);

  const client: Client = {
    name,
    version: (await installedVersion(name)) ?? '',
    login: (user, password) => inStorage('sent')(user, 'login', '--tls-verify=false', '-u', user, '-p', password, host),
    async push(user, image, reference) {
      const run = await sender(user, image);
      const result = await send(run, user, image, remote(reference));
      if (image.gzip || result.code !== 0) return { result, layout: image.layout };
      const layout = join(home, `${image.name}-as-sent`);
      const { code, output } = await send(run, user, image, `oci:${layout}:${image.name}`);
      if (code !== 0) throw new Error(output);
      return { result, layout };
    },
    pull: (user, image, reference, layout) =>
      inNewStorage((run) =>
        image.kind === 'index'
          ? inTurn(
              () => run(user, 'manifest', 'create', image.name),
              () => run(user, 'manifest', 'add', '--all', image.name, remote(reference)),
              () => run(user, 'manifest', 'push', '--all', image.name, `oci:${layout}:${image.name}`),
            )
          : inTurn(
              () => run(user, 'pull', '--quiet', remote(reference)),
              () => run(user, 'push', '--quiet', `${host}/${reference}`, `oci:${layout}:${image.name}`),
            ),
      ),
    pullPlatform: (user, reference, os, architecture) =>
      inNewStorage((run) => run(user, 'pull', '--quiet', '--os', os, '--arch', architecture, remote(reference))),
    copy: async (user, image, _from, to) => send(await sender(user, image), user, image, remote(to)),
  };
  if (name === 'buildah') return client;
  return {
    ...client,
    listTags: (user, repository) => inStorage('sent')(user, 'search', '--list-tags', `${host}/${repository}`),
  };
}

/** Runs each step if the one before it succeeded, and returns the last result. */
async function inTurn(
  first: () => Promise<CommandResult>,
  ...others: readonly (() => Promise<CommandResult>)[]
): Promise<CommandResult> {
  let result = await first();
  for (const step of others) if (result.code === 0) result = await step();
  return result;
}
