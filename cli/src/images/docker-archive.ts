/** An image as `docker save` writes it, read as the OCI image that it becomes in a registry. */
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { type Digest } from '../../../src/oci/digest.ts';
import { OCI_IMAGE_MANIFEST } from '../../../src/oci/media-type.ts';
import { piecesOf } from '../../../src/oci-client/answer.ts';
import type { Content } from '../../../src/oci-client/content.ts';
import type { ImageSource } from '../../../src/oci-client/copy-image.ts';
import type { Descriptor, StoredManifest } from '../../../src/oci-client/descriptor.ts';
import { Failure, WrongUse } from '../errors.ts';
import { digestOfBytes, startHash } from '../hash.ts';
import { compressed } from './compress.ts';
import { type ImageFiles, partOfFile } from './files.ts';

const CONFIG = 'application/vnd.oci.image.config.v1+json';
const LAYER = 'application/vnd.oci.image.layer.v1.tar';

interface SavedImage {
  readonly Config: string;
  readonly RepoTags?: readonly string[] | null;
  readonly Layers: readonly string[];
}

export interface Compressing {
  /** A folder for the compressed layers. */
  readonly folder: string;
  /** Called with the number, from 1, of the layer that is being compressed. */
  readonly onLayer: (number: number, of: number) => void;
}

export class DockerArchiveSource implements ImageSource {
  readonly #contents: ReadonlyMap<Digest, Content>;
  /** The manifest that the image gets. */
  readonly root: StoredManifest;

  private constructor(root: StoredManifest, contents: ReadonlyMap<Digest, Content>) {
    this.root = root;
    this.#contents = contents;
  }

  /**
   * Reads an image, and compresses its layers.
   * @param name one of its names, like `app:1`; undefined for the only image
   */
  static async open(
    files: ImageFiles,
    name: string | undefined,
    compressing: Compressing,
  ): Promise<DockerArchiveSource> {
    const image = await chosenImage(files, name);
    const config = await files.read(image.Config);
    if (config === undefined) throw new Failure(`${files.name} is incomplete: it lacks ${image.Config}`);
    const contents = new Map<Digest, Content>();
    const layers: Descriptor[] = [];
    for (const [i, path] of image.Layers.entries()) {
      compressing.onLayer(i + 1, image.Layers.length);
      const { content, mediaType } = await layerOf(files, path, join(compressing.folder, `${i}.tar.gz`));
      contents.set(content.digest, content);
      layers.push({ mediaType, digest: content.digest, size: content.size });
    }
    const configDigest = digestOfBytes('sha256', config);
    contents.set(configDigest, {
      digest: configDigest,
      size: config.byteLength,
      open: (start, end) => new Blob([config.slice(start, end)]).stream(),
    });
    const document = {
      schemaVersion: 2,
      mediaType: OCI_IMAGE_MANIFEST,
      config: { mediaType: CONFIG, digest: configDigest, size: config.byteLength },
      layers,
    };
    const bytes = new TextEncoder().encode(JSON.stringify(document));
    const root = { bytes, mediaType: OCI_IMAGE_MANIFEST, digest: digestOfBytes('sha256', bytes) };
    return new DockerArchiveSource(root, contents);
  }

  async readManifest({ digest }: Pick<Descriptor, 'digest'>): Promise<StoredManifest> {
    if (digest !== this.root.digest) throw new Failure(`the archive has no manifest ${digest}`);
    return this.root;
  }

  contentOf({ digest }: Descriptor): Content {
    const content = this.#contents.get(digest);
    if (content === undefined) throw new Failure(`the archive has no blob ${digest}`);
    return content;
  }

  async referrers(): Promise<readonly Descriptor[]> {
    return [];
  }
}

async function chosenImage(files: ImageFiles, name: string | undefined): Promise<SavedImage> {
  const bytes = await files.read('manifest.json');
  if (bytes === undefined) throw new WrongUse(`${files.name} is not an archive of docker save: it lacks manifest.json`);
  const images = JSON.parse(new TextDecoder().decode(bytes)) as readonly SavedImage[];
  const found = name === undefined ? images : images.filter(({ RepoTags }) => RepoTags?.includes(name) === true);
  const [only] = found;
  if (only !== undefined && found.length === 1) return only;
  const names = images.flatMap(({ RepoTags }) => RepoTags ?? []).join(', ');
  throw new WrongUse(
    name === undefined
      ? `${files.name}: say which image you mean, after a colon: it has ${names}`
      : `${files.name} has no image ${name}: it has ${names}`,
  );
}

/** Returns a layer as it will be pushed. Compresses it, unless it is compressed already. */
async function layerOf(
  files: ImageFiles,
  path: string,
  target: string,
): Promise<{ readonly content: Content; readonly mediaType: string }> {
  const size = await files.sizeOf(path);
  if (size === undefined) throw new Failure(`${files.name} is incomplete: it lacks the layer ${path}`);
  const how = compressionOf(new Uint8Array(await new Response(files.open(path, 0, Math.min(4, size))).arrayBuffer()));
  const hash = startHash('sha256');
  if (how !== undefined) {
    for await (const piece of piecesOf(files.open(path, 0, size))) hash.update(piece);
    const content = { digest: hash.digest(), size, open: (start: number, end: number) => files.open(path, start, end) };
    return { content, mediaType: `${LAYER}+${how}` };
  }
  const file = await open(target, 'w', 0o600);
  let written = 0;
  try {
    for await (const piece of compressed(files.open(path, 0, size))) {
      hash.update(piece);
      await file.writeFile(piece);
      written += piece.length;
    }
  } finally {
    await file.close();
  }
  const openPart = (start: number, end: number): ReadableStream<Uint8Array> => partOfFile(target, start, end);
  return { content: { digest: hash.digest(), size: written, open: openPart }, mediaType: `${LAYER}+gzip` };
}

function compressionOf([a, b, c, d]: Uint8Array): 'gzip' | 'zstd' | undefined {
  if (a === 0x1f && b === 0x8b) return 'gzip';
  return a === 0x28 && b === 0xb5 && c === 0x2f && d === 0xfd ? 'zstd' : undefined;
}
