/**
 * containerd with its own client. The daemon keeps its content, sockets and snapshots below the run's folder. Its
 * namespaces do not share content, so an image that is pulled into a new one comes from the registry. Images for other
 * machines, such as unikernels, are only fetched; `pull` also unpacks one platform.
 */
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type CommandResult, commandOutput, installedVersion, runCommand, withDaemon } from '../command.ts';
import { passwordOf } from '../expectations.ts';
import type { TemporaryRegistry } from '../temporary-registry.ts';
import { type Client, type Image, TIMEOUT_SECONDS, type User } from './client.ts';

const SENT = 'sent';

export async function withCtr(
  { host, mirror, directory }: TemporaryRegistry,
  use: (client: Client) => Promise<void>,
): Promise<void> {
  const home = join(directory, 'containerd');
  const socket = join(home, 'containerd.sock');
  await mkdir(home, { recursive: true });
  const configuration = join(home, 'config.toml');
  await writeFile(
    configuration,
    `version = 2
root = "${home}/root"
state = "${home}/state"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt"]
[grpc]
address = "${socket}"
[plugins."io.containerd.metadata.v1.bolt"]
content_sharing_policy = "isolated"
`,
  );
  const ctr = (namespace: string, ...args: readonly string[]): Promise<CommandResult> =>
    runCommand('ctr', ['-a', socket, '-n', namespace, ...args], { timeoutSeconds: TIMEOUT_SECONDS, directory: home });
  const isReady = async (): Promise<boolean> => (await ctr(SENT, 'version')).code === 0;
  const version = (await installedVersion('containerd')) ?? '';
  const options = mirror === undefined ? ['--plain-http'] : ['--hosts-dir', await hostsFolder(home, host, mirror)];
  await withDaemon('containerd', ['-c', configuration], { isReady }, () =>
    use(client(version, host, home, options, ctr)),
  );
}

/** Returns a folder that tells containerd to ask a mirror instead of a host. */
async function hostsFolder(home: string, host: string, mirror: string): Promise<string> {
  const hosts = join(home, 'certs.d');
  const [at = '', organization] = mirror.split('/');
  const address = organization === undefined ? [at] : [`${at}/v2/${organization}`, 'override_path = true'];
  const [url, ...options] = address;
  const lines = [`[host."http://${url}"]`, 'capabilities = ["pull", "resolve"]', ...options];
  await mkdir(join(hosts, host), { recursive: true });
  await writeFile(join(hosts, host, 'hosts.toml'), `server = "https://${host}"\n${lines.join('\n')}\n`);
  return hosts;
}

type Ctr = (namespace: string, ...args: readonly string[]) => Promise<CommandResult>;

function client(version: string, host: string, home: string, options: readonly string[], ctr: Ctr): Client {
  const passwords = new Map<User, string>();
  const access = (user: User): string[] => {
    const password = passwords.get(user);
    return password === undefined ? [...options] : [...options, '--user', `${user}:${password}`];
  };
  /** Names of images in the daemon, once they are imported. */
  const loaded = new Map<string, Promise<string>>();
  const load = async ({ name, layout }: Image): Promise<string> => {
    const archive = join(home, `${name}.tar`);
    await commandOutput('tar', ['-C', layout, '-cf', archive, '.'], { timeoutSeconds: TIMEOUT_SECONDS });
    const { code, output } = await ctr(
      SENT,
      'images',
      'import',
      '--all-platforms',
      '--no-unpack',
      '--base-name',
      name,
      archive,
    );
    await rm(archive);
    if (code !== 0) throw new Error(output);
    return `${name}:${name}`;
  };
  const nameOf = (image: Image): Promise<string> => {
    const name = loaded.get(image.name) ?? load(image);
    loaded.set(image.name, name);
    return name;
  };
  let namespaces = 0;
  /** Fetches all platforms into a new namespace, continues there, and deletes everything afterwards. */
  const fetched = async (
    user: User,
    reference: string,
    use: (namespace: string, name: string) => Promise<CommandResult>,
  ): Promise<CommandResult> => {
    namespaces += 1;
    const namespace = `fetched-${namespaces}`;
    const name = `${host}/${reference}`;
    try {
      const result = await ctr(namespace, 'content', 'fetch', '--all-platforms', ...access(user), name);
      return result.code === 0 ? await use(namespace, name) : result;
    } finally {
      const { output } = await ctr(namespace, 'images', 'ls', '-q');
      await ctr(namespace, 'images', 'rm', '--sync', ...output.split('\n').filter((line) => line.startsWith(host)));
    }
  };

  return {
    name: 'ctr',
    version,
    async login(user, password) {
      // containerd has no login: a caller with rights gets "not found" for an absent name.
      passwords.set(user, password);
      const result = await ctr(SENT, 'content', 'fetch', ...access(user), `${host}/official/none:v1`);
      if (password !== passwordOf(user)) passwords.delete(user);
      return result.output.includes('not found') ? { ...result, code: 0 } : result;
    },
    async push(user, image, reference) {
      const name = await nameOf(image);
      return {
        result: await ctr(SENT, 'images', 'push', ...access(user), `${host}/${reference}`, name),
        layout: image.layout,
      };
    },
    pull: (user, _image, reference, layout) =>
      fetched(user, reference, async (namespace, name) => {
        const archive = `${layout}.tar`;
        const result = await ctr(
          namespace,
          'images',
          'export',
          '--skip-manifest-json',
          '--all-platforms',
          archive,
          name,
        );
        if (result.code !== 0) return result;
        await mkdir(layout);
        await commandOutput('tar', ['-C', layout, '-xf', archive], { timeoutSeconds: TIMEOUT_SECONDS });
        await rm(archive);
        return result;
      }),
    pullPlatform: (user, reference, os, architecture) =>
      ctr(
        'unpacked',
        'images',
        'pull',
        ...access(user),
        '--snapshotter',
        'native',
        '--platform',
        `${os}/${architecture}`,
        `${host}/${reference}`,
      ),
    // containerd mounts blobs from the repository that it fetched them from.
    copy: (user, _image, from, to) =>
      fetched(user, from, (namespace, name) =>
        ctr(namespace, 'images', 'push', ...access(user), `${host}/${to}`, name),
      ),
  };
}
