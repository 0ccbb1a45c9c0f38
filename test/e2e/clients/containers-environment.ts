import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TemporaryRegistry } from '../temporary-registry.ts';
import type { User } from './client.ts';

/**
 * The settings that skopeo, buildah and podman share: where they keep their state, and whom they trust. Everything is
 * below `home`, which each client has for itself: a client that remembers another's blob would mount it instead of
 * uploading.
 */
export async function containersEnvironment(
  registry: TemporaryRegistry,
  home: string,
): Promise<(user: User) => Record<string, string>> {
  const configuration = join(home, '.config/containers');
  const runtime = join(home, 'runtime');
  await mkdir(configuration, { recursive: true });
  await mkdir(runtime, { recursive: true, mode: 0o700 });
  const registries = join(configuration, 'registries.conf');
  const at = (location: string): string => `location = "${location}"\ninsecure = true\n`;
  const mirror = registry.mirror === undefined ? '' : `[[registry.mirror]]\n${at(registry.mirror)}`;
  await writeFile(registries, `[[registry]]\n${at(registry.host)}${mirror}`);
  await writeFile(join(configuration, 'policy.json'), '{"default":[{"type":"insecureAcceptAnything"}]}');
  await writeFile(join(home, 'nobody.json'), '{}');
  const engine = join(configuration, 'containers.conf');
  await writeFile(engine, '[engine]\nlock_type = "file"\nevents_logger = "none"\n');
  const shared = {
    HOME: home,
    TMPDIR: home,
    XDG_CONFIG_HOME: join(home, '.config'),
    XDG_DATA_HOME: join(home, 'data'),
    XDG_CACHE_HOME: join(home, 'cache'),
    XDG_RUNTIME_DIR: runtime,
    CONTAINERS_REGISTRIES_CONF: registries,
    CONTAINERS_CONF: engine,
    // For root, they would remember blobs below /var/lib, for the whole machine.
    _CONTAINERS_ROOTLESS_UID: String(process.getuid?.() || 1000),
  };
  return (user) => ({ ...shared, REGISTRY_AUTH_FILE: join(home, `${user}.json`) });
}
