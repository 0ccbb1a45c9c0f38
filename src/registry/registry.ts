/**
 * What a registry does, whoever keeps the bytes. HTTP handlers know this interface alone; implementations are composed
 * in `compose.ts`. Each method lists the errors that it throws as {@link OciError}; besides those, any can throw
 * UNAVAILABLE, and a reader {@link NotPublic}.
 */
import type { Algorithm, Digest } from '../oci/digest.ts';
import type { Manifest } from '../oci/manifest.ts';
import type { MediaType } from '../oci/media-type.ts';
import type { Reference, RepositoryName, Tag } from '../oci/reference.ts';
import type { Actor } from '../stores/organizations/audit-rows.ts';
import type { Body } from '../stores/uploads/blob-writer.ts';
import type { ImageKind } from '../stores/manifests/image-measure.ts';
import { ChunkOutOfOrder, type PresentedSession, type UploadProgress } from '../stores/uploads/upload-session.ts';
import type { Conditional } from './conditional.ts';
import type { Precondition } from '../oci/precondition.ts';
import type { ListableRepositories, PullableRepositories, ReadAccess } from './access.ts';

export { ChunkOutOfOrder };
export type { Actor, Body, ImageKind, PresentedSession, UploadProgress };

export interface ManifestDescriptor {
  readonly digest: Digest;
  readonly mediaType: MediaType;
  /** Bytes. */
  readonly size: number;
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
  /** Opens the bytes, or a range of them that lies within the blob. @throws OciError BLOB_UNKNOWN, UNAVAILABLE */
  open(range?: { readonly offset: number; readonly length: number }): Promise<ReadableStream<Uint8Array>>;
}

/**
 * Called before documents are read that are not small, with the bytes of all. @throws OciError UNAVAILABLE where there
 * is no room
 */
export type MakeRoom = (bytes: number) => Promise<void>;

export interface Reader {
  /** @throws OciError MANIFEST_UNKNOWN, NAME_UNKNOWN */
  getManifest(access: ReadAccess, reference: Reference, makeRoom?: MakeRoom): Promise<StoredManifest>;
  /**
   * @param mayPush whether the caller may push: then what cannot be told is unknown, so that the client pushes it
   * @throws OciError MANIFEST_UNKNOWN, NAME_UNKNOWN
   */
  resolveManifest(access: ReadAccess, reference: Reference, mayPush: boolean): Promise<ManifestDescriptor>;
  /** @throws OciError BLOB_UNKNOWN */
  getBlob(access: ReadAccess, digest: Digest): Promise<StoredBlob>;
  /**
   * @param mayPush whether the caller may push: then the answer is a promise to keep the blob for the grace time
   * @throws OciError BLOB_UNKNOWN
   */
  resolveBlob(access: ReadAccess, digest: Digest, mayPush: boolean): Promise<BlobDescriptor>;
}

export interface Writer {
  /**
   * Answers the version of the write, of the manifest and all the tags.
   * @throws OciError MANIFEST_BLOB_UNKNOWN, with one entry per blob that the repository lacks; MANIFEST_INVALID, with
   *   one per descriptor whose size contradicts what is there; QUOTA_EXCEEDED, PRECONDITION_FAILED
   */
  putManifest(
    repository: RepositoryName,
    digest: Digest,
    manifest: Manifest,
    size: number,
    tags: readonly Tag[],
    condition?: Conditional,
  ): Promise<number>;
  /** Answers whether the blob is in the repository now. */
  mountBlob(repository: RepositoryName, digest: Digest, source: ReadAccess | PullableRepositories): Promise<boolean>;
  /** @throws OciError DIGEST_INVALID */
  putBlob(repository: RepositoryName, digest: Digest, body: Body | undefined): Promise<void>;
  openUpload(repository: RepositoryName, subject: string, algorithm: Algorithm): Promise<UploadProgress>;
  /** @param start undefined to append. @throws OciError UPLOAD_UNKNOWN, ChunkOutOfOrder */
  appendChunk(session: PresentedSession, start: number | undefined, body: Body | undefined): Promise<UploadProgress>;
  /** @throws OciError DIGEST_INVALID, UPLOAD_UNKNOWN, ChunkOutOfOrder */
  finishUpload(
    session: PresentedSession,
    digest: Digest,
    start: number | undefined,
    body: Body | undefined,
  ): Promise<void>;
  /** @throws OciError UPLOAD_UNKNOWN */
  uploadProgress(session: PresentedSession): Promise<UploadProgress>;
  /** @throws OciError UPLOAD_UNKNOWN */
  cancelUpload(session: PresentedSession): Promise<void>;
}

