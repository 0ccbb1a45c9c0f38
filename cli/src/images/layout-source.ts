/** An image in an OCI layout (image-spec, "OCI Image Layout Specification"), in a folder or in an archive. */
import { algorithmOf, type Digest, hexOf } from '../../../src/oci/digest.ts';
import type { Content } from '../../../src/oci-client/content.ts';
import type { ImageSource } from '../../../src/oci-client/copy-image.ts';
import {
  type Descriptor,
  linksOf,
  mediaTypeOf,
  objectIn,
  parseDescriptor,
  type StoredManifest,
} from '../../../src/oci-client/descriptor.ts';
import { Failure, WrongUse } from '../errors.ts';
import { digestOfBytes } from '../hash.ts';
import type { ImageFiles } from './files.ts';

export const REF_NAME = 'org.opencontainers.image.ref.name';

export class LayoutSource implements ImageSource {
  readonly #files: ImageFiles;
  #referrers: Promise<ReadonlyMap<Digest, readonly Descriptor[]>> | undefined;

  constructor(files: ImageFiles) {
    this.#files = files;
  }

  /**
   * Returns the manifest that a name means.
   * @param name a tag or a digest; undefined for the only image
   * @throws WrongUse if that is not exactly one
   */
  async root(name: string | undefined): Promise<StoredManifest> {
    const images = await this.#images();
    const found = name === undefined ? images : images.filter((image) => isNamed(image, name));
    const [only] = found;
    if (only !== undefined && new Set(found.map(({ digest }) => digest)).size === 1) return this.readManifest(only);
    const names = images.map(({ annotations, digest }) => annotations?.[REF_NAME] ?? digest);
    const choice = `it has ${names.length === 0 ? 'none' : names.join(', ')}`;
    throw new WrongUse(
      name === undefined
        ? `${this.#files.name}: say which image you mean, after a colon: ${choice}`
        : `${this.#files.name} has no image ${name}: ${choice}`,
    );
  }

  async readManifest({ digest, mediaType }: Pick<Descriptor, 'digest' | 'mediaType'>): Promise<StoredManifest> {
    const bytes = await this.#files.read(pathOf(digest));
    if (bytes === undefined) throw new Failure(`${this.#files.name} is incomplete: it lacks the manifest ${digest}`);
    if (digestOfBytes(algorithmOf(digest), bytes) !== digest) {
      throw new Failure(`${this.#files.name} is damaged: ${pathOf(digest)} does not have the digest of its name`);
    }
    return { bytes, digest, mediaType: mediaTypeOf(bytes, mediaType, `the manifest ${digest}`) };
  }

  contentOf({ digest, size }: Descriptor): Content {
    return { digest, size, open: (start, end) => this.#files.open(pathOf(digest), start, end) };
  }

  async referrers(digest: Digest): Promise<readonly Descriptor[]> {
    this.#referrers ??= this.#findReferrers();
    return (await this.#referrers).get(digest) ?? [];
  }

  /** A layout lists the manifests that refer to others among its images. */
  async #findReferrers(): Promise<Map<Digest, Descriptor[]>> {
    const found = new Map<Digest, Descriptor[]>();
    for (const image of await this.#listed()) {
      const { subject } = linksOf(await this.readManifest(image));
      if (subject !== undefined) found.set(subject.digest, [...(found.get(subject.digest) ?? []), image]);
    }
    return found;
  }

  /** The manifests that are listed for their own sake, unlike a signature without a name. */
  async #images(): Promise<readonly Descriptor[]> {
    const listed = await this.#listed();
    if (listed.length < 2) return listed;
    this.#referrers ??= this.#findReferrers();
    const referrers = new Set([...(await this.#referrers).values()].flat());
    return listed.filter((image) => !referrers.has(image) || image.annotations?.[REF_NAME] !== undefined);
  }

  #list: readonly Descriptor[] | undefined;

  async #listed(): Promise<readonly Descriptor[]> {
    if (this.#list !== undefined) return this.#list;
    const bytes = await this.#files.read('index.json');
    if (bytes === undefined) throw new WrongUse(`${this.#files.name} is not an OCI layout: it lacks index.json`);
    const { manifests } = objectIn(bytes, `${this.#files.name}/index.json`);
    this.#list = Array.isArray(manifests) ? manifests.map((value) => parseDescriptor(value, 'index.json')) : [];
    return this.#list;
  }
}

export function pathOf(digest: Digest): string {
  return `blobs/${algorithmOf(digest)}/${hexOf(digest)}`;
}

/** Some tools write the whole reference as the name. */
function isNamed({ annotations, digest }: Descriptor, name: string): boolean {
  const own = annotations?.[REF_NAME];
  return own === name || digest === name || (own?.endsWith(`:${name}`) ?? false);
}
