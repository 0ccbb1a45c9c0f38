import type { Command } from 'commander';
import { RegistryDestination } from '../../../src/oci-client/registry-image.ts';
import { openSource } from '../images/source.ts';
import { withExamples } from '../options.ts';
import { parseImageReference } from '../reference.ts';
import { limitOf, parseChunk, parseJobs, repositoryOf, withFolder } from '../registry.ts';
import { transfer } from '../transfer.ts';
import type { TransportOptions } from '../transport.ts';
import { UploadFiles } from '../upload-records.ts';
import { WrongUse } from '../errors.ts';

interface Options extends TransportOptions {
  readonly chunk?: number;
  readonly jobs: number;
  readonly mountFrom?: string;
  readonly quiet?: true;
}

/** `berth push SOURCE REF` */
export function push(berth: Command): void {
  const command = berth
    .command('push')
    .description('push an image, with layers of any size')
    .argument(
      '<source>',
      'docker:NAME, docker-archive:FILE[:NAME], oci:FOLDER[:TAG], oci-archive:FILE[:TAG], or a path',
    )
    .argument('<image>', 'HOST/REPOSITORY[:TAG]')
    .option(
      '--chunk <mebibytes>',
      'send at most this many MiB at once (default: the limit of the registry)',
      parseChunk,
    )
    .option('--jobs <number>', 'layers at once', parseJobs, 4)
    .option('--mount-from <repository>', 'mount layers that this repository of the registry has')
    .option('--quiet', 'show no progress')
    .action(async (source: string, image: string) => run(source, image, command.optsWithGlobals<Options>()));
  withExamples(
    command,
    ['berth push docker:app registry.example/acme/app:1', 'an image that docker has built'],
    ['berth push oci:./layout:1 registry.example/acme/app:1'],
    ['berth push app.tar registry.example/acme/app:1', 'an archive of docker save, or of an OCI layout'],
  );
}

async function run(text: string, image: string, options: Options): Promise<void> {
  const target = parseImageReference(image);
  if (target.digest !== undefined) throw new WrongUse(`${image}: leave out the digest, which follows from the content`);
  const tag = target.tag ?? 'latest';
  const { jobs, chunk, mountFrom, quiet = false } = options;
  const { digest } = await withFolder((folder) =>
    transfer({ verb: 'pushing', done: 'pushed', quiet, jobs }, async (abort, tell) => {
      const opened = await openSource(text, { folder, tell });
      const repository = repositoryOf(target, 'push', options, abort.signal);
      const records = new UploadFiles();
      await records.prune();
      const destination = new RegistryDestination(repository, { limit: limitOf(chunk), mountFrom, records });
      return { ...opened, destination, tag, referrers: true };
    }),
  );
  console.log(`${target.host}/${target.repository}:${tag}@${digest}`);
}
