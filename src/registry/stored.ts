/**
 * A registry over a single store, such as central's. A node combines its own store with central's
 * (`federated/registry.ts`).
 */
import { HOUR } from '../durations.ts';
import type { Digest } from '../oci/digest.ts';
import type { OciError } from '../oci/errors.ts';
import type { Manifest } from '../oci/manifest.ts';
import type { Precondition } from '../oci/precondition.ts';
import type { Reference, RepositoryName, Tag } from '../oci/reference.ts';
import { BERTH_ITSELF } from '../stores/organizations/audit-rows.ts';
import { type BlobRows, findBlob, findBlobAndPromise, leaseTimes, type LocationRow } from '../stores/blob-rows.ts';
import type { ByteRange } from '../stores/bucket.ts';
import { deleteManifest, deleteRepository, deleteTag, unlinkBlob } from '../stores/deletion/deletions.ts';
import { listReferrers, listRepositories, listTags } from '../stores/list-rows.ts';
import { commitManifest, type ManifestContext } from '../stores/manifests/manifest-commit.ts';
import {
  findManifest,
  type ManifestRow,
  type ManifestRows,
  readContents,
  recordPull,
} from '../stores/manifests/manifest-rows.ts';
import { mountBlob, type MountSource } from '../stores/mount-rows.ts';
import { findShown, type Shown } from '../stores/deletion/shown.ts';
import type { Store } from '../stores/store.ts';
import { type UploadOptions, Uploads } from '../stores/uploads/uploads.ts';
import type { ListableRepositories, PullableRepositories, ReadAccess } from './access.ts';
import {
  blobUnknown,
  bytesUnreachable,
  descriptorOf,
  isReachable,
  manifestUnknown,
  missingBlobs,
  movedLocations,
  nameUnknown,
  openNearest,
  readableLocations,
  pageOf,
  requirePublic,
  requireUnlinked,
  resolves,
  textOf,
  type StoreOf,
} from './answers.ts';
import { type Conditional, requireHolds, untilUndisturbed } from './conditional.ts';
import { MAX_REFERRERS_BYTES, positionOf, referrerOf, referrerPosition } from './referrers.ts';
import { distinctImages, imagesAmong, pageOfImages, pageOfImagesOf } from './images/pages.ts';
import { sweepAfterRemoval } from './sweep.ts';
import type {
  BlobDescriptor,
  ListedImage,
  MakeRoom,
  ManifestDescriptor,
  Page,
  PageRequest,
  Referrer,
  Registry,
  StoredBlob,
  StoredManifest,
  WantedImages,
} from './registry.ts';

export interface StoredRegistryOptions extends UploadOptions {
  /** Whether tags and manifests written here have to be announced to central. True at a node. */
  readonly announces: boolean;
  /** Tells the store's replication queue that there is something to move. */
  readonly wake: () => void;
  /** Finds any store by name, to read bytes that are elsewhere; undefined if it is not configured. */
  readonly storeOf: StoreOf;
}

export class StoredRegistry extends Uploads implements Registry {
  readonly #store: Store;
  readonly #options: StoredRegistryOptions;

  constructor(store: Store, options: StoredRegistryOptions) {
    super(store, options);
    this.#store = store;
    this.#options = options;
  }

  async getManifest(access: ReadAccess, reference: Reference, makeRoom?: MakeRoom): Promise<StoredManifest> {
    const { database } = this.#store;
    const rows = await findManifest(database, access.repository, reference, 'content');
    const row = foundManifest(access, reference, rows);
    const read = (): Promise<string[]> => readContents(database, access.repository, row.digest);
    const text = await textOf(row, rows.contents, read, makeRoom);
    if (text === undefined) throw manifestUnknown(access.repository, reference, rows.repositoryExists);
    this.#recordPull(access.repository, row);
    return { ...descriptorOf(row), text };
  }

