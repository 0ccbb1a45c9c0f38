/** The questions of a mirrored registry to the mirror's Durable Objects. Only these talk to the upstream. */
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
  /** When it did so, in milliseconds since the epoch. */
  readonly checkedAt: number;
  readonly freshness: Mirrored['freshness'];
}

/** The result if the upstream does not answer for a tag, and has not described it to this store before. */
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
  /** Forwards it. @param version of the commit */
  committed(version: number): Promise<void>;
  /** Forgets it. */
  refused(): void;
}

export interface Upstreams {
  /**
   * Returns the mirror that a repository belongs to, if any. Only the first call of an isolate, or its first after a
   * time of idleness, waits for the list of mirrors.
   * @throws OciError UNAVAILABLE if that list cannot be read
   */
  of(repository: RepositoryName): Mirror | undefined | Promise<Mirror | undefined>;
  /**
   * Resolves a tag, and asks the upstream first where it has to.
   * @returns undefined if the upstream has no such tag
   * @throws OciError UNAVAILABLE if the upstream fails and its last answer is too old
   */
  tag(mirror: Mirror, repository: RepositoryName, tag: Tag): Promise<MirroredTag | NeverAnswered | undefined>;
  /** Forgets a tag that was removed here, so that a later pull brings it again. */
  forgetTag(mirror: Mirror, repository: RepositoryName, tag: Tag): void;
  /**
   * Asks the upstream for a manifest that the registry beneath lacks. The mirror stores it after its blobs.
   * @returns undefined if the upstream has no such manifest
   * @throws OciError UNAVAILABLE
   */
  manifest(
    mirror: Mirror,
    repository: RepositoryName,
    digest: Digest,
    makeRoom: MakeRoom | undefined,
  ): Promise<StoredManifest | undefined>;
  /** Does the same without the document, and stores nothing. */
  describe(mirror: Mirror, repository: RepositoryName, digest: Digest): Promise<ManifestDescriptor | undefined>;
  /**
   * Returns the size of a blob at the upstream, in bytes; undefined if it has none.
   * @throws OciError UNAVAILABLE
   */
  blobSize(mirror: Mirror, repository: RepositoryName, digest: Digest): Promise<number | undefined>;
  /**
   * Opens a blob at the upstream, or a range of it, without waiting until the mirror has stored it.
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
   * Lists the referrers that the upstream has for a manifest, in the order of their digests.
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
   * Notes a push before its commit. From then on nothing can keep a committed push from being forwarded.
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
