/**
 * A docker engine of its own, with its state below the run's folder. It keeps layers unpacked and compresses them again
 * for each push, so images are compared by their ids. An id covers the digests of the uncompressed layers, which docker
 * checks as it unpacks what it pulls.
 */
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type CommandResult, commandOutput, installedVersion, runCommand, withDaemon } from '../command.ts';
import type { TemporaryRegistry } from '../temporary-registry.ts';
import { type Image, TIMEOUT_SECONDS } from './client.ts';

export interface Docker {
  readonly version: string;
  readonly login: (user: string, password: string) => Promise<CommandResult>;
  /** Loads an image and pushes it. */
  readonly push: (image: Image, reference: string) => Promise<CommandResult>;
  /**
   * Pulls an image.
   * @param expected its id; by default, the id of the image that was pushed to this reference
   * @throws if the id differs
   */
  readonly pull: (reference: string, expected?: string) => Promise<CommandResult>;
}

/** Returns whether an engine can be run here. */
export async function hasDocker(): Promise<boolean> {
  const programs = await Promise.all(['docker', 'dockerd', 'skopeo'].map((name) => installedVersion(name)));
  return process.getuid?.() === 0 && !programs.includes(undefined);
}

export async function withDocker(
  { host, mirror, directory }: TemporaryRegistry,
  use: (docker: Docker) => Promise<void>,
): Promise<void> {
  const home = join(directory, 'docker');
  await mkdir(home, { recursive: true });
  const socket = `unix://${join(home, 'docker.sock')}`;
  const docker = (...args: readonly string[]): Promise<CommandResult> =>
    runCommand('docker', ['--host', socket, '--config', home, ...args], { timeoutSeconds: TIMEOUT_SECONDS });
  const folders = ['--data-root', join(home, 'data'), '--exec-root', join(home, 'exec')];
  const options = ['--pidfile', join(home, 'pid'), '--host', socket, '--storage-driver', 'vfs'];
  const withoutNetwork = ['--iptables=false', '--bridge=none'];
  const mirrors = mirror === undefined ? [] : ['--registry-mirror', `http://${mirror}`];
  const isReady = async (): Promise<boolean> => (await docker('version')).code === 0;
  const version = (await installedVersion('dockerd')) ?? '';
  const idOf = async (name: string): Promise<string> => {
    const { output } = await docker('image', 'inspect', '--format', '{{.Id}}', name);
    return output.trim();
  };
  const pushed = new Map<string, string>();
  await withDaemon('dockerd', [...folders, ...options, ...withoutNetwork, ...mirrors], { isReady }, () =>
    use({
      version,
      login: (user, password) => docker('login', '--username', user, '--password', password, host),
      async push(image, reference) {
        const name = `${host}/${reference}`;
        const archive = join(home, 'image.tar');
        const skopeo = ['copy', '--quiet', `oci:${image.layout}:${image.name}`, `docker-archive:${archive}:${name}`];
        await commandOutput('skopeo', skopeo, { timeoutSeconds: TIMEOUT_SECONDS, env: { TMPDIR: home } });
        const loaded = await docker('load', '--quiet', '--input', archive);
        await rm(archive);
        if (loaded.code !== 0) return loaded;
        pushed.set(reference, await idOf(name));
        return docker('push', '--quiet', name);
      },
      async pull(reference, expected = pushed.get(reference)) {
        const name = `${host}/${reference}`;
        await docker('image', 'rm', '--force', name);
        const result = await docker('pull', '--quiet', name);
        if (result.code !== 0) return result;
        const id = await idOf(name);
        if (id !== expected) throw new Error(`pulled ${id}, not ${expected}`);
        return result;
      },
    }),
  );
}
