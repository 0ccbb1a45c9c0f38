/**
 * A node's registry combines the node's store with central's. Writes go only to the node's store. Reads merge the rows
 * of both stores before deciding what is visible. Deletions go through central, and reach the node's store before they
 * are answered.
 *
 * While central is unavailable, the node serves what it has. It answers 503 for anything that it lacks: a 404 would be
 * wrong if central has it. The exception is a HEAD from a caller who may push: it gets 404, so that the client uploads.
 */
import type { Digest } from '../../oci/digest.ts';
import { OciError } from '../../oci/errors.ts';
import type { Manifest } from '../../oci/manifest.ts';
import type { Precondition } from '../../oci/precondition.ts';
import type { Reference, RepositoryName, Tag } from '../../oci/reference.ts';
import { type Actor, BERTH_ITSELF } from '../../stores/organizations/audit-rows.ts';
import { raiseClockTo, versionOf } from '../../stores/clock.ts';
import {
  type Committed,
  commitManifest,
  type ManifestCommit,
  type ManifestContext,
} from '../../stores/manifests/manifest-commit.ts';
import { findShown } from '../../stores/deletion/shown.ts';
import { requireStatedSizes } from '../../stores/manifests/stated-sizes.ts';
import type { Store } from '../../stores/store.ts';
import { Uploads } from '../../stores/uploads/uploads.ts';
import type { ListableRepositories, PullableRepositories, ReadAccess } from '../access.ts';
import { missingBlobs } from '../answers.ts';
import { type Conditional, requireHolds, untilUndisturbed } from '../conditional.ts';
import { requireKnownAtCentral } from './known-at-central.ts';
import { FederatedBlobs } from './blobs.ts';
import { FederatedDeletions } from './deletions.ts';
import { FederatedLists } from './lists.ts';
import { FederatedManifests } from './manifests.ts';
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
} from '../registry.ts';
import { answerOfCentral, type FederatedOptions, type Federation, orUnavailable } from './central.ts';
import {
  distinctImages,
  imagesAmong,
  mergeImagePages,
  pageMadeOf,
  pageOfImages,
  pageOfImagesOf,
  rowsOfImages,
} from '../images/pages.ts';
import { StoredRegistry } from '../stored.ts';

export class FederatedRegistry extends Uploads implements Registry {
  readonly #federation: Federation;
  readonly #manifests: FederatedManifests;
  readonly #blobs: FederatedBlobs;
  readonly #lists: FederatedLists;
  readonly #deletions: FederatedDeletions;

  constructor(node: Store, central: Store, options: FederatedOptions) {
    super(node, options);
    this.#federation = { node, central, options };
    this.#manifests = new FederatedManifests(this.#federation);
    this.#blobs = new FederatedBlobs(this.#federation, new StoredRegistry(node, options));
    this.#lists = new FederatedLists(this.#federation);
    this.#deletions = new FederatedDeletions(this.#federation);
  }

  getManifest(access: ReadAccess, reference: Reference, makeRoom?: MakeRoom): Promise<StoredManifest> {
    return this.#manifests.get(access, reference, makeRoom);
  }

  resolveManifest(access: ReadAccess, reference: Reference, mayPush: boolean): Promise<ManifestDescriptor> {
    return this.#manifests.resolve(access, reference, mayPush);
  }

  getBlob(access: ReadAccess, digest: Digest, opensWhole = false): Promise<StoredBlob> {
    return this.#blobs.get(access, digest, opensWhole);
  }

  resolveBlob(access: ReadAccess, digest: Digest, mayPush: boolean): Promise<BlobDescriptor> {
    return this.#blobs.resolve(access, digest, mayPush);
  }

