/**
 * An upstream's repository as the source of a copy. It keeps the manifests of the image under way, so that the next run
 * does not ask the upstream for them again. It limits the size of an image.
 */
import { ContentError } from '../oci-client/content-error.ts';
import type { Content } from '../oci-client/content.ts';
import type { ImageSource } from '../oci-client/copy-image.ts';
import type { Descriptor, StoredManifest } from '../oci-client/descriptor.ts';
import { RegistrySource } from '../oci-client/registry-image.ts';
import type { Repository } from '../oci-client/repository.ts';
import type { Digest } from '../oci/digest.ts';
import type { MediaType } from '../oci/media-type.ts';
import type { ImportsState } from './import-state.ts';

/** The most manifests of an image, those of its platforms and its referrers included. */
const MAX_MANIFESTS = 200;
/** The most bytes of them. They are in memory together. */
const MAX_BYTES = 8 * 1024 ** 2;

export class KeptSource implements ImageSource {
  readonly #source: RegistrySource;
  readonly #repository: Repository;
  readonly #state: ImportsState;
  readonly #id: string;
  readonly #image: string;
  #manifests = 0;
  #bytes = 0;

  /** @param id the id of the import @param image the image that is copied */
  constructor(repository: Repository, state: ImportsState, id: string, image: string) {
    this.#source = new RegistrySource(repository);
    this.#repository = repository;
    this.#state = state;
    this.#id = id;
    this.#image = image;
  }

  /** Reads the manifest that a tag names; undefined if there is none. @param digest its digest, if it is known */
  async root(tag: string, digest: Digest | undefined): Promise<StoredManifest | undefined> {
    const kept = digest === undefined ? undefined : this.#kept(digest);
    const found = kept ?? (await this.#repository.getManifest(digest ?? tag));
    return found === undefined ? undefined : this.#keep(found);
  }

  async readManifest(descriptor: Pick<Descriptor, 'digest' | 'mediaType'>): Promise<StoredManifest> {
    if (this.#manifests >= MAX_MANIFESTS) {
      throw new ContentError(`the image has more than ${MAX_MANIFESTS} manifests: choose its platforms`);
    }
    return this.#keep(this.#kept(descriptor.digest) ?? (await this.#source.readManifest(descriptor)));
  }

  contentOf(blob: Descriptor): Content {
    return this.#source.contentOf(blob);
  }

  referrers(digest: Digest): Promise<readonly Descriptor[]> {
    return this.#source.referrers(digest);
  }

  #kept(digest: Digest): StoredManifest | undefined {
    const kept = this.#state.copies.manifest(this.#id, this.#image, digest);
    return kept && { digest, mediaType: kept.mediaType as MediaType, bytes: new Uint8Array(kept.bytes) };
  }

  #keep(manifest: StoredManifest): StoredManifest {
    this.#manifests += 1;
    this.#bytes += manifest.bytes.byteLength;
    if (this.#bytes > MAX_BYTES) throw new ContentError('the manifests of the image are larger than 8 MiB together');
    this.#state.copies.keepManifest(this.#id, this.#image, manifest.digest, manifest.mediaType, manifest.bytes);
    return manifest;
  }
}
