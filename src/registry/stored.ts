/** A registry over one store: the truth of a namespace, without any other. */
import type { Algorithm, Digest } from '../oci/digest.ts';
import { OciError } from '../oci/errors.ts';
import { annotationsOf, type Manifest } from '../oci/manifest.ts';
import type { Reference, RepositoryName, Tag } from '../oci/reference.ts';
import {
  type BlobRows,
  findBlob,
  findBlobAndPromise,
  leaseTimes,
  type LocationRow,
  mountBlob,
  type MountSource,
  unlinkBlob,
} from '../stores/blob-rows.ts';
import type { Bucket } from '../stores/bucket.ts';
import { listReferrers, listRepositories, listTags } from '../stores/list-rows.ts';
import { deleteManifest, deleteRepository, deleteTag } from '../stores/deletions.ts';
import { commitManifest } from '../stores/manifest-commit.ts';
import { findManifest, type ManifestRow, type ManifestRows, recordPull } from '../stores/manifest-rows.ts';
import type { Store } from '../stores/store.ts';
import type { CommitContext } from '../stores/tag-history.ts';
import { type UploadOptions, Uploads } from '../stores/uploads.ts';
import { NotPublic, type PullableRepositories, type ReadAccess } from './access.ts';
import type {
  Body,
  BlobDescriptor,
  ManifestDescriptor,
  Page,
  PageRequest,
  Referrer,
  Registry,
  StoredBlob,
  StoredManifest,
  UploadProgress,
  PresentedSession,
} from './registry.ts';

export interface StoredRegistryOptions extends UploadOptions {
  /** Whether tags and manifests that are written here have to be announced to central: so at a node. */
  readonly announces: boolean;
  /** The bucket of any store, to read bytes that lie elsewhere; undefined for a store that is not configured. */
  readonly bucketOf: (store: string) => Bucket | undefined;
}

type ByteRange = Parameters<StoredBlob['open']>[0];

const HOUR = 3_600_000;

/** Bytes of manifests whose annotations one page of referrers shows. */
const MAX_REFERRERS_BYTES = 4 * 1024 * 1024;

export class StoredRegistry implements Registry {
  readonly #store: Store;
  readonly #options: StoredRegistryOptions;
  readonly #uploads: Uploads;

  constructor(store: Store, options: StoredRegistryOptions) {
    this.#store = store;
    this.#options = options;
    this.#uploads = new Uploads(store, options);
  }

