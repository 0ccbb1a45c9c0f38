/** What a mirror's registry asks of the mirror's Durable Objects, which alone talk to the upstream. */
import type { Digest } from '../../oci/digest.ts';
import type { OciError } from '../../oci/errors.ts';
import type { RepositoryName, Tag } from '../../oci/reference.ts';
import type { Mirror } from '../../stores/organizations/mirrors.ts';
import type {
  ByteRange,
  MakeRoom,
  ManifestDescriptor,
  Mirrored,
  Page,
  PageRequest,
  Referrer,
  StoredManifest,
} from '../registry.ts';

/** A tag as the upstream last described it. */
export interface MirroredTag {
  readonly descriptor: ManifestDescriptor;
  /** When that was, in milliseconds since the epoch. */
  readonly checkedAt: number;
  readonly freshness: Mirrored['freshness'];
}

/** Said of a tag that the upstream was never asked for with success, at this store, and now can't be asked for. */
export interface NeverAnswered {
  /** UNAVAILABLE */
  readonly refusal: OciError;
}

export interface OpenedBlob {
  /** Bytes of the whole blob. */
  readonly size: number;
  readonly content: ReadableStream<Uint8Array>;
}

/** A push that was noted before its commit. */
export interface NotedPush {
  /** Has it forwarded. @param version of the commit */
  committed(version: number): Promise<void>;
  /** Forgets it. */
  refused(): void;
}

export interface Upstreams {
  /**
   * Returns the mirror that a repository belongs to; undefined if it belongs to none. Only the first call of an
   * isolate, or the first after it was idle, waits for the list of mirrors.
   * @throws OciError UNAVAILABLE if that list can't be read
   */
  of(repository: RepositoryName): Mirror | undefined | Promise<Mirror | undefined>;
  /**
   * Resolves a tag, and asks the upstream first where it has to.
   * @returns undefined if the upstream has no such tag
   * @throws OciError UNAVAILABLE if what the upstream last answered is too old
   */
  tag(mirror: Mirror, repository: RepositoryName, tag: Tag): Promise<MirroredTag | NeverAnswered | undefined>;
  /** Forgets a tag that was removed here, so that a later pull brings it again. */
  forgetTag(mirror: Mirror, repository: RepositoryName, tag: Tag): void;
  /**
   * Asks the upstream for a manifest that the registry beneath lacks, and has it stored once its blobs are.
   * @returns undefined if the upstream has no such manifest
   * @throws OciError UNAVAILABLE
   */
  manifest(
    mirror: Mirror,
    repository: RepositoryName,
    digest: Digest,
    makeRoom: MakeRoom | undefined,
  ): Promise<StoredManifest | undefined>;
  /** Does the same without the document, and has nothing stored. */
  describe(mirror: Mirror, repository: RepositoryName, digest: Digest): Promise<ManifestDescriptor | undefined>;
  /**
   * Returns the size of a blob at the upstream, in bytes; undefined if it has none.
   * @throws OciError UNAVAILABLE
   */
  blobSize(mirror: Mirror, repository: RepositoryName, digest: Digest): Promise<number | undefined>;
  /**
   * Opens a blob, or a range of it, while it is stored.
   * @returns undefined if the upstream has no such blob
   * @throws OciError UNAVAILABLE
   */
  openBlob(
    mirror: Mirror,
    repository: RepositoryName,
    digest: Digest,
    range?: ByteRange,
  ): Promise<OpenedBlob | undefined>;
  /**
   * Lists tags of the upstream, in its order.
   * @returns undefined if it has no such repository
   * @throws OciError UNAVAILABLE
   */
  listTags(mirror: Mirror, repository: RepositoryName, page: PageRequest): Promise<Page<Tag> | undefined>;
  /**
   * Lists the referrers of a manifest that the upstream has, in the order of their digests.
   * @throws OciError UNAVAILABLE
   */
  listReferrers(
    mirror: Mirror,
    repository: RepositoryName,
    subject: Digest,
    artifactType: string | undefined,
    page: PageRequest,
  ): Promise<Page<Referrer>>;
  /**
   * Notes a push that is about to be committed, and is to be forwarded: whatever happens after that, it will be.
   * @throws OciError UNAVAILABLE
   */
  notePush(
    mirror: Mirror,
    repository: RepositoryName,
    manifest: ManifestDescriptor,
    tags: readonly Tag[],
  ): Promise<NotedPush>;
  /**
   * Deletes a tag or a manifest at the upstream.
   * @returns whether it was there
   * @throws OciError METHOD_UNSUPPORTED, DENIED, UNAVAILABLE
   */
  deleteReference(mirror: Mirror, repository: RepositoryName, reference: Tag | Digest): Promise<boolean>;
}
