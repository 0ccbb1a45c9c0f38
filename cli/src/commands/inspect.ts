import type { Command } from 'commander';
import type { Descriptor } from '../../../src/oci-client/descriptor.ts';
import type { Image } from '../answers.ts';
import { ApiFailure, path, splitRepository } from '../api.ts';
import { blobsOf, type Child, type Contents, contentsOf, type Sharing, sharingOf } from '../image-contents.ts';
import { connected, repositoryOf, wantsJson, withExamples, withJson } from '../options.ts';
import { type ImageReference, parseImageReference, referenceOf } from '../reference.ts';
import { rootOf } from '../registry.ts';
import { digestFor, fields, print, printJson, size, table } from '../terminal.ts';

/** The most tags that are named for a shared layer. */
const NAMED = 3;

export function inspect(berth: Command): void {
  const command = withJson(berth.command('inspect'))
    .description('show the layers of an image, which of them are shared, where its bytes are, and its referrers')
    .argument('<image>', '[HOST/]ORG/NAME[:TAG|@DIGEST]')
    .action(async (text: string) => {
      const image = parseImageReference(text);
      const repository = repositoryOf(command, image);
      const manifest = await rootOf(repository, image);
      const [contents, referrers, state] = await Promise.all([
        contentsOf(repository, manifest),
        repository.referrers(manifest.digest),
        stateOf(command, image, manifest.digest),
      ]);
      const sharing = await sharingOf(repository, contents);
      if (wantsJson(command)) return printJson(asJson(contents, sharing, referrers, state));
      print(shown(text, contents, sharing, referrers, state));
      if (!sharing.isComplete) console.error('The repository has many images: not all were compared.');
    });
  withExamples(
    command,
    ['berth inspect index.example.com/acme/app:1.2'],
    ['berth inspect index.fra.example.com/acme/app:1.2 --json', 'as the node fra has it'],
  );
}

/** Returns how far the image is replicated; undefined if the registry can't tell. Only Berth can. */
async function stateOf(command: Command, image: ImageReference, digest: string): Promise<Image | undefined> {
  if (!image.repository.includes('/')) return undefined;
  const [organization, name] = splitRepository(image.repository);
  const to = path`/api/organizations/${organization}/repositories/${name}/images/${referenceOf(image)}`;
  try {
    const state = await (await connected(command, image.host)).call<Image>('GET', to);
    // The tag may have moved since the manifest was read.
    return state.digest === digest ? state : undefined;
  } catch (error) {
    if (!(error instanceof ApiFailure)) throw error;
    console.error(`The places of its bytes can't be shown: ${error.message}`);
    return undefined;
  }
}

function asJson(contents: Contents, sharing: Sharing, referrers: readonly Descriptor[], state: Image | undefined) {
  const { manifest, links, children } = contents;
  const withTags = (blobs: readonly Descriptor[]) =>
    blobs.map((blob) => ({ descriptor: blob, shared_with: sharing.tags.get(blob.digest) ?? [] }));
  return {
    digest: manifest.digest,
    media_type: manifest.mediaType,
    size: sizeOf(blobsOf(contents)),
    blobs: withTags(links.blobs),
    images: children.map((child) => ({ descriptor: child.descriptor, blobs: withTags(child.links?.blobs ?? []) })),
    referrers,
    replication: state ?? null,
  };
}

function shown(
  text: string,
  contents: Contents,
  sharing: Sharing,
  referrers: readonly Descriptor[],
  state: Image | undefined,
): string {
  const { manifest, links, children } = contents;
  const blobs = blobsOf(contents);
  const shared = blobs.filter(({ digest }) => sharing.tags.has(digest));
  return [
    fields({
      Image: text,
      Digest: manifest.digest,
      'Media type': manifest.mediaType,
      Size: `${size(sizeOf(blobs))} in ${blobs.length} blobs`,
      Shared: `${size(sizeOf(shared))} with other images of the repository`,
      ...(state === undefined ? {} : { State: state.state, ...errorOf(state) }),
    }),
    ...(children.length === 0 ? [] : [images(children)]),
    ...(children.length > 0 && links.blobs.length === 0 ? [] : [layers(links.blobs, sharing)]),
    ...(state === undefined ? [] : [locations(state)]),
    ...(referrers.length === 0 ? [] : [references(referrers)]),
  ].join('\n');
}

function sizeOf(blobs: readonly Descriptor[]): number {
  return blobs.reduce((sum, blob) => sum + blob.size, 0);
}

function errorOf({ last_error: error }: Image): Record<string, string> {
  return error === null ? {} : { 'Last error': error };
}

function images(children: readonly Child[]): string {
  return table(children, {
    PLATFORM: ({ descriptor: { platform } }) => platformOf(platform),
    DIGEST: ({ descriptor }) => digestFor(descriptor.digest),
    'LAYERS>': ({ links }) => links?.blobs.length,
    'SIZE>': ({ links }) => (links === undefined ? null : size(sizeOf(links.blobs))),
  });
}

function platformOf(platform: Descriptor['platform']): string | undefined {
  if (platform === undefined) return undefined;
  return [platform.os, platform.architecture, platform.variant].filter(Boolean).join('/');
}

function layers(blobs: readonly Descriptor[], { tags }: Sharing): string {
  return table(blobs, {
    BLOB: ({ digest }) => digestFor(digest),
    'SIZE>': (blob) => size(blob.size),
    'MEDIA TYPE': ({ mediaType }) => mediaType,
    'SHARED WITH': ({ digest }) => namesOf(tags.get(digest) ?? []),
  });
}

function namesOf(tags: readonly string[]): string {
  const more = tags.length - NAMED;
  return [tags.slice(0, NAMED).join(', '), ...(more > 0 ? [`and ${more} more`] : [])].join(' ');
}

function locations({ locations: stores, blobs }: Image): string {
  return table(stores, {
    'BYTES AT': ({ store }) => store,
    'BLOBS>': (at) => `${at.blobs} of ${blobs.total}`,
    'SIZE>': ({ bytes }) => size(bytes),
  });
}

function references(referrers: readonly Descriptor[]): string {
  return table(referrers, {
    'REFERRED TO BY': ({ artifactType, mediaType }) => artifactType ?? mediaType,
    DIGEST: ({ digest }) => digestFor(digest),
    'SIZE>': (referrer) => size(referrer.size),
  });
}
