import { type Command, InvalidArgumentError } from 'commander';
import type { Descriptor, StoredManifest } from '../../../src/oci-client/descriptor.ts';
import { linksOf } from '../../../src/oci-client/descriptor.ts';
import { RegistrySource } from '../../../src/oci-client/registry-image.ts';
import { WrongUse } from '../errors.ts';
import { LocalDestination, parseDestination } from '../images/destination.ts';
import { withExamples } from '../options.ts';
import { type ImageReference, parseImageReference } from '../reference.ts';
import { parseJobs, repositoryOf, rootOf } from '../registry.ts';
import { transfer } from '../transfer.ts';
import type { TransportOptions } from '../transport.ts';

interface Platform {
  readonly os: string;
  readonly architecture: string;
  readonly variant: string | undefined;
}

interface Options extends TransportOptions {
  readonly jobs: number;
  readonly platform?: Platform;
  readonly quiet?: true;
  readonly referrers?: true;
}

/** `berth pull REF DEST` */
export function pull(berth: Command): void {
  const command = berth
    .command('pull')
    .description('pull an image into a folder or an archive')
    .argument('<image>', 'HOST/REPOSITORY[:TAG][@DIGEST]')
    .argument('<destination>', 'oci:FOLDER[:TAG], oci-archive:FILE[:TAG], docker-archive:FILE, or a folder')
    .option(
      '--platform <os/architecture>',
      'one image of an index (default: all; for docker, that of this machine)',
      parsePlatform,
    )
    .option('--referrers', 'also pull the referrers of the image, such as signatures')
    .option('--jobs <number>', 'layers at once', parseJobs, 4)
    .option('--quiet', 'show no progress')
    .action(async (image: string, target: string) => run(image, target, command.optsWithGlobals<Options>()));
  withExamples(
    command,
    ['berth pull registry.example/acme/app:1 oci:./layout', 'all platforms'],
    ['berth pull registry.example/acme/app:1 docker-archive:app.tar', 'for docker load'],
  );
}

async function run(image: string, target: string, options: Options): Promise<void> {
  const from = parseImageReference(image);
  const name = parseDestination(target);
  const { jobs, quiet = false, referrers = false } = options;
  const local = new LocalDestination(name);
  const tag = name.tag ?? from.tag ?? 'latest';
  const root = await transfer({ verb: 'pulling', done: 'pulled', quiet, jobs }, async (abort) => {
    const repository = repositoryOf(from, 'pull', options, abort.signal);
    const source = new RegistrySource(repository);
    const platform = options.platform ?? (name.kind === 'docker-archive' ? ownPlatform() : undefined);
    const found = await rootOf(repository, from);
    const chosen = platform === undefined ? found : await imageFor(source, found, platform);
    return { source, destination: await local.open(chosen, abort.signal), root: chosen, tag, referrers };
  });
  await local.finish(root, dockerNameOf(from));
  console.log(`${from.host}/${from.repository}@${root.digest}`);
}

/** Docker can't name an image by its digest alone, so it gets a tag. */
function dockerNameOf({ host, repository, tag = 'latest' }: ImageReference): string {
  return `${host}/${repository}:${tag}`;
}

async function imageFor(source: RegistrySource, root: StoredManifest, platform: Platform): Promise<StoredManifest> {
  const { children } = linksOf(root);
  if (children.length === 0) return root;
  const child = children.find((one) => isFor(platform, one));
  if (child !== undefined) return source.readManifest(child);
  const known = children.flatMap(({ platform: its }) => (its === undefined ? [] : `${its.os}/${its.architecture}`));
  throw new WrongUse(
    `the image has no ${platform.os}/${platform.architecture}: choose with --platform from ${known.join(', ')}`,
  );
}

function isFor({ os, architecture, variant }: Platform, { platform }: Descriptor): boolean {
  return (
    platform?.os === os &&
    platform.architecture === architecture &&
    (variant === undefined || platform.variant === variant)
  );
}

function parsePlatform(text: string): Platform {
  const [os = '', architecture = '', variant] = text.split('/');
  if (os === '' || architecture === '') throw new InvalidArgumentError('Write it as linux/amd64.');
  return { os, architecture, variant };
}

/** On other systems, docker runs Linux in a virtual machine. */
function ownPlatform(): Platform {
  return { os: 'linux', architecture: process.arch === 'x64' ? 'amd64' : process.arch, variant: undefined };
}
