/** Images in a repository, as the ends of a copy. */
import { type Digest, digestOf } from '../oci/digest.ts';
import { OCI_IMAGE_INDEX } from '../oci/media-type.ts';
import { contentOf } from './blob-download.ts';
import { uploadBlob, type UploadOptions } from './blob-upload.ts';
import type { Content } from './content.ts';
import { ContentError } from './content-error.ts';
import type { BlobEnd, ImageDestination, ImageSource } from './copy-image.ts';
import { type Descriptor, linksOf, objectIn, type StoredManifest } from './descriptor.ts';
import { referrersTagOf, type Repository } from './repository.ts';

export class RegistrySource implements ImageSource {
  readonly #repository: Repository;

  constructor(repository: Repository) {
    this.#repository = repository;
  }

  async readManifest({ digest }: Pick<Descriptor, 'digest'>): Promise<StoredManifest> {
    const manifest = await this.#repository.getManifest(digest);
    if (manifest !== undefined) return manifest;
    throw new ContentError(`${this.#repository.host.url.host}/${this.#repository.name} lacks the manifest ${digest}`);
  }

  contentOf(blob: Descriptor): Content {
    return contentOf(this.#repository, blob);
  }

  referrers(digest: Digest): Promise<readonly Descriptor[]> {
    return this.#repository.referrers(digest);
  }
}

export class RegistryDestination implements ImageDestination {
  readonly #repository: Repository;
  readonly #options: Omit<UploadOptions, 'onBytes'>;
  #listing: Promise<void> = Promise.resolve();

  constructor(repository: Repository, options: Omit<UploadOptions, 'onBytes'>) {
    this.#repository = repository;
    this.#options = options;
  }

  async hasManifest(digest: Digest): Promise<boolean> {
    return (await this.#repository.headManifest(digest)) !== undefined;
  }

  async putBlob(content: Content, onBytes: (bytes: number) => void): Promise<BlobEnd> {
    const end = await uploadBlob(this.#repository, content, { ...this.#options, onBytes });
    return end === 'uploaded' ? 'done' : end;
  }

  async putManifest(manifest: StoredManifest, tag: string | undefined): Promise<void> {
    const isNoted = await this.#repository.putManifest(tag ?? manifest.digest, manifest);
    const { subject } = linksOf(manifest);
    if (subject === undefined || isNoted) return;
    // One list may get several entries, each of which reads and writes it.
    this.#listing = this.#listing.then(() => this.#listReferrer(subject.digest, manifest));
    await this.#listing;
  }

  /** Registries without the referrers API leave it to clients to keep the list, under a tag. */
  async #listReferrer(subject: Digest, { bytes, mediaType, digest }: StoredManifest): Promise<void> {
    const { artifactType, config, annotations } = objectIn(bytes, digest) as ReferrerFields;
    const entry = {
      mediaType,
      digest,
      size: bytes.byteLength,
      artifactType: artifactType ?? config?.mediaType,
      annotations,
    };
    const tag = referrersTagOf(subject);
    const before = await this.#repository.getManifest(tag);
    const listed = before === undefined ? [] : linksOf(before).children;
    const manifests = [...listed.filter((other) => other.digest !== digest), entry];
    const document = JSON.stringify({ schemaVersion: 2, mediaType: OCI_IMAGE_INDEX, manifests });
    const list = Uint8Array.from(new TextEncoder().encode(document));
    const index = { bytes: list, mediaType: OCI_IMAGE_INDEX, digest: await digestOf('sha256', list) };
    await this.#repository.putManifest(tag, index);
  }
}

interface ReferrerFields {
  readonly artifactType?: string;
  readonly config?: { readonly mediaType?: string };
  readonly annotations?: object;
}
