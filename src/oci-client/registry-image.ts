/** Images in a repository, as the ends of a copy. */
import type { Digest } from '../oci/digest.ts';
import { contentOf } from './blob-download.ts';
import { uploadBlob, type UploadOptions } from './blob-upload.ts';
import type { Content } from './content.ts';
import type { BlobEnd, ImageDestination, ImageSource } from './copy-image.ts';
import type { Descriptor, StoredManifest } from './descriptor.ts';
import type { Repository } from './repository.ts';

export class RegistrySource implements ImageSource {
  readonly #repository: Repository;

  constructor(repository: Repository) {
    this.#repository = repository;
  }

  async readManifest({ digest }: Pick<Descriptor, 'digest'>): Promise<StoredManifest> {
    const manifest = await this.#repository.getManifest(digest);
    if (manifest !== undefined) return manifest;
    throw new Error(`${this.#repository.host.url.host}/${this.#repository.name} lacks the manifest ${digest}`);
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

  putManifest(manifest: StoredManifest, tag: string | undefined): Promise<void> {
    return this.#repository.putManifest(tag ?? manifest.digest, manifest);
  }
}
