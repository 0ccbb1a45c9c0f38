/** A repository of this registry as the source of a copy, within limits and within a run's share of work. */
import type { Slice } from '../upstream/slice.ts';
import { piecesOf } from '../oci-client/answer.ts';
import { streamOf } from '../oci-client/blob-download.ts';
import type { Content } from '../oci-client/content.ts';
import { ContentError } from '../oci-client/content-error.ts';
import type { ImageSource } from '../oci-client/copy-image.ts';
import { type Descriptor, linksOf, type StoredManifest } from '../oci-client/descriptor.ts';
import type { Digest } from '../oci/digest.ts';
import { MAX_MANIFEST_BYTES } from '../oci/manifest-limits.ts';
import type { RepositoryName } from '../oci/reference.ts';
import { ifKnown } from '../registry/answers.ts';
import type { Registry } from '../registry/registry.ts';

/** The most manifests of an image that are read for one copy. */
const MAX_MANIFESTS = 200;
/** The most bytes of those manifests, which are in memory together. */
export const MAX_IMAGE_BYTES = MAX_MANIFEST_BYTES;

export class StoredSource implements ImageSource {
  readonly #registry: Registry;
  readonly #repository: RepositoryName;
  readonly #slice: Slice;
  readonly #read = new Map<Digest, StoredManifest>();
  #bytes = 0;
  #failure: unknown;

  constructor(registry: Registry, repository: RepositoryName, slice: Slice) {
    this.#registry = registry;
    this.#repository = repository;
    this.#slice = slice;
  }

  /** The reason why this registry could not read a blob. The upstream only sees that the bytes end. */
  get failure(): unknown {
    return this.#failure;
  }

  /** Reads a manifest; undefined if the repository has none. @throws ContentError if the image is too large */
  async find(digest: Digest): Promise<StoredManifest | undefined> {
    const known = this.#read.get(digest);
    if (known !== undefined) return known;
    this.#slice.requireLeft();
    const found = await ifKnown(this.#registry.getManifest(this.#access, { kind: 'digest', digest }));
    if (found === undefined) return undefined;
    this.#bytes += found.size;
    if (this.#read.size >= MAX_MANIFESTS || this.#bytes > MAX_IMAGE_BYTES)
      throw new ContentError(
        `the image has more than ${MAX_MANIFESTS} manifests, or ${MAX_IMAGE_BYTES / 1024 ** 2} MiB of them`,
      );
    const bytes = Uint8Array.from(new TextEncoder().encode(found.text));
    const manifest = { digest, mediaType: found.mediaType, bytes };
    this.#read.set(digest, manifest);
    return manifest;
  }

  async readManifest({ digest }: Pick<Descriptor, 'digest'>): Promise<StoredManifest> {
    const found = await this.find(digest);
    if (found === undefined) throw new ContentError(`${this.#repository} has no manifest ${digest} any more`);
    return found;
  }

  /**
   * Returns the manifests below an index that are wanted and that the repository has. A push may leave some out.
   * @param isWanted returns whether a manifest is wanted
   */
  async manifestsBelow(root: StoredManifest, isWanted: (digest: Digest) => Promise<boolean>): Promise<Set<Digest>> {
    const found = new Set<Digest>();
    const rest = [root];
    for (let manifest = rest.pop(); manifest !== undefined; manifest = rest.pop()) {
      for (const { digest } of linksOf(manifest).children) {
        const child = !found.has(digest) && (await isWanted(digest)) ? await this.find(digest) : undefined;
        if (child === undefined) continue;
        found.add(digest);
        rest.push(child);
      }
    }
    return found;
  }

  contentOf({ digest, size }: Descriptor): Content {
    return { digest, size, open: (start, end) => streamOf(this.#bytesOf(digest, start, end)) };
  }

  /** Returns none: referrers are pushed, and so forwarded, by themselves. */
  referrers(): Promise<readonly Descriptor[]> {
    return Promise.resolve([]);
  }

  async *#bytesOf(digest: Digest, start: number, end: number): AsyncGenerator<Uint8Array> {
    try {
      const blob = await this.#registry.getBlob(this.#access, digest);
      yield* piecesOf(await blob.open({ offset: start, length: end - start }));
    } catch (error) {
      this.#failure ??= error;
      throw error;
    }
  }

  get #access() {
    return { repository: this.#repository, condition: 'granted' } as const;
  }
}
