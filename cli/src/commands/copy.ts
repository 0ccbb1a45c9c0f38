import type { Command } from 'commander';
import { RegistryDestination, RegistrySource } from '../../../src/oci-client/registry-image.ts';
import { withExamples } from '../options.ts';
import { parseImageReference } from '../reference.ts';
import { limitOf, parseChunk, parseJobs, repositoryOf, rootOf } from '../registry.ts';
import { transfer } from '../transfer.ts';
import type { TransportOptions } from '../transport.ts';
import { UploadFiles } from '../upload-records.ts';

interface Options extends TransportOptions {
  readonly chunk?: number;
  readonly jobs: number;
  readonly quiet?: true;
  readonly referrers?: true;
}

/** `berth copy REF REF` */
export function copy(berth: Command): void {
  const command = berth
    .command('copy')
    .description('copy an image from one registry to another')
    .argument('<from>', 'HOST/REPOSITORY[:TAG][@DIGEST]')
    .argument('<to>', 'HOST/REPOSITORY[:TAG]')
    .option('--referrers', 'also copy the referrers of the image, such as signatures')
    .option(
      '--chunk <mebibytes>',
      'send at most this many MiB at once (default: the limit of the registry)',
      parseChunk,
    )
    .option('--jobs <number>', 'layers at once', parseJobs, 4)
    .option('--quiet', 'show no progress')
    .action(async (from: string, to: string) => run(from, to, command.optsWithGlobals<Options>()));
  withExamples(
    command,
    ['berth copy ghcr.io/acme/app:1 registry.example/acme/app:1'],
    ['berth copy --referrers registry.example/acme/app:1 localhost:8787/alice/app:1', 'with its signatures'],
  );
}

async function run(fromText: string, toText: string, options: Options): Promise<void> {
  const [from, to] = [parseImageReference(fromText), parseImageReference(toText)];
  const { jobs, chunk, quiet = false, referrers = false } = options;
  // An image without a tag is copied as one without a tag.
  const tag = to.tag ?? from.tag ?? (from.digest === undefined ? 'latest' : undefined);
  const { digest } = await transfer({ verb: 'copying', done: 'copied', quiet, jobs }, async (abort) => {
    const source = repositoryOf(from, 'pull', options, abort.signal);
    const records = new UploadFiles();
    await records.prune();
    const destination = new RegistryDestination(repositoryOf(to, 'push', options, abort.signal), {
      limit: limitOf(chunk),
      mountFrom: from.host === to.host ? from.repository : undefined,
      records,
    });
    return { source: new RegistrySource(source), destination, root: await rootOf(source, from), tag, referrers };
  });
  console.log(`${to.host}/${to.repository}${tag === undefined ? '' : `:${tag}`}@${digest}`);
}
