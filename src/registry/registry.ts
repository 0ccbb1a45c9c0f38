/**
 * The interface of a registry, wherever its bytes are. HTTP handlers know only this interface; `compose.ts` composes
 * the implementations. Each method lists the errors that it throws as {@link OciError}. In addition, any method can
 * throw UNAVAILABLE, and any that takes a `ReadAccess` can throw `NotPublic`.
 */
import type { Algorithm, Digest } from '../oci/digest.ts';
import type { Manifest } from '../oci/manifest.ts';
import type { MediaType } from '../oci/media-type.ts';
import type { Reference, RepositoryName, Tag } from '../oci/reference.ts';
import type { ByteRange } from '../stores/bucket.ts';
import type { Actor } from '../stores/organizations/audit-rows.ts';
import type { Body } from '../stores/uploads/blob-writer.ts';
import type { ImageKind } from '../stores/manifests/image-measure.ts';
import { ChunkOutOfOrder, type PresentedSession, type UploadProgress } from '../stores/uploads/upload-session.ts';
import type { Conditional } from './conditional.ts';
import type { Precondition } from '../oci/precondition.ts';
import type { ListableRepositories, PullableRepositories, ReadAccess } from './access.ts';

export { ChunkOutOfOrder };
export type { Actor, Body, ByteRange, ImageKind, PresentedSession, UploadProgress };

export interface ManifestDescriptor {
  readonly digest: Digest;
  readonly mediaType: MediaType;
  /** Bytes. */
  readonly size: number;
  /** How a mirror knows what the tag means. Undefined for everything else. */
  readonly mirrored?: Mirrored;
}

/** How a mirror knows what a tag means. */
export interface Mirrored {
  /**
   * `fresh` if the upstream was asked within the mirror's `ttl`, `stale` if it has yet to be asked again, `failing` if
   * it was asked and did not answer.
   */
  readonly freshness: 'fresh' | 'stale' | 'failing';
  /** The time since the upstream last answered for the tag; undefined if this store never asked it. */
  readonly ageSeconds: number | undefined;
}

export interface StoredManifest extends ManifestDescriptor {
  readonly text: string;
}

export interface BlobDescriptor {
  readonly digest: Digest;
  /** Bytes. */
  readonly size: number;
}

export interface StoredBlob extends BlobDescriptor {
  /**
   * Opens the bytes, or a range of them that lies within the blob.
   * @throws OciError BLOB_UNKNOWN, UNAVAILABLE
   */
  open(range?: ByteRange): Promise<ReadableStream<Uint8Array>>;
}

/**
 * Reserves memory for documents that are not small, before they are read.
 * @param bytes the size of all of them together
 * @throws OciError UNAVAILABLE if there is no room
 */
export type MakeRoom = (bytes: number) => Promise<void>;

interface Reader {
  /**
   * Reads a manifest with its document.
   * @throws OciError MANIFEST_UNKNOWN, NAME_UNKNOWN
   */
  getManifest(access: ReadAccess, reference: Reference, makeRoom?: MakeRoom): Promise<StoredManifest>;
  /**
   * Looks up a manifest without its document.
   * @param mayPush whether the caller may push. If so, a manifest is reported as unknown when the registry cannot tell,
   *   so that the client pushes it.
   * @throws OciError MANIFEST_UNKNOWN, NAME_UNKNOWN
   */
  resolveManifest(access: ReadAccess, reference: Reference, mayPush: boolean): Promise<ManifestDescriptor>;
  /**
   * Looks up a blob whose bytes the caller wants to open.
   * @param opensWhole whether the caller will open all of it, once: then its bytes may be asked for early. False by
   *   default
   * @throws OciError BLOB_UNKNOWN
   */
  getBlob(access: ReadAccess, digest: Digest, opensWhole?: boolean): Promise<StoredBlob>;
  /**
   * Looks up a blob without opening its bytes.
   * @param mayPush whether the caller may push. If so, the answer promises to keep the blob for the grace time.
   * @throws OciError BLOB_UNKNOWN
   */
  resolveBlob(access: ReadAccess, digest: Digest, mayPush: boolean): Promise<BlobDescriptor>;
}

interface Writer {
  /**
   * Writes a manifest and its tags, and returns the version that all of them get.
   * @param by the author of the tags; Berth itself by default
   * @throws OciError MANIFEST_BLOB_UNKNOWN, with one entry per blob that the repository lacks; MANIFEST_INVALID, with
   *   one entry per descriptor whose size differs from that of the stored blob; QUOTA_EXCEEDED, PRECONDITION_FAILED
   */
  putManifest(
    repository: RepositoryName,
    digest: Digest,
    manifest: Manifest,
    size: number,
    tags: readonly Tag[],
    by?: Actor,
    condition?: Conditional,
  ): Promise<number>;
  /** Mounts a blob from another repository, and returns whether it is in the repository now. */
  mountBlob(repository: RepositoryName, digest: Digest, source: ReadAccess | PullableRepositories): Promise<boolean>;
  /**
   * Writes a blob that arrives in a single request.
   * @throws OciError DIGEST_INVALID
   */
  putBlob(repository: RepositoryName, digest: Digest, body: Body | undefined): Promise<void>;
  /** Opens an upload session. */
  openUpload(repository: RepositoryName, subject: string, algorithm: Algorithm): Promise<UploadProgress>;
  /**
   * Adds a chunk to an upload.
   * @param start the offset at which the client says the chunk starts; undefined to append
   * @throws OciError UPLOAD_UNKNOWN, ChunkOutOfOrder
   */
  appendChunk(session: PresentedSession, start: number | undefined, body: Body | undefined): Promise<UploadProgress>;
  /**
   * Finishes an upload: adds the last chunk, if there is one, and commits the blob.
   * @throws OciError DIGEST_INVALID, UPLOAD_UNKNOWN, ChunkOutOfOrder
   */
  finishUpload(
    session: PresentedSession,
    digest: Digest,
    start: number | undefined,
    body: Body | undefined,
  ): Promise<void>;
  /**
   * Returns how far an upload has come.
   * @throws OciError UPLOAD_UNKNOWN
   */
  uploadProgress(session: PresentedSession): Promise<UploadProgress>;
  /**
   * Cancels an upload, and deletes its bytes.
   * @throws OciError UPLOAD_UNKNOWN
   */
  cancelUpload(session: PresentedSession): Promise<void>;
}

