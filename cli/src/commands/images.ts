import type { Command } from 'commander';
import type { Api } from '../api.ts';
import { connected, wantsJson, withExamples, withJson } from '../options.ts';
import { splitHost } from '../reference.ts';
import { digestFor, print, printJson, size, table, time } from '../terminal.ts';

/** An image of the platform's images API (docs/platform-api.md). Its `url` is `<host>/<repository>@<digest>`. */
interface ListedImage {
  readonly url: string;
  readonly tags: readonly string[];
  readonly size_in_bytes: number;
  readonly created_at: string;
}

interface ImagesPage {
  readonly data: { readonly images: readonly ListedImage[] };
}

export function images(berth: Command): void {
  const command = withJson(berth.command('images'))
    .description('list the images that a registry has in its own store, a line for each tag')
    .argument('[place]', "HOST/ORG, or HOST for the images of the login's own organization")
    .option('--all', 'also list images without a tag')
    .action(async (place: string | undefined, { all }: { readonly all?: true }) => {
      const { host, path: namespace } = splitHost(place ?? process.env['BERTH_HOST'] ?? '');
      const listed = await imagesOf(await connected(command, host), namespace);
      if (wantsJson(command)) return printJson({ images: listed });
      const rows = listed.flatMap((image) => {
        const tags = image.tags.length === 0 && all === true ? [undefined] : image.tags;
        return tags.map((tag) => ({ image, tag }));
      });
      print(
        table(rows, {
          REPOSITORY: ({ image: { url } }) => url.slice(url.indexOf('/') + 1).split('@')[0],
          TAG: ({ tag }) => tag,
          DIGEST: ({ image: { url } }) => digestFor(url.split('@')[1] ?? ''),
          PUSHED: ({ image }) => time(image.created_at),
          'SIZE>': ({ image }) => size(image.size_in_bytes),
        }),
      );
    });
  withExamples(
    command,
    ['berth images index.example.com/acme'],
    ['berth images index.fra.example.com/acme', 'the images in the store of the node fra'],
    ['berth images index.example.com/acme --all', 'with images that no tag names'],
  );
}

function imagesOf(api: Api, namespace: string): Promise<ListedImage[]> {
  const query = { n: 1000, namespace: namespace === '' ? undefined : namespace };
  return api.linkedPages('/v1/image-store', query, (page) => (page as ImagesPage).data.images);
}
