/**
 * A repository of this registry as the end of a copy. Everything is written through the operations of a push, so an
 * import is checked and limited as a push is. Blobs and manifests that the repository has are not written again.
 */
import { ContentError } from '../oci-client/content-error.ts';
import type { Content } from '../oci-client/content.ts';
import type { BlobEnd, ImageDestination } from '../oci-client/copy-image.ts';
import { type Descriptor, linksOf, type StoredManifest } from '../oci-client/descriptor.ts';
import { type Digest, parseDigest } from '../oci/digest.ts';
import { OciError } from '../oci/errors.ts';
import { parseManifest } from '../oci/manifest.ts';
import { shapeOf } from '../oci/media-type.ts';
import { parseTag, type Reference, type RepositoryName, type Tag } from '../oci/reference.ts';
import type { Actor, ManifestDescriptor, Registry } from '../registry/registry.ts';
import { transferBlob } from './blob-transfer.ts';
import type { ImportsState } from './import-state.ts';
import type { Slice } from '../upstream/slice.ts';

export interface DestinationOptions {
  readonly registry: Registry;
  readonly repository: RepositoryName;
  readonly state: ImportsState;
  /** The id of the import. */
  readonly id: string;
  /** The image that is copied, as {@link imageOf} names it. */
  readonly image: string;
  readonly slice: Slice;
  /** The author of the tags. */
  readonly by: Actor;
  /** Aborted when the import is cancelled. */
  readonly signal: AbortSignal;
  /** Whether to count the blobs and manifests that would be written, and write none. */
  readonly isDry: boolean;
}

/** Chooses the manifests of an index that are wanted. */
export type SelectChildren = (children: readonly Descriptor[]) => readonly Descriptor[];

export class StoreDestination implements ImageDestination {
  readonly #options: DestinationOptions;

  constructor(options: DestinationOptions) {
    this.#options = options;
  }

  async hasManifest(digest: Digest): Promise<boolean> {
    return (await this.#resolve({ kind: 'digest', digest })) !== undefined;
  }

  /**
   * Returns whether a tag names this manifest, and the repository has all of its wanted content. Of an index, only the
   * manifests that `select` chooses are wanted.
   */
  async hasImage(tag: Tag, digest: Digest, select: SelectChildren): Promise<boolean> {
    const found = await this.#resolve({ kind: 'tag', tag });
    return found?.digest === digest && this.#isWhole(found, select);
  }

  async #isWhole({ digest, mediaType }: ManifestDescriptor, select: SelectChildren): Promise<boolean> {
    if (shapeOf(mediaType) !== 'index') return true;
    const { registry, repository } = this.#options;
    const access = { repository, condition: 'granted' } as const;
    const index = await orAbsent(registry.getManifest(access, { kind: 'digest', digest }), MANIFEST_IS_ABSENT);
    if (index === undefined) return false;
    const { children } = linksOf({ digest, bytes: new TextEncoder().encode(index.text) });
    for (const child of select(children)) {
      this.#requireWanted();
      const found = await this.#resolve({ kind: 'digest', digest: child.digest });
      if (found === undefined || !(await this.#isWhole(found, select))) return false;
    }
    return true;
  }

  async putBlob(content: Content, onBytes: (bytes: number) => void): Promise<BlobEnd> {
    const { registry, repository, state, id, image, isDry } = this.#options;
    this.#requireWanted();
    const digest = parseDigest(content.digest, 'the digest of a layer');
    // Mount only from a repository to which this import brought the bytes: a digest alone must give access to no other.
    const source = state.copies.repositoryWith(id, digest);
    if (source === repository || state.copies.isPresent(id, image, digest)) return 'exists';
    if (await this.#hasBlob(digest)) {
      state.copies.notePresent(id, image, digest);
      return 'exists';
    }
    if (source !== undefined) {
      const access = { repository: source, condition: 'granted' } as const;
      if (isDry || (await registry.mountBlob(repository, digest, access))) {
        state.copies.notePresent(id, image, digest);
        return 'mounted';
      }
    }
    if (!isDry) {
      const record = {
        read: () => state.copies.upload(id, repository, digest),
        write: (reference: string | undefined) => state.copies.setUpload(id, repository, digest, reference),
      };
      const mayGoOn = (): void => this.#requireWanted();
      const transfer = { registry, repository, subject: `import:${id}`, record, onBytes, mayGoOn };
      await transferBlob(content, transfer).catch((error: unknown) => {
        const isWrong = error instanceof OciError && error.kind === 'DIGEST_INVALID';
        throw isWrong ? new ContentError(`the upstream sent other bytes than those of ${digest}`) : error;
      });
    }
    state.copies.noteBlob(id, digest, repository);
    state.run.count(id, 'blobs copied');
    state.run.count(id, 'bytes copied', content.size);
    return 'done';
  }

  async putManifest({ bytes, mediaType, digest }: StoredManifest, tag: string | undefined): Promise<void> {
    const { registry, repository, state, id, image, isDry, by } = this.#options;
    this.#requireWanted();
    const tags = tag === undefined ? [] : [parseTag(tag)];
    const [first] = tags;
    const there = await this.#resolve(first === undefined ? { kind: 'digest', digest } : { kind: 'tag', tag: first });
    if (there?.digest === digest) return;
    const manifest = parseManifest(bytes, mediaType);
    if (!isDry) {
      const putting = registry.putManifest(repository, digest, manifest, bytes.byteLength, tags, by);
      await putting.catch((error: unknown) => {
        // Blobs that no manifest names are collected after a while.
        if (error instanceof OciError && error.kind === 'MANIFEST_BLOB_UNKNOWN') state.copies.forgetBlobs(id);
        throw error;
      });
    }
    state.copies.noteManifestWritten(id, image, digest);
    state.run.count(id, 'manifests copied');
  }

  /** @throws SliceOver, or the reason of the signal */
  #requireWanted(): void {
    const { slice, signal } = this.#options;
    signal.throwIfAborted();
    slice.requireLeft();
  }

  #resolve(reference: Reference): Promise<ManifestDescriptor | undefined> {
    const { registry, repository } = this.#options;
    const access = { repository, condition: 'granted' } as const;
    return orAbsent(registry.resolveManifest(access, reference, false), MANIFEST_IS_ABSENT);
  }

  async #hasBlob(digest: Digest): Promise<boolean> {
    const { registry, repository, isDry } = this.#options;
    const access = { repository, condition: 'granted' } as const;
    return (await orAbsent(registry.resolveBlob(access, digest, !isDry), BLOB_IS_ABSENT)) !== undefined;
  }
}

const MANIFEST_IS_ABSENT = ['MANIFEST_UNKNOWN', 'NAME_UNKNOWN'];
const BLOB_IS_ABSENT = ['BLOB_UNKNOWN', 'NAME_UNKNOWN'];

/** Returns what was found; undefined if it was refused for one of these reasons. */
async function orAbsent<Found>(found: Promise<Found>, kinds: readonly string[]): Promise<Found | undefined> {
  try {
    return await found;
  } catch (error) {
    if (error instanceof OciError && kinds.includes(error.kind)) return undefined;
    throw error;
  }
}
