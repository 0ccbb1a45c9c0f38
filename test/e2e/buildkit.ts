/**
 * BuildKit: a daemon that builds with runc. It pulls base images, pushes its results, and keeps its cache in the
 * registry: as an image, or in the older form as an index that lists layers, which are not manifests.
 */
import { mkdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { User } from './clients/client.ts';
import { crane } from './clients/crane.ts';
import { type CommandResult, runCommand, withDaemon } from './command.ts';
import { failedWith, passwordOf, same, succeeded } from './expectations.ts';
import { buildInGoModule } from './go-program.ts';
import type { Surroundings } from './surroundings.ts';
import type { TemporaryRegistry } from './temporary-registry.ts';

const VERSION = 'v0.34.2';
const MODULE = 'github.com/moby/buildkit';
const CACHE_CONFIG = 'application/vnd.buildkit.cacheconfig.v0';
const REFUSED = /denied|unauthorized|401|403/i;

/** Two ways to store a cache, and the media type that the registry then holds. */
const FORMS = [
  {
    form: 'an image',
    options: 'image-manifest=true,oci-mediatypes=true',
    type: 'application/vnd.oci.image.manifest.v1+json',
  },
  {
    form: 'an index of layers',
    options: 'image-manifest=false,oci-mediatypes=true',
    type: 'application/vnd.oci.image.index.v1+json',
  },
  {
    form: "Docker's list of layers",
    options: 'image-manifest=false,oci-mediatypes=false',
    type: 'application/vnd.docker.distribution.manifest.list.v2+json',
  },
] as const;

interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
}

interface Manifest {
  readonly mediaType: string;
  readonly config?: Descriptor;
  readonly layers?: readonly Descriptor[];
  readonly manifests?: readonly Descriptor[];
}

type Run = (user: User, ...args: readonly string[]) => Promise<CommandResult>;

export async function checkBuildkit(surroundings: Surroundings): Promise<void> {
  const { registry, images } = surroundings;
  const daemon = await buildInGoModule(MODULE, 'cmd/buildkitd', VERSION);
  const program = await buildInGoModule(MODULE, 'cmd/buildctl', VERSION);
  const pusher = await crane(registry);
  console.log(`--- buildkit ${VERSION}`);
  const home = join(registry.directory, 'buildkit');
  await mkdir(join(home, 'context'), { recursive: true });
  await writeFile(join(home, 'buildkitd.toml'), `[registry."${registry.host}"]\n  http = true\n`);
  const address = `unix://${join(home, 'buildkitd.sock')}`;
  const run: Run = (user, ...args) => {
    const env = { HOME: home, DOCKER_CONFIG: join(home, user) };
    return runCommand(program, ['--addr', address, ...args], { timeoutSeconds: 120, env, directory: home });
  };
  await pusher.login('alice', passwordOf('alice'));
  succeeded((await pusher.push('alice', images['multi-platform'], 'alice/buildkit/base:v1')).result);
  const options = [
    ['--config', join(home, 'buildkitd.toml'), '--root', join(home, 'root'), '--addr', address],
    ['--oci-worker=true', '--containerd-worker=false', '--oci-worker-snapshotter=native', '--oci-worker-net=host'],
  ].flat();
  const isReady = async (): Promise<boolean> => (await run('nobody', 'debug', 'workers')).code === 0;
  await withDaemon(daemon, options, { isReady, env: { HOME: home } }, () => checkBuilds(run, home, surroundings));
}