/** Each deletion is in the audit log, with who asked for it: Berth itself, unless told. */
export interface Deleter {
  /** The tag alone. @throws OciError MANIFEST_UNKNOWN, NAME_UNKNOWN, PRECONDITION_FAILED */
  deleteTag(repository: RepositoryName, tag: Tag, by?: Actor, precondition?: Precondition): Promise<void>;
  /**
   * The manifest, and with it all its tags. @throws OciError MANIFEST_UNKNOWN, NAME_UNKNOWN, MANIFEST_IN_USE,
   * PRECONDITION_FAILED
   */
  deleteManifest(repository: RepositoryName, digest: Digest, by?: Actor, precondition?: Precondition): Promise<void>;
  /** @throws OciError BLOB_UNKNOWN, BLOB_IN_USE */
  deleteBlob(repository: RepositoryName, digest: Digest, by?: Actor): Promise<void>;
  /** All of it. @throws OciError NAME_UNKNOWN */
  deleteRepository(repository: RepositoryName, by?: Actor): Promise<void>;
}

/** A page of a list. `last` is set where more may follow: the next page starts after it. */
export interface Page<Item> {
  readonly items: readonly Item[];
  readonly last: string | undefined;
}

export interface PageRequest {
  /** At most as many items; a page can be shorter and still not be the last. */
  readonly limit: number;
  /** Start after this one; '' for the start. */
  readonly after: string;
}

export interface Referrer extends ManifestDescriptor {
  /** '' for none. */
  readonly artifactType: string;
  readonly annotations: Record<string, unknown> | undefined;
}

/** An image as lists across repositories show it, under one or more of its tags. */
export interface ListedImage {
  readonly repository: RepositoryName;
  readonly digest: Digest;
  /** With the times of their pushes, in milliseconds since the epoch, as the next; none for an image without. */
  readonly tags: readonly { readonly name: Tag; readonly pushedAt: number }[];
  /** When the manifest was last pushed. */
  readonly createdAt: number;
  /** Bytes of its distinct blobs; of an index those of all that it lists and the store has. */
  readonly size: number;
  readonly kind: ImageKind;
}

export interface Lister {
  /** In byte order. @throws OciError NAME_UNKNOWN */
  listTags(access: ReadAccess, page: PageRequest): Promise<Page<Tag>>;
  /** Manifests whose subject is `subject`; none for an unknown repository. */
  listReferrers(
    access: ReadAccess,
    subject: Digest,
    artifactType: string | undefined,
    page: PageRequest,
    makeRoom?: MakeRoom,
  ): Promise<Page<Referrer>>;
  /** Repositories that hold a manifest, in byte order. */
  listRepositories(pullable: PullableRepositories, page: PageRequest): Promise<Page<RepositoryName>>;
  /**
   * What the namespace's own store has, by repository and tag, then, if asked for, what has no tag. A page counts tags.
   * An image whose tags are on two pages is on both.
   * @param alsoFromAfar whether a node shows what central has as well, if it answers; not unless told
   */
  listImages(
    repositories: ListableRepositories,
    withUntagged: boolean,
    page: PageRequest,
    alsoFromAfar?: boolean,
  ): Promise<Page<ListedImage>>;
  /** Likewise, the images that have one tag, or digest. A page counts the repositories that were looked at. */
  listImagesOf(repositories: ListableRepositories, reference: Reference, page: PageRequest): Promise<Page<ListedImage>>;
  /**
   * Those of some images that are there, and that may be read; each once.
   * @param alsoFromAfar whether a node shows what only central has: what it would serve, as against what lies there
   */
  findImages(
    images: readonly { readonly access: ReadAccess; readonly reference: Reference }[],
    alsoFromAfar: boolean,
  ): Promise<readonly ListedImage[]>;
}

export interface Registry extends Reader, Writer, Deleter, Lister {}