  async getManifest(access: ReadAccess, reference: Reference): Promise<StoredManifest> {
    const rows = await findManifest(this.#store.database, access.repository, reference, 'content');
    const row = foundManifest(access, reference, rows);
    this.#recordPull(access.repository, row);
    return { ...descriptorOf(row), text: rows.contents.join('') };
  }

  async resolveManifest(access: ReadAccess, reference: Reference): Promise<ManifestDescriptor> {
    const rows = await findManifest(this.#store.database, access.repository, reference, 'descriptor');
    return descriptorOf(foundManifest(access, reference, rows));
  }

  async getBlob(access: ReadAccess, digest: Digest): Promise<StoredBlob> {
    const rows = await findBlob(this.#store.database, access.repository, digest, this.#store.name);
    const { size, locations } = foundBlob(access, digest, rows);
    return { digest, size, open: (range) => this.#open(access, digest, locations, range) };
  }

  async resolveBlob(access: ReadAccess, digest: Digest, promise: boolean): Promise<BlobDescriptor> {
    const { database, name } = this.#store;
    const rows = promise
      ? await findBlobAndPromise(database, access.repository, digest, name, this.#lease())
      : await findBlob(database, access.repository, digest, name);
    return { digest, size: foundBlob(access, digest, rows).size };
  }

  async putManifest(
    repository: RepositoryName,
    digest: Digest,
    manifest: Manifest,
    size: number,
    tags: readonly Tag[],
  ): Promise<void> {
    const missing = await commitManifest(this.#store.database, this.#commitContext(), {
      repository,
      digest,
      manifest,
      size,
      tags,
    });
    if (missing.length > 0) {
      throw new OciError('MANIFEST_BLOB_UNKNOWN', {
        entries: missing.map((blob) => ({
          message: `the manifest references ${blob}, which ${repository} does not have: push it first`,
          detail: { digest: blob },
        })),
      });
    }
  }

  mountBlob(repository: RepositoryName, digest: Digest, source: ReadAccess | PullableRepositories): Promise<boolean> {
    const from: MountSource =
      'repository' in source
        ? { repository: source.repository, onlyIfPublic: source.condition === 'if-public' }
        : { ranges: source.ranges };
    return mountBlob(this.#store.database, { repository, digest, store: this.#store.name, lease: this.#lease() }, from);
  }

  putBlob(repository: RepositoryName, digest: Digest, body: Body | undefined): Promise<void> {
    return this.#uploads.putWhole(repository, digest, body);
  }

  openUpload(repository: RepositoryName, subject: string, algorithm: Algorithm): Promise<UploadProgress> {
    return this.#uploads.open(repository, subject, algorithm);
  }

  appendChunk(session: PresentedSession, start: number | undefined, body: Body | undefined): Promise<UploadProgress> {
    return this.#uploads.append(session, start, body);
  }

  finishUpload(session: PresentedSession, digest: Digest, start: number | undefined, body: Body | undefined): Promise<void> {
    return this.#uploads.finish(session, digest, start, body);
  }

  uploadProgress(session: PresentedSession): Promise<UploadProgress> {
    return this.#uploads.progress(session);
  }

  cancelUpload(session: PresentedSession): Promise<void> {
    return this.#uploads.cancel(session);
  }

  async deleteTag(repository: RepositoryName, tag: Tag): Promise<void> {
    if (await deleteTag(this.#store.database, this.#commitContext(), repository, tag)) return;
    throw new OciError('MANIFEST_UNKNOWN', { detail: { name: repository, tag } });
  }

  async deleteManifest(repository: RepositoryName, digest: Digest): Promise<void> {
    if (await deleteManifest(this.#store.database, this.#commitContext(), repository, digest)) return;
    throw new OciError('MANIFEST_UNKNOWN', { detail: { name: repository, digest } });
  }

  async deleteBlob(repository: RepositoryName, digest: Digest): Promise<void> {
    const result = await unlinkBlob(this.#store.database, repository, digest);
    if (result.outcome === 'unknown') throw new OciError('BLOB_UNKNOWN', { detail: { digest } });
    if (result.outcome === 'referenced') throw new OciError('BLOB_IN_USE', { detail: { digest, manifest: result.by } });
  }

  async deleteRepository(repository: RepositoryName): Promise<void> {
    if (await deleteRepository(this.#store.database, this.#commitContext(), repository)) return;
    throw new OciError('NAME_UNKNOWN', { detail: { name: repository } });
  }

  async listTags(access: ReadAccess, { limit, after }: PageRequest): Promise<Page<Tag>> {
    // One more than asked for: it says whether a page follows.
    const found = await listTags(this.#store.database, access.repository, after, limit + 1);
    if (access.condition === 'if-public' && !found.public) throw new NotPublic();
    if (!found.exists) throw new OciError('NAME_UNKNOWN', { detail: { name: access.repository } });
    return pageOf(found.tags, limit, (tag) => tag);
  }

  async listReferrers(
    access: ReadAccess,
    subject: Digest,
    artifactType: string | undefined,
    { limit, after }: PageRequest,
  ): Promise<Page<Referrer>> {
    const separator = after.lastIndexOf('@');
    const position = { artifactType: after.slice(0, Math.max(0, separator)), digest: after.slice(separator + 1) };
    const found = await listReferrers(this.#store.database, access.repository, subject, {
      artifactType,
      after: position,
      limit,
      maxBytes: MAX_REFERRERS_BYTES,
    });
    if (access.condition === 'if-public' && !found.public) throw new NotPublic();
    const items = found.referrers.map((row) => ({
      digest: row.digest,
      mediaType: row.media_type,
      size: row.size,
      artifactType: row.artifact_type,
      annotations: annotationsOf(row.text),
    }));
    const lastItem = items.at(-1);
    return { items, last: found.more && lastItem !== undefined ? `${lastItem.artifactType}@${lastItem.digest}` : undefined };
  }

  async listRepositories(
    { ranges, withPublic }: PullableRepositories,
    { limit, after }: PageRequest,
  ): Promise<Page<RepositoryName>> {
    return pageOf(await listRepositories(this.#store.database, ranges, withPublic, after, limit + 1), limit, (name) => name);
  }

  /** Opens the nearest location that has its object; asks for the locations once more if none has. */
  async #open(
    access: ReadAccess,
    digest: Digest,
    locations: readonly LocationRow[],
    range: ByteRange | undefined,
  ): Promise<ReadableStream<Uint8Array>> {
    const tried = new Set<string>();
    for (const location of locations) {
      tried.add(location.key);
      const content = await this.#read(location, range);
      if (content !== undefined) return content;
    }
    const again = await findBlob(this.#store.database, access.repository, digest, this.#store.name);
    for (const location of foundBlob(access, digest, again).locations) {
      if (tried.has(location.key)) continue;
      const content = await this.#read(location, range);
      if (content !== undefined) return content;
    }
    throw new OciError('UNAVAILABLE', {
      message: 'the bytes of this blob cannot be reached now',
      detail: { digest },
      headers: { 'Retry-After': '5' },
    });
  }

  /** Undefined where the object is gone, or its store does not answer: another location may. */
  async #read(location: LocationRow, range: ByteRange | undefined): Promise<ReadableStream<Uint8Array> | undefined> {
    return this.#options
      .bucketOf(location.store)
      ?.get(location.key, range)
      .catch(() => undefined);
  }

  /** Kept to the hour, after the response: eviction wants to know which images nobody pulls. */
  #recordPull(repository: RepositoryName, { digest, last_pull: lastPull }: ManifestRow): void {
    const hour = Math.floor(this.#options.now() / HOUR) * HOUR;
    if (lastPull < hour) this.#options.defer(recordPull(this.#store.database, repository, digest, hour));
  }

  #commitContext(): CommitContext {
    return { origin: this.#store.name, announces: this.#options.announces, now: this.#options.now() };
  }

  #lease(): ReturnType<typeof leaseTimes> {
    return leaseTimes(this.#options.now(), this.#options.graceMilliseconds);
  }
}

function foundManifest(access: ReadAccess, reference: Reference, rows: ManifestRows): ManifestRow {
  if (access.condition === 'if-public' && !rows.public) throw new NotPublic();
  if (rows.manifest !== undefined) return rows.manifest;
  if (!rows.repositoryExists) throw new OciError('NAME_UNKNOWN', { detail: { name: access.repository } });
  const wanted = reference.kind === 'tag' ? { tag: reference.tag } : { digest: reference.digest };
  throw new OciError('MANIFEST_UNKNOWN', { detail: { name: access.repository, ...wanted } });
}

function foundBlob(access: ReadAccess, digest: Digest, rows: BlobRows): { size: number; locations: readonly LocationRow[] } {
  if (access.condition === 'if-public' && !rows.public) throw new NotPublic();
  const [nearest] = rows.locations;
  if (nearest === undefined) throw new OciError('BLOB_UNKNOWN', { detail: { name: access.repository, digest } });
  return { size: nearest.size, locations: rows.locations };
}

function descriptorOf(row: ManifestRow): ManifestDescriptor {
  return { digest: row.digest, mediaType: row.media_type, size: row.size };
}

function pageOf<Item>(found: readonly Item[], limit: number, key: (item: Item) => string): Page<Item> {
  const items = found.slice(0, limit);
  const last = items.at(-1);
  return { items, last: found.length > limit && last !== undefined ? key(last) : undefined };
}