async function checkBuilds(run: Run, home: string, { registry, checks }: Surroundings): Promise<void> {
  const { host } = registry;
  const file = 'what is copied\n';
  await writeFile(join(home, 'context/copied'), file);
  // The random bytes of the second file show whether it was built again.
  await writeFile(
    join(home, 'context/Dockerfile'),
    `FROM ${host}/alice/buildkit/base:v1 AS build
COPY copied /copied
RUN busybox head -c 3000000 /dev/urandom > /made
FROM scratch
COPY --from=build /copied /made /
`,
  );
  const dockerfile = ['--frontend', 'dockerfile.v0', '--local', 'context=context', '--local', 'dockerfile=context'];
  const build = (user: User, ...args: readonly string[]): Promise<CommandResult> =>
    run(user, 'build', '--progress', 'plain', ...dockerfile, ...args);
  const image = (reference: string): string[] => ['--output', `type=image,name=${host}/${reference},push=true`];
  const forget = async (): Promise<void> => succeeded(await run('alice', 'prune', '--all'));
  const check = (name: string, body: () => Promise<string | void>): Promise<boolean> =>
    checks.check(`buildkit: ${name}`, body);

  await check('a wrong password is refused', async () => {
    await logIn(home, host, 'alice', 'not-her-password');
    failedWith(await build('alice', ...image('alice/buildkit/app:v1')), /wrong|unauthorized|401/i);
  });
  for (const user of ['alice', 'bob', 'platform'] as const) await logIn(home, host, user, passwordOf(user));

  for (const [index, { form, options, type }] of FORMS.entries()) {
    const cache = `alice/buildkit/cache:${index}`;
    const [made, again] = [`alice/buildkit/app:made-${index}`, `alice/buildkit/app:again-${index}`];
    await check(`build and push, with the cache as ${form}`, async () => {
      await forget();
      const to = `type=registry,ref=${host}/${cache},mode=max,${options}`;
      succeeded(await build('alice', ...image(made), '--export-cache', to));
      const manifest = await manifestOf(registry, cache);
      same([manifest.mediaType], [type]);
      const parts = [
        ...(manifest.layers ?? []),
        ...(manifest.manifests ?? []),
        ...(manifest.config ? [manifest.config] : []),
      ];
      if (!parts.some(({ mediaType }) => mediaType === CACHE_CONFIG))
        throw new Error('the manifest has no cache configuration');
      if (!parts.some(({ mediaType }) => /layer|rootfs/.test(mediaType)))
        throw new Error('the manifest lists no layer');
      return `${parts.length} blobs`;
    });
    await check(`with only the cache as ${form}, no step runs again`, async () => {
      await forget();
      const from = ['--import-cache', `type=registry,ref=${host}/${cache}`];
      const result = await build('alice', ...image(again), ...from);
      succeeded(result);
      const [, step] = /^(#\d+) \[build 3\/3\] RUN/m.exec(result.output) ?? [];
      if (!result.output.includes(`\n${step} CACHED`)) throw new Error(`the step was not cached:\n${result.output}`);
      const layers = async (reference: string): Promise<string[]> =>
        ((await manifestOf(registry, reference)).layers ?? []).map(({ digest }) => digest);
      same(await layers(again), await layers(made));
    });
  }

  await check('pull the image: its files are whole', async () => {
    await forget();
    await mkdir(join(home, 'pulled'));
    await writeFile(join(home, 'pulled/Dockerfile'), `FROM ${host}/alice/buildkit/app:made-0\n`);
    const context = ['--frontend', 'dockerfile.v0', '--local', 'context=pulled', '--local', 'dockerfile=pulled'];
    succeeded(await run('platform', 'build', ...context, '--output', 'type=local,dest=files'));
    same([await readFile(join(home, 'files/copied'), 'utf8')], [file]);
    const { size } = await stat(join(home, 'files/made'));
    same([String(size)], ['3000000']);
  });
  await check('push an image with its provenance: an index with an attestation', async () => {
    succeeded(await build('alice', ...image('alice/buildkit/app:attested'), '--opt', 'attest:provenance=mode=max'));
    const { manifests = [] } = await manifestOf(registry, 'alice/buildkit/app:attested');
    if (manifests.length !== 2) throw new Error(`expected 2 manifests, found ${manifests.length}`);
    const attestation = await manifestOf(registry, `alice/buildkit/app@${manifests[1]?.digest}`);
    same(
      (attestation.layers ?? []).map(({ mediaType }) => mediaType),
      ['application/vnd.in-toto+json'],
    );
  });
  for (const user of ['bob', 'nobody'] as const) {
    await check(`${user} can't pull from alice`, async () => {
      await forget();
      failedWith(await build(user, '--output', 'type=local,dest=refused'), REFUSED);
      await rm(join(home, 'refused'), { recursive: true, force: true });
    });
  }
  await check('platform can pull from alice, and push neither an image nor a cache to her', async () => {
    failedWith(await build('platform', ...image('alice/buildkit/foreign:v1')), REFUSED);
    const to = `type=registry,ref=${host}/alice/buildkit/foreign:cache`;
    failedWith(await build('platform', '--output', 'type=local,dest=built', '--export-cache', to), REFUSED);
    succeeded(await build('platform', '--output', 'type=local,dest=built'));
  });
}

/** buildctl has no login command: it reads the file that docker's login writes. */
async function logIn(home: string, host: string, user: User, password: string): Promise<void> {
  await mkdir(join(home, user), { recursive: true });
  const auths = { [host]: { auth: btoa(`${user}:${password}`) } };
  await writeFile(join(home, user, 'config.json'), JSON.stringify({ auths }));
}

async function manifestOf({ host }: TemporaryRegistry, reference: string): Promise<Manifest> {
  const [, repository, name] = /^(.*?)[:@](.*)$/.exec(reference) ?? [];
  const answer = await fetch(`http://${host}/v2/${repository}/manifests/${name}`, {
    headers: { Authorization: `Basic ${btoa(`alice:${passwordOf('alice')}`)}` },
  });
  if (!answer.ok) throw new Error(`${reference}: ${answer.status} ${await answer.text()}`);
  return (await answer.json()) as Manifest;
}