  async resolveManifest(access: ReadAccess, reference: Reference): Promise<ManifestDescriptor> {
    const rows = await findManifest(this.#store.database, access.repository, reference, 'descriptor');
    return descriptorOf(foundManifest(access, reference, rows));
  }

  async getBlob(access: ReadAccess, digest: Digest): Promise<StoredBlob> {
    const rows = await findBlob(this.#store.database, access.repository, digest, this.#store.name);
    const { size, locations } = await this.#foundBlob(access, digest, rows);
    return { digest, size, open: (range) => this.#open(access, digest, locations, range) };
  }

  async resolveBlob(access: ReadAccess, digest: Digest, mayPush: boolean): Promise<BlobDescriptor> {
    const { database, name } = this.#store;
    const { limits } = this.#options;
    const rows = mayPush
      ? await findBlobAndPromise(database, access.repository, digest, name, this.#lease(), { limits })
      : await findBlob(database, access.repository, digest, name);
    if (mayPush && rows.locations.length === 0) {
      requirePublic(access, rows.public);
      // A damaged blob also counts as unknown: the client then uploads it again, which repairs it.
      throw blobUnknown(access.repository, digest);
    }
    const { size, locations } = await this.#foundBlob(access, digest, rows);
    if (!(await this.#isWithinReach(locations))) {
      throw mayPush ? blobUnknown(access.repository, digest) : bytesUnreachable(digest, locations);
    }
    return { digest, size };
  }

  async putManifest(
    repository: RepositoryName,
    digest: Digest,
    manifest: Manifest,
    size: number,
    tags: readonly Tag[],
    by = BERTH_ITSELF,
    condition?: Conditional,
  ): Promise<number> {
    const commit = { repository, digest, manifest, size, tags };
    const { missing, version } = await this.#writeIfHolds(repository, condition, (shown) =>
      commitManifest(this.#store.database, { ...this.#commitContext(), by }, { ...commit, shown }),
    );
    if (missing !== undefined) throw missingBlobs(repository, missing);
    // Central does not wake nodes: its change log has no pushes, because nodes read central for them.
    if (this.#options.announces) this.#options.wake();
    return version;
  }

  async mountBlob(
    repository: RepositoryName,
    digest: Digest,
    source: ReadAccess | PullableRepositories,
  ): Promise<boolean> {
    const from: MountSource =
      'repository' in source
        ? { repository: source.repository, onlyIfPublic: source.condition === 'if-public' }
        : { ranges: source.ranges };
    const locations = await mountBlob(this.#store.database, this.commitOf(repository, digest), from);
    return this.#isWithinReach(locations);
  }

  async deleteTag(repository: RepositoryName, tag: Tag, by = BERTH_ITSELF, precondition?: Precondition): Promise<void> {
    const reference = { kind: 'tag', tag } as const;
    const version = await this.#writeIfHolds(
      repository,
      precondition && { reference, precondition, needed: true },
      (shown) => deleteTag(this.#store.database, { ...this.#commitContext(), by }, repository, tag, undefined, shown),
    );
    if (version === undefined) throw await this.#notFound(repository, reference);
    this.#options.wake();
  }

  async deleteManifest(
    repository: RepositoryName,
    digest: Digest,
    by = BERTH_ITSELF,
    precondition?: Precondition,
  ): Promise<void> {
    const reference = { kind: 'digest', digest } as const;
    const version = await this.#writeIfHolds(
      repository,
      precondition && { reference, precondition, needed: true },
      (shown) =>
        deleteManifest(this.#store.database, { ...this.#commitContext(), by }, repository, digest, undefined, shown),
    );
    if (version === undefined) throw await this.#notFound(repository, reference);
    this.#options.wake();
  }

  /**
   * Writes if the condition holds. The write fails if the content on which the condition was checked has changed since.
   */
  #writeIfHolds<Written>(
    repository: RepositoryName,
    condition: Conditional | undefined,
    write: (shown: Shown | undefined) => Promise<Written>,
  ): Promise<Written> {
    if (condition === undefined) return write(undefined);
    return untilUndisturbed(async () => {
      const shown = await findShown(this.#store.database, repository, condition.reference);
      requireHolds(condition, shown.digest);
      return write(shown);
    });
  }

  async deleteBlob(repository: RepositoryName, digest: Digest, by = BERTH_ITSELF): Promise<void> {
    const result = await unlinkBlob(this.#store.database, this.#options.now(), repository, digest, by);
    requireUnlinked(repository, digest, result);
    this.#options.wake();
  }

  async deleteRepository(repository: RepositoryName, by = BERTH_ITSELF): Promise<void> {
    const version = await deleteRepository(this.#store.database, { ...this.#commitContext(), by }, repository);
    if (version === undefined) throw nameUnknown(repository);
    await sweepAfterRemoval(this.#store.database, repository, this.#options.defer);
    this.#options.wake();
  }

  async listTags(access: ReadAccess, { limit, after }: PageRequest): Promise<Page<Tag>> {
    // One tag more than asked for tells whether another page follows.
    const found = await listTags(this.#store.database, access.repository, after, limit + 1);
    requirePublic(access, found.public);
    if (!found.exists) throw nameUnknown(access.repository);
    const { items, last } = pageOf(found.tags, limit, ({ name }) => name);
    // A page can be shorter while a removal is being swept.
    return { items: items.filter(({ version }) => version > found.removed).map(({ name }) => name), last };
  }

  async listReferrers(
    access: ReadAccess,
    subject: Digest,
    artifactType: string | undefined,
    { limit, after }: PageRequest,
    makeRoom?: MakeRoom,
  ): Promise<Page<Referrer>> {
    const page = { artifactType, after: referrerPosition(after), limit, maxBytes: MAX_REFERRERS_BYTES };
    const { database } = this.#store;
    let found = await listReferrers(database, access.repository, subject, page);
    requirePublic(access, found.public);
    if (found.withheld > 0) {
      await makeRoom?.(found.withheld);
      found = await listReferrers(database, access.repository, subject, { ...page, whole: true });
      requirePublic(access, found.public);
    }
    const lastRow = found.referrers.at(-1);
    const last = found.more && lastRow !== undefined ? positionOf(lastRow) : undefined;
    return { items: found.referrers.filter(({ created }) => created > found.removed).map(referrerOf), last };
  }

  async listRepositories(
    { ranges, withPublic }: PullableRepositories,
    { limit, after }: PageRequest,
  ): Promise<Page<RepositoryName>> {
    return pageOf(
      await listRepositories(this.#store.database, ranges, withPublic, after, limit + 1),
      limit,
      (name) => name,
    );
  }

  listImages(repositories: ListableRepositories, withUntagged: boolean, page: PageRequest): Promise<Page<ListedImage>> {
    return pageOfImages(this.#store.database, repositories, withUntagged, page);
  }

  listImagesOf(
    repositories: ListableRepositories,
    reference: Reference,
    page: PageRequest,
  ): Promise<Page<ListedImage>> {
    return pageOfImagesOf(this.#store.database, repositories, reference, page);
  }

  async findImages(images: WantedImages): Promise<readonly ListedImage[]> {
    return distinctImages(await imagesAmong(this.#store.database, images));
  }

  /** Returns the error that a read of the reference would get. */
  async #notFound(repository: RepositoryName, reference: Reference): Promise<OciError> {
    const { repositoryExists } = await findManifest(this.#store.database, repository, reference, 'descriptor');
    return manifestUnknown(repository, reference, repositoryExists);
  }

  /** Trusts this store's own location. If only other stores have locations, checks that one still has its object. */
  async #isWithinReach(locations: readonly LocationRow[]): Promise<boolean> {
    return locations[0]?.store === this.#store.name || isReachable(locations, this.#options.storeOf);
  }

  /** @throws NotPublic, OciError BLOB_UNKNOWN, UNAVAILABLE */
  async #foundBlob(
    access: ReadAccess,
    digest: Digest,
    rows: BlobRows,
  ): Promise<{ size: number; locations: readonly LocationRow[] }> {
    requirePublic(access, rows.public);
    const locations = await readableLocations(rows, digest, this.#options.storeOf);
    const [nearest] = locations;
    if (nearest === undefined) throw blobUnknown(access.repository, digest);
    return { size: nearest.size, locations };
  }

  /** Opens the nearest location. If none has its object, reads the locations again and tries the new ones. */
  async #open(
    access: ReadAccess,
    digest: Digest,
    locations: readonly LocationRow[],
    range: ByteRange | undefined,
  ): Promise<ReadableStream<Uint8Array>> {
    const { storeOf } = this.#options;
    const opened = await openNearest(locations, range, storeOf);
    if (opened !== undefined) return opened.content;
    const rows = await findBlob(this.#store.database, access.repository, digest, this.#store.name);
    const again = await this.#foundBlob(access, digest, rows);
    const tried = new Set(locations.map(({ key }) => key));
    const others = [
      ...again.locations.filter(({ key }) => !tried.has(key)),
      ...(await movedLocations(locations, digest, storeOf)),
    ];
    const found = await openNearest(others, range, storeOf);
    if (found === undefined) throw bytesUnreachable(digest, [...locations, ...others]);
    return found.content;
  }

  /** Records a pull, to the hour and after the response. Eviction needs to know which images nobody pulls. */
  #recordPull(repository: RepositoryName, { digest, lastPull }: ManifestRow): void {
    const hour = Math.floor(this.#options.now() / HOUR) * HOUR;
    if (lastPull < hour) this.#options.defer(recordPull(this.#store.database, repository, digest, hour));
  }

  #commitContext(): ManifestContext {
    const { announces, now, limits } = this.#options;
    return { origin: this.#store.name, announces, now: now(), limits };
  }

  #lease(): ReturnType<typeof leaseTimes> {
    return leaseTimes(this.#options.now(), this.#options.graceMilliseconds);
  }
}

function foundManifest(access: ReadAccess, reference: Reference, rows: ManifestRows): ManifestRow {
  requirePublic(access, rows.public);
  const { manifest, tag } = rows;
  if (manifest !== undefined && resolves(reference, tag, manifest)) return manifest;
  throw manifestUnknown(access.repository, reference, rows.repositoryExists);
}
