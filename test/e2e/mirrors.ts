/**
 * Pulls through mirrors, in each way that a client can be pointed at one: by the mirror's name in the reference,
 * through `registries.conf` or `hosts.toml`, or at a host of the mirror's own, which is where docker sends its
 * requests. The upstream is distribution's registry, which is stopped before the last pulls.
 */
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { HOSTS, type HostName, startMirror, storedAt } from '../support/local/mirrors.ts';
import { distribution, startRegistry } from '../support/local/registries.ts';
import { until } from '../support/local/server.ts';
import type { Client, Image } from './clients/client.ts';
import { containersStorageClient } from './clients/containers-storage.ts';
import { crane } from './clients/crane.ts';
import { withCtr } from './clients/ctr.ts';
import { hasDocker, withDocker } from './clients/docker.ts';
import { skopeo } from './clients/skopeo.ts';
import { succeeded } from './expectations.ts';
import { configOf, differences } from './images/layout.ts';
import type { Surroundings } from './surroundings.ts';
import { registryAt, type TemporaryRegistry } from './temporary-registry.ts';

/** The organization that central serves at `127.0.0.1`. */
export const AT_LOOPBACK = 'hub';
const LATE = AT_LOOPBACK;
const SOON = `${AT_LOOPBACK}-soon`;
const NOW = `${AT_LOOPBACK}-now`;
/** The ttl of each mirror, in seconds. */
const MIRRORS = { [LATE]: 900, [SOON]: 1, [NOW]: 0 };

/** The repository that docker pulls. */
const DOCKER = 'docker';

type Opener = (registry: TemporaryRegistry, use: (client: Client) => Promise<void>) => Promise<void>;

/** The registry that a client asks, and the prefix of repository names there. */
interface Asked {
  readonly registry: TemporaryRegistry;
  readonly prefix: string;
}

interface Way {
  readonly name: string;
  readonly hosts: readonly HostName[];
  readonly mirrors: readonly string[];
  readonly asks: (registry: TemporaryRegistry, mirror: string) => Asked;
  readonly open: Opener;
  /** The client that pushes to the upstream. Set only if it must compress layers as this way's client does. */
  readonly source?: 'podman';
}

const everywhere = { hosts: HOSTS, mirrors: Object.keys(MIRRORS) };
const byName: Way['asks'] = (registry, mirror) => ({ registry, prefix: `${mirror}/` });
const instead = (mirror: string, registry: TemporaryRegistry): Asked => ({
  registry: { ...registry, host: 'docker.io', mirror },
  prefix: '',
});
const asMirror: Way['asks'] = (registry, mirror) => instead(`${registry.host}/${mirror}`, registry);
const atItsHost: Way['asks'] = (registry) => instead(`127.0.0.1:${registry.port}`, registry);

const WAYS: readonly Way[] = [
  { name: 'crane', ...everywhere, asks: byName, open: async (registry, use) => use(await crane(registry)) },
  { name: 'skopeo', ...everywhere, asks: asMirror, open: async (registry, use) => use(await skopeo(registry)) },
  {
    name: 'podman',
    ...everywhere,
    asks: asMirror,
    open: async (registry, use) => use(await containersStorageClient('podman', registry)),
    source: 'podman',
  },
  { name: 'ctr', ...everywhere, asks: asMirror, open: withCtr },
  { name: 'ctr-as-docker', hosts: ['central'], mirrors: [LATE], asks: atItsHost, open: withCtr },
];

