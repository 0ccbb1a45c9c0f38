/**
 * A repository of this registry as the end of a copy. Everything is written through the operations of a push, so an
 * import is checked and limited as a push is. What is there already is not written again.
 */
import { ContentError } from '../oci-client/content-error.ts';
import type { Content } from '../oci-client/content.ts';
import type { BlobEnd, ImageDestination } from '../oci-client/copy-image.ts';
import type { StoredManifest } from '../oci-client/descriptor.ts';
import { type Digest, parseDigest } from '../oci/digest.ts';
import { OciError } from '../oci/errors.ts';
import { parseManifest } from '../oci/manifest.ts';
import { parseTag, type Reference, type RepositoryName, type Tag } from '../oci/reference.ts';
import type { Actor, Registry } from '../registry/registry.ts';
import { transferBlob } from './blob-transfer.ts';
import type { ImportsState } from './import-state.ts';
import type { Slice } from './slice.ts';

export interface DestinationOptions {
  readonly registry: Registry;
  readonly repository: RepositoryName;
  readonly state: ImportsState;
  /** The id of the import. */
  readonly id: string;
  readonly slice: Slice;
  /** The author of the tags. */
  readonly by: Actor;
  /** Aborted when the import is cancelled. */
  readonly signal: AbortSignal;
  /** Whether nothing is written. Then the counts say what would be. */
  readonly isDry: boolean;
}

export class StoreDestination implements ImageDestination {
  readonly #options: DestinationOptions;

  constructor(options: DestinationOptions) {
    this.#options = options;
  }

  hasManifest(digest: Digest): Promise<boolean> {
    return this.#shows({ kind: 'digest', digest }, digest);
  }

  /** Returns whether a tag names this manifest. */
  hasTag(tag: Tag, digest: Digest): Promise<boolean> {
    return this.#shows({ kind: 'tag', tag }, digest);
  }

  async putBlob(content: Content, onBytes: (bytes: number) => void): Promise<BlobEnd> {
    const { registry, repository, state, id, isDry } = this.#options;
    this.#requireWanted();
    const digest = parseDigest(content.digest, 'the digest of a layer');
    if (await this.#hasBlob(digest)) return 'exists';
    // Only from a repository to which this import brought the bytes: a digest alone must not open another one.
    const elsewhere = state.copies.repositoryWith(id, digest);
    if (elsewhere !== undefined) {
      const access = { repository: elsewhere, condition: 'granted' } as const;
      if (isDry || (await registry.mountBlob(repository, digest, access))) return 'mounted';
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
    state.count(id, 'blobs copied');
    state.count(id, 'bytes copied', content.size);
    return 'done';
  }

  async putManifest({ bytes, mediaType, digest }: StoredManifest, tag: string | undefined): Promise<void> {
    const { registry, repository, state, id, isDry, by } = this.#options;
    this.#requireWanted();
    const tags = tag === undefined ? [] : [parseTag(tag)];
    const [first] = tags;
    if (first === undefined ? await this.hasManifest(digest) : await this.hasTag(first, digest)) return;
    const manifest = parseManifest(bytes, mediaType);
    if (!isDry) await registry.putManifest(repository, digest, manifest, bytes.byteLength, tags, by);
    state.copies.noteManifestWritten(id, digest);
    state.count(id, 'manifests copied');
  }

  /** @throws SliceOver, or the reason of the signal */
  #requireWanted(): void {
    const { slice, signal } = this.#options;
    signal.throwIfAborted();
    slice.requireLeft();
  }

  async #shows(reference: Reference, digest: Digest): Promise<boolean> {
    const { registry, repository } = this.#options;
    const access = { repository, condition: 'granted' } as const;
    const found = await orAbsent(registry.resolveManifest(access, reference, false), MANIFEST_IS_ABSENT);
    return found?.digest === digest;
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
