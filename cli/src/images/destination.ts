/** The destinations of `pull`: an OCI layout in a folder or an archive, or an archive that docker loads. */
import { rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { type Digest, hexOf } from '../../../src/oci/digest.ts';
import type { ImageDestination } from '../../../src/oci-client/copy-image.ts';
import { linksOf, objectIn, type StoredManifest } from '../../../src/oci-client/descriptor.ts';
import { Failure, WrongUse } from '../errors.ts';
import { FolderFiles } from './files.ts';
import { LayoutDestination } from './layout-destination.ts';
import { pathOf } from './layout-source.ts';
import { type TarEntry, writeTar } from './tar-writer.ts';

export type DestinationKind = 'oci' | 'oci-archive' | 'docker-archive';

export interface DestinationName {
  readonly kind: DestinationKind;
  readonly path: string;
  /** The name in a layout, if the user gives one. */
  readonly tag: string | undefined;
}

/** Parses `oci:FOLDER[:TAG]`, `oci-archive:FILE[:TAG]`, `docker-archive:FILE`, or a folder alone. @throws WrongUse */
export function parseDestination(text: string): DestinationName {
  const [, prefix, rest = ''] = /^(oci|oci-archive|docker-archive):(.*)$/s.exec(text) ?? [undefined, undefined, text];
  const kind = (prefix ?? 'oci') as DestinationKind;
  const [, path = rest, tag] = /^(.+?):([\w.-]+)$/.exec(prefix === undefined ? '' : rest) ?? [];
  if (path === '') throw new WrongUse(`${text} has no path: write one after the colon`);
  if (kind === 'docker-archive' && tag !== undefined) {
    throw new WrongUse(`${text}: docker names the image as the registry does: leave out :${tag}`);
  }
  return { kind, path, tag };
}

/** The folder that collects an image until it becomes an archive. The next pull uses the blobs that this one leaves. */
export class LocalDestination {
  readonly #name: DestinationName;
  readonly #folder: string;
  #layout: LayoutDestination | undefined;

  constructor(name: DestinationName) {
    this.#name = name;
    this.#folder = name.kind === 'oci' ? name.path : `${name.path}.partial`;
  }

  /** @throws Failure before anything is written, if the archive is for docker, which can't load the image */
  async open(root: StoredManifest, signal: AbortSignal): Promise<ImageDestination> {
    if (this.#name.kind === 'docker-archive') dockerImageIn(root);
    // An archive has one image, so the list that an earlier pull left here is removed.
    if (this.#name.kind !== 'oci') await rm(join(this.#folder, 'index.json'), { force: true });
    this.#layout = new LayoutDestination(this.#folder, signal);
    return this.#layout;
  }

  /** Makes the archive, if it is one. @param dockerName what docker will call the image */
  async finish(root: StoredManifest, dockerName: string): Promise<void> {
    const { kind, path } = this.#name;
    if (kind === 'oci') return;
    const entries = kind === 'oci-archive' ? await this.#ociLayout() : await this.#dockerImage(root, dockerName);
    const partial = join(this.#folder, 'archive');
    await writeTar(partial, entries);
    await rename(partial, path);
    await rm(this.#folder, { recursive: true });
  }

  async #ociLayout(): Promise<TarEntry[]> {
    const blobs = [...(this.#layout?.used ?? [])].map(pathOf).toSorted();
    return Promise.all(['oci-layout', 'index.json', ...blobs].map((path) => this.#entry(path, path)));
  }

  /** Docker's "combined image JSON + filesystem changeset format", version 1.2. */
  async #dockerImage(root: StoredManifest, dockerName: string): Promise<TarEntry[]> {
    const { blobs } = linksOf(root);
    const { config, layers } = dockerImageIn(root);
    const manifest = new TextEncoder().encode(
      JSON.stringify([
        {
          Config: `${hexOf(config.digest)}.json`,
          RepoTags: [dockerName],
          Layers: layers.map(({ digest }) => `${hexOf(digest)}.tar.gz`),
        },
      ]),
    );
    const files = blobs.map(({ digest }) =>
      this.#entry(pathOf(digest), digest === config.digest ? `${hexOf(digest)}.json` : `${hexOf(digest)}.tar.gz`),
    );
    return [
      ...(await Promise.all(files)),
      { path: 'manifest.json', size: manifest.byteLength, open: () => new Blob([manifest]).stream() },
    ];
  }

  async #entry(file: string, path: string): Promise<TarEntry> {
    const { size } = await stat(join(this.#folder, file)).catch((cause: unknown) => {
      throw new Failure(`${join(this.#folder, file)} is gone: pull again`, { cause });
    });
    return { path, size, open: () => new FolderFiles(this.#folder).open(file, 0, size) };
  }
}

interface DockerImage {
  readonly config: { readonly digest: Digest };
  readonly layers: readonly { readonly digest: Digest }[];
}

/** @throws Failure for an index, or an artifact without a config or layers */
function dockerImageIn({ bytes, digest }: StoredManifest): DockerImage {
  const { config, layers } = objectIn(bytes, digest);
  if (config === undefined || config === null || !Array.isArray(layers)) {
    throw new Failure(`${digest} has no config or no layers, so docker can't load it: pull it to oci:FOLDER`);
  }
  return { config, layers } as unknown as DockerImage;
}