export async function checkMirrors(surroundings: Surroundings): Promise<void> {
  const { registry, images, checks } = surroundings;
  const { unikraft, 'changed-unikraft': changed } = images;
  const [central, ...nodes] = registry.hosts;
  const server = { url: central?.url ?? '', nodes };
  const folder = join(registry.directory, 'upstream');
  await mkdir(folder);
  const upstream = await startRegistry(await distribution(), folder);
  console.log('--- mirrors of distribution’s registry');
  const hasEngine = await hasDocker();
  if (!hasEngine) console.log('no docker engine runs here: docker was not tried with a mirror');
  try {
    for (const [mirror, ttl] of Object.entries(MIRRORS))
      await startMirror(server, mirror, { from: upstream.url, ttl_seconds: ttl, public: true });
    const there = { ...registry, host: new URL(upstream.url).host, directory: folder };
    const sources = { skopeo: await skopeo(there), podman: await containersStorageClient('podman', there) };
    const push = async (image: Image, name: string, source: keyof typeof sources = 'skopeo'): Promise<Image> => {
      const { result, layout } = await sources[source].push('nobody', image, `library/${name}:v1`);
      succeeded(result);
      return { ...image, layout };
    };
    const pulls = WAYS.flatMap((way) => way.hosts.map((host) => new Pull(way, host, registry)));

    for (const pull of pulls) {
      await checks.check(`mirrors: ${pull.name}`, async () => {
        const first = await push(unikraft, pull.repository, pull.way.source);
        pull.first = first;
        for (const mirror of pull.way.mirrors) await pull.expect(mirror, first);
      });
    }
    for (const pull of pulls.filter(({ way }) => way.mirrors.includes(NOW))) {
      await checks.check(
        `mirrors: ${pull.name}: a moved tag is seen after the mirror's ttl, and at once if the ttl is 0`,
        async () => {
          const second = await push(changed, pull.repository, pull.way.source);
          await pull.expect(NOW, second);
          await until(async () => (await pull.differences(SOON, second)).length === 0);
          await pull.expect(LATE, pull.first);
          pull.second = second;
        },
      );
    }
    if (hasEngine) {
      await push(images['multi-platform'], DOCKER);
      await checkDocker('docker through central', surroundings);
    }

    for (const host of HOSTS) for (const mirror of Object.keys(MIRRORS)) await storedAt(server, host, mirror);
    await upstream.stop();
    for (const pull of pulls) {
      await checks.check(`mirrors: ${pull.name}, without the upstream`, async () => {
        for (const mirror of pull.way.mirrors) await pull.expect(mirror, mirror === LATE ? pull.first : pull.second);
      });
    }
    if (hasEngine) await checkDocker('docker through central, without the upstream', surroundings);
  } finally {
    await upstream.stop();
  }
}

/** Pulls with a docker engine that has nothing yet. */
async function checkDocker(what: string, { registry, images, checks }: Surroundings): Promise<void> {
  await checks.check(`mirrors: ${what}`, async () => {
    const at = await registryAt(registry, 'central', 'mirrors-docker');
    const { digest } = await configOf(images['multi-platform'].layout, process.arch === 'arm64' ? 'arm64' : 'amd64');
    await withDocker(atItsHost(at, LATE).registry, async (docker) => {
      succeeded(await docker.pull(`library/${DOCKER}:v1`, digest));
    });
    await rm(at.directory, { recursive: true, force: true });
  });
}

/** One way through one host. Each has a repository of its own, so that its first pull asks the upstream. */
class Pull {
  readonly way: Way;
  readonly name: string;
  readonly repository: string;
  /** The image that the tag names at first; undefined until it is pushed. */
  first: Image | undefined;
  /** The image that the tag is moved to; undefined until it is pushed. */
  second: Image | undefined;
  readonly #host: HostName;
  readonly #registry: TemporaryRegistry;

  constructor(way: Way, host: HostName, registry: TemporaryRegistry) {
    this.way = way;
    this.name = `${way.name} through ${host}`;
    this.repository = `${way.name}-${host}`;
    this.#host = host;
    this.#registry = registry;
  }

  /** @throws if the mirror's tag names another image */
  async expect(mirror: string, image: Image | undefined): Promise<void> {
    if (image === undefined) throw new Error('the upstream was not given the image');
    const found = await this.differences(mirror, image);
    if (found.length > 0) throw new Error(`${mirror}: ${found.join('\n')}`);
  }

  /** Pulls as nobody, with a client that has nothing yet. @returns how the pulled image differs from `image` */
  async differences(mirror: string, image: Image): Promise<string[]> {
    const at = await registryAt(this.#registry, this.#host, 'mirrors');
    const { registry, prefix } = this.way.asks(at, mirror);
    const layout = join(at.directory, 'pulled');
    let found: string[] = [];
    try {
      await this.way.open(registry, async (client) => {
        succeeded(await client.pull('nobody', image, `${prefix}library/${this.repository}:v1`, layout));
        found = await differences(image.layout, layout);
      });
    } finally {
      await rm(at.directory, { recursive: true, force: true });
    }
    return found;
  }
}