/** Every deletion is recorded in the audit log, with the actor who asked for it: Berth itself by default. */
interface Deleter {
  /**
   * Deletes a tag, but not its manifest.
   * @throws OciError MANIFEST_UNKNOWN, NAME_UNKNOWN, PRECONDITION_FAILED
   */
  deleteTag(repository: RepositoryName, tag: Tag, by?: Actor, precondition?: Precondition): Promise<void>;
  /**
   * Deletes a manifest and all its tags.
   * @throws OciError MANIFEST_UNKNOWN, NAME_UNKNOWN, MANIFEST_IN_USE, PRECONDITION_FAILED
   */
  deleteManifest(repository: RepositoryName, digest: Digest, by?: Actor, precondition?: Precondition): Promise<void>;
  /**
   * Removes a blob from a repository. Other repositories keep it.
   * @throws OciError BLOB_UNKNOWN, BLOB_IN_USE
   */
  deleteBlob(repository: RepositoryName, digest: Digest, by?: Actor): Promise<void>;
  /**
   * Deletes a repository with everything in it.
   * @throws OciError NAME_UNKNOWN
   */
  deleteRepository(repository: RepositoryName, by?: Actor): Promise<void>;
}

/** A page of a list. `last` is set if more items may follow: the next page starts after it. */
export interface Page<Item> {
  readonly items: readonly Item[];
  readonly last: string | undefined;
}

export interface PageRequest {
  /** The most items of the page. A page can be shorter and still not be the last. */
  readonly limit: number;
  /** The `last` of the previous page; '' for the first page. */
  readonly after: string;
  /** Whether a mirror's upstream is asked for its list, in place of what is stored here. */
  readonly fromUpstream?: boolean;
}

export interface Referrer extends ManifestDescriptor {
  /** '' for none. */
  readonly artifactType: string;
  readonly annotations: Record<string, unknown> | undefined;
}

/** An image in a list across repositories, with its tags. */
export interface ListedImage {
  readonly repository: RepositoryName;
  readonly digest: Digest;
  /** The image's tags, if any, and when each was pushed, in milliseconds since the epoch. */
  readonly tags: readonly { readonly name: Tag; readonly pushedAt: number }[];
  /** When the manifest was last pushed, in milliseconds since the epoch. */
  readonly createdAt: number;
  /** Bytes of the image's distinct blobs. For an index, those of every manifest that it lists and the store has. */
  readonly size: number;
  readonly kind: ImageKind;
}

export type WantedImages = readonly { readonly access: ReadAccess; readonly reference: Reference }[];

interface Lister {
  /**
   * Lists the tags of a repository, in byte order.
   * @throws OciError NAME_UNKNOWN
   */
  listTags(access: ReadAccess, page: PageRequest): Promise<Page<Tag>>;
  /** Lists the manifests whose subject is `subject`. The list of an unknown repository is empty. */
  listReferrers(
    access: ReadAccess,
    subject: Digest,
    artifactType: string | undefined,
    page: PageRequest,
    makeRoom?: MakeRoom,
  ): Promise<Page<Referrer>>;
  /** Lists the repositories that hold a manifest, in byte order. */
  listRepositories(pullable: PullableRepositories, page: PageRequest): Promise<Page<RepositoryName>>;
  /**
   * Lists the images in the namespace's own store, by repository and tag, followed by untagged images if asked for. The
   * limit of a page counts tags, so an image with tags on two pages appears on both.
   * @param withCentral whether a node also shows what central has, if central answers; false by default
   */
  listImages(
    repositories: ListableRepositories,
    withUntagged: boolean,
    page: PageRequest,
    withCentral?: boolean,
  ): Promise<Page<ListedImage>>;
  /**
   * Lists the images in the namespace's own store that have a given tag or digest. The limit of a page counts the
   * repositories that were searched.
   */
  listImagesOf(repositories: ListableRepositories, reference: Reference, page: PageRequest): Promise<Page<ListedImage>>;
  /**
   * Returns those of the given images that exist and may be read, each once.
   * @param withCentral whether a node also shows what only central has, and so everything that it would serve
   */
  findImages(images: WantedImages, withCentral: boolean): Promise<readonly ListedImage[]>;
}

export interface Registry extends Reader, Writer, Deleter, Lister {}