  /** Writes a manifest to the node's store. Central is asked only for blobs that the node lacks, or about a quota. */
  async putManifest(
    repository: RepositoryName,
    digest: Digest,
    manifest: Manifest,
    size: number,
    tags: readonly Tag[],
    by = BERTH_ITSELF,
    condition?: Conditional,
  ): Promise<number> {
    const { node } = this.#federation;
    const commit = { repository, digest, manifest, size, tags };
    if (condition === undefined) return this.#commit(commit, by);
    // Start by reading what the node shows, so that any later write here is detected.
    return untilUndisturbed(async () => {
      const shown = await findShown(node.database, repository, condition.reference);
      requireHolds(condition, await this.#manifests.current(repository, condition.reference));
      return this.#commit({ ...commit, shown }, by);
    });
  }

  async #commit(commit: ManifestCommit, by: Actor): Promise<number> {
    const { node, options } = this.#federation;
    const { repository, digest, manifest, tags } = commit;
    const { limits } = options;
    const context: ManifestContext = { origin: node.name, announces: true, now: options.now(), by, limits };
    const write = (): Promise<Committed> =>
      commitManifest(node.database, context, commit).catch(async (refusal: unknown) => {
        const known = await requireKnownAtCentral(this.#federation, repository, digest, tags, refusal);
        return commitManifest(node.database, context, { ...commit, known });
      });
    let committed = await write();
    if (committed.missing !== undefined) {
      const sizes = await this.#blobs.promiseFromCentral(repository, committed.missing);
      requireStatedSizes(manifest.references, sizes);
      committed = await write();
    }
    if (committed.missing !== undefined) throw missingBlobs(repository, committed.missing);
    options.wake();
    return committed.version;
  }

  mountBlob(repository: RepositoryName, digest: Digest, source: ReadAccess | PullableRepositories): Promise<boolean> {
    return this.#blobs.mount(repository, digest, source);
  }

  deleteTag(repository: RepositoryName, tag: Tag, by = BERTH_ITSELF, precondition?: Precondition): Promise<void> {
    return untilUndisturbed(() => this.#deletions.tag(repository, tag, by, precondition));
  }

  deleteManifest(
    repository: RepositoryName,
    digest: Digest,
    by = BERTH_ITSELF,
    precondition?: Precondition,
  ): Promise<void> {
    return untilUndisturbed(() => this.#deletions.manifest(repository, digest, by, precondition));
  }

  deleteBlob(repository: RepositoryName, digest: Digest, by = BERTH_ITSELF): Promise<void> {
    return this.#deletions.blob(repository, digest, by);
  }

  deleteRepository(repository: RepositoryName, by = BERTH_ITSELF): Promise<void> {
    return this.#deletions.repository(repository, by);
  }

  listTags(access: ReadAccess, page: PageRequest): Promise<Page<Tag>> {
    return this.#lists.tags(access, page);
  }

  listReferrers(
    access: ReadAccess,
    subject: Digest,
    artifactType: string | undefined,
    page: PageRequest,
    makeRoom?: MakeRoom,
  ): Promise<Page<Referrer>> {
    return this.#lists.referrers(access, subject, artifactType, page, makeRoom);
  }

  listRepositories(pullable: PullableRepositories, page: PageRequest): Promise<Page<RepositoryName>> {
    return this.#lists.repositories(pullable, page);
  }

  // By default, lists of images show what the node's own store has, and do not wait for central.
  async listImages(
    repositories: ListableRepositories,
    withUntagged: boolean,
    page: PageRequest,
    withCentral = false,
  ): Promise<Page<ListedImage>> {
    const { node, central } = this.#federation;
    if (!withCentral) return pageOfImages(node.database, repositories, withUntagged, page);
    const [local, remote] = await Promise.all([
      rowsOfImages(node.database, repositories, withUntagged, page),
      answerOfCentral(rowsOfImages(central.database, repositories, withUntagged, page)).catch(orUnavailable),
    ]);
    // A client that has pushed to the node may poll until its image is listed. That must also work without central.
    if (remote instanceof OciError) return pageMadeOf(local, page);
    const latest = [
      ...remote.tagged.map(({ version, created }) => Math.max(version, created)),
      ...remote.untagged.map(({ created }) => created),
    ];
    await this.#raiseClock(Math.max(0, ...latest));
    return pageMadeOf(mergeImagePages(local, remote, page), page);
  }

  listImagesOf(
    repositories: ListableRepositories,
    reference: Reference,
    page: PageRequest,
  ): Promise<Page<ListedImage>> {
    return pageOfImagesOf(this.#federation.node.database, repositories, reference, page);
  }

  async findImages(images: WantedImages, withCentral: boolean): Promise<readonly ListedImage[]> {
    const { node, central } = this.#federation;
    const local = await imagesAmong(node.database, images);
    const missing = withCentral ? images.filter((_, i) => local[i] === undefined) : [];
    if (missing.length === 0) return distinctImages(local);
    const remote = distinctImages(await answerOfCentral(imagesAmong(central.database, missing)));
    const seen = remote.flatMap(({ createdAt, tags }) => [createdAt, ...tags.map(({ pushedAt }) => pushedAt)]);
    // The last version of the latest millisecond is at least as great as any that was shown.
    await this.#raiseClock(versionOf(Math.max(0, ...seen) + 1) - 1);
    return distinctImages([...local, ...remote]);
  }

  /**
   * Raises the node's clock, so that what is written here from now on is later than what a client was shown of central.
   * @param version the greatest that the client was shown
   */
  #raiseClock(version: number): Promise<void> {
    const { node, options } = this.#federation;
    return raiseClockTo(node.database, version, options.now());
  }
}
