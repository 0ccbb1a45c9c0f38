/**
 * The registry of a namespace whose organizations may be mirrors. It stands above another, `stored.ts` or
 * `federated/`: what that one has, it serves, and what a mirror's repository lacks, it asks the upstream for.
 *
 * A mirror's manifest is stored like any push, once all its blobs are, so everything beneath holds for it as well. Until
 * then it is served as the upstream gave it. The digest of a tag comes from the mirror, not from the stored tag, which
 * may be older.
 */
import type { Algorithm, Digest } from '../../oci/digest.ts';
import { isUnavailable, OciError } from '../../oci/errors.ts';
import type { Manifest } from '../../oci/manifest.ts';
import { holds, type Precondition } from '../../oci/precondition.ts';
import type { Reference, RepositoryName, Tag } from '../../oci/reference.ts';
import type { Mirror } from '../../stores/organizations/mirrors.ts';
import { type ListableRepositories, NotPublic, type PullableRepositories, type ReadAccess } from '../access.ts';
import { blobUnknown, ifKnown, isUnknown, manifestUnknown, nameUnknown, pageOf } from '../answers.ts';
import type { Conditional } from '../conditional.ts';
import type {
  Actor,
  BlobDescriptor,
  Body,
  ListedImage,
  MakeRoom,
  ManifestDescriptor,
  Page,
  PageRequest,
  PresentedSession,
  Referrer,
  Registry,
  StoredBlob,
  StoredManifest,
  UploadProgress,
  WantedImages,
} from '../registry.ts';
import { covers, forwards } from './coverage.ts';
import type { Upstreams } from './upstreams.ts';

export class MirroredRegistry implements Registry {
  readonly #beneath: Registry;
  readonly #upstreams: Upstreams;
  readonly #now: () => number;

  constructor(beneath: Registry, upstreams: Upstreams, now: () => number) {
    this.#beneath = beneath;
    this.#upstreams = upstreams;
    this.#now = now;
  }

  getManifest(access: ReadAccess, reference: Reference, makeRoom?: MakeRoom): Promise<StoredManifest> {
    return this.#resolve(access, reference, {
      beneath: (allowed, wanted) => this.#beneath.getManifest(allowed, wanted, makeRoom),
      upstream: (mirror, { digest }) => this.#upstreams.manifest(mirror, access.repository, digest, makeRoom),
    });
  }

  resolveManifest(access: ReadAccess, reference: Reference, mayPush: boolean): Promise<ManifestDescriptor> {
    return this.#resolve<ManifestDescriptor>(access, reference, {
      beneath: (allowed, wanted) => this.#beneath.resolveManifest(allowed, wanted, mayPush),
      upstream: async (mirror, { digest, descriptor }) =>
        descriptor ?? this.#upstreams.describe(mirror, access.repository, digest),
    });
  }

  /** Resolves a reference, and reads what it means beneath or, if that is unknown there, at the upstream. */
  async #resolve<Found extends ManifestDescriptor>(
    access: ReadAccess,
    reference: Reference,
    read: Reads<Found>,
  ): Promise<Found> {
    const { repository } = access;
    const known = this.#upstreams.of(repository);
    if (known === undefined) return read.beneath(access, reference);
    // An isolate's first request reads beneath while it finds out whether the repository is a mirror's.
    const first = known instanceof Promise ? outcomeOf(read.beneath(access, reference)) : undefined;
    const mirror = await this.#mirrorOf(repository, known);
    if (mirror === undefined) return first === undefined ? read.beneath(access, reference) : (await first)();
    const allowed = await this.#allowed(mirror, access);
    if (!covers(mirror, repository)) return read.beneath(allowed, reference);
    if (reference.kind === 'tag') return this.#resolveTag(mirror, allowed, reference, read);
    const { digest } = reference;
    const found =
      (await ifHere(read.beneath(allowed, reference))) ??
      (await read.upstream(mirror, { digest, descriptor: undefined }));
    if (found === undefined) throw manifestUnknown(repository, reference, true);
    return found;
  }

  async #resolveTag<Found extends ManifestDescriptor>(
    mirror: Mirror,
    access: ReadAccess,
    reference: Reference & { readonly kind: 'tag' },
    read: Reads<Found>,
  ): Promise<Found> {
    const { repository } = access;
    const tag = await this.#upstreams.tag(mirror, repository, reference.tag);
    if (tag !== undefined && 'refusal' in tag) {
      // Another store may have pulled it.
      const stored = await ifHere(read.beneath(access, reference));
      if (stored === undefined) throw tag.refusal;
      return { ...stored, mirrored: { freshness: 'failing', ageSeconds: undefined } };
    }
    if (tag === undefined) {
      // A client may have pushed it.
      if (mirror.pushes === 'kept') return read.beneath(access, reference);
      throw manifestUnknown(repository, reference, true);
    }
    const { descriptor, checkedAt, freshness } = tag;
    const { digest } = descriptor;
    const found =
      (await ifHere(read.beneath(access, { kind: 'digest', digest }))) ??
      (await read.upstream(mirror, { digest, descriptor }));
    if (found === undefined) throw manifestUnknown(repository, reference, true);
    const ageSeconds = Math.max(0, Math.floor((this.#now() - checkedAt) / 1000));
    return { ...found, mirrored: { freshness, ageSeconds } };
  }

  async getBlob(access: ReadAccess, digest: Digest, opensWhole = false): Promise<StoredBlob> {
    const { repository } = access;
    const [stored, mirror] = await this.#blobBeneath(access, (allowed) =>
      this.#beneath.getBlob(allowed, digest, opensWhole),
    );
    if (stored !== undefined) return stored;
    const opened = opensWhole ? await this.#upstreams.openBlob(mirror, repository, digest) : undefined;
    const size = opensWhole ? opened?.size : await this.#upstreams.blobSize(mirror, repository, digest);
    if (size === undefined) throw blobUnknown(repository, digest);
    return {
      digest,
      size,
      open: async (range) => {
        const { content } = opened ?? (await this.#upstreams.openBlob(mirror, repository, digest, range)) ?? {};
        if (content === undefined) throw blobUnknown(repository, digest);
        return content;
      },
    };
  }

  async resolveBlob(access: ReadAccess, digest: Digest, mayPush: boolean): Promise<BlobDescriptor> {
    const { repository } = access;
    const [stored, mirror] = await this.#blobBeneath(access, (allowed) =>
      this.#beneath.resolveBlob(allowed, digest, mayPush),
    );
    if (stored !== undefined) return stored;
    // A client that pushes would not upload what only the upstream has.
    if (mayPush && mirror.pushes !== 'refused') throw blobUnknown(repository, digest);
    const size = await this.#upstreams.blobSize(mirror, repository, digest);
    if (size === undefined) throw blobUnknown(repository, digest);
    return { digest, size };
  }

  /** Reads a blob beneath. If a mirror's repository lacks it, returns the mirror instead. */
  async #blobBeneath<Found>(
    access: ReadAccess,
    read: (access: ReadAccess) => Promise<Found>,
  ): Promise<[Found, undefined] | [undefined, Mirror]> {
    try {
      return [await read(access), undefined];
    } catch (error) {
      const isAbsent = error instanceof NotPublic || isNotHere(error);
      const mirror = isAbsent ? await this.#upstreams.of(access.repository) : undefined;
      if (mirror === undefined || !covers(mirror, access.repository)) throw error;
      // Only who may pull has the upstream asked, also while the store can't tell who that is.
      const allowed = await this.#allowed(mirror, access);
      if (!(error instanceof NotPublic)) return [undefined, mirror];
      const found = await ifHere(read(allowed));
      return found === undefined ? [undefined, mirror] : [found, undefined];
    }
  }

  async putManifest(
    repository: RepositoryName,
    digest: Digest,
    manifest: Manifest,
    size: number,
    tags: readonly Tag[],
    by?: Actor,
    condition?: Conditional,
  ): Promise<number> {
    const mirror = await this.#requirePushes(repository);
    const put = () => this.#beneath.putManifest(repository, digest, manifest, size, tags, by, condition);
    if (!forwards(mirror, repository)) return put();
    const { mediaType } = manifest;
    const noted = await this.#upstreams.notePush(mirror, repository, { digest, mediaType, size }, tags);
    try {
      const version = await put();
      await noted.committed(version);
      return version;
    } catch (error) {
      // A store that did not answer may have committed it.
      if (error instanceof OciError && !isUnavailable(error)) noted.refused();
      throw error;
    }
  }

  async mountBlob(
    repository: RepositoryName,
    digest: Digest,
    source: ReadAccess | PullableRepositories,
  ): Promise<boolean> {
    await this.#requirePushes(repository);
    return this.#beneath.mountBlob(repository, digest, source);
  }

  async putBlob(repository: RepositoryName, digest: Digest, body: Body | undefined): Promise<void> {
    await this.#requirePushes(repository);
    return this.#beneath.putBlob(repository, digest, body);
  }

  async openUpload(repository: RepositoryName, subject: string, algorithm: Algorithm): Promise<UploadProgress> {
    await this.#requirePushes(repository);
    return this.#beneath.openUpload(repository, subject, algorithm);
  }

  // No session is opened at a mirror that takes no pushes, so what follows needs no check.

  appendChunk(session: PresentedSession, start: number | undefined, body: Body | undefined): Promise<UploadProgress> {
    return this.#beneath.appendChunk(session, start, body);
  }

  finishUpload(
    session: PresentedSession,
    digest: Digest,
    start: number | undefined,
    body: Body | undefined,
  ): Promise<void> {
    return this.#beneath.finishUpload(session, digest, start, body);
  }

  uploadProgress(session: PresentedSession): Promise<UploadProgress> {
    return this.#beneath.uploadProgress(session);
  }

  cancelUpload(session: PresentedSession): Promise<void> {
    return this.#beneath.cancelUpload(session);
  }

  deleteTag(repository: RepositoryName, tag: Tag, by?: Actor, precondition?: Precondition): Promise<void> {
    return this.#delete(repository, { kind: 'tag', tag }, precondition, (left) =>
      this.#beneath.deleteTag(repository, tag, by, left),
    );
  }

  deleteManifest(repository: RepositoryName, digest: Digest, by?: Actor, precondition?: Precondition): Promise<void> {
    return this.#delete(repository, { kind: 'digest', digest }, precondition, (left) =>
      this.#beneath.deleteManifest(repository, digest, by, left),
    );
  }

  /** Deletes at the upstream first, if pushes go there. @param here deletes beneath, under what is left to check */
  async #delete(
    repository: RepositoryName,
    reference: Reference,
    precondition: Precondition | undefined,
    here: (left: Precondition | undefined) => Promise<void>,
  ): Promise<void> {
    const mirror = await this.#upstreams.of(repository);
    if (!forwards(mirror, repository)) {
      await here(precondition);
      if (mirror !== undefined && reference.kind === 'tag')
        this.#upstreams.forgetTag(mirror, repository, reference.tag);
      return;
    }
    if (precondition !== undefined) {
      const { digest } = await this.resolveManifest({ repository, condition: 'granted' }, reference, false);
      if (!holds(precondition, digest)) throw new OciError('PRECONDITION_FAILED');
    }
    const name = reference.kind === 'tag' ? reference.tag : reference.digest;
    const wasThere = await this.#upstreams.deleteReference(mirror, repository, name);
    await here(undefined).catch((error: unknown) => {
      if (!wasThere || !isUnknown(error)) throw error;
    });
  }

  deleteBlob(repository: RepositoryName, digest: Digest, by?: Actor): Promise<void> {
    return this.#beneath.deleteBlob(repository, digest, by);
  }

  deleteRepository(repository: RepositoryName, by?: Actor): Promise<void> {
    return this.#beneath.deleteRepository(repository, by);
  }

  async listTags(access: ReadAccess, page: PageRequest): Promise<Page<Tag>> {
    const mirror = await this.#asked(access, page);
    if (mirror === undefined) return this.#beneath.listTags(await this.#maybeAllowed(access), page);
    const found = await this.#upstreams.listTags(mirror, access.repository, page);
    if (found === undefined) throw nameUnknown(access.repository);
    return found;
  }

  async listReferrers(
    access: ReadAccess,
    subject: Digest,
    artifactType: string | undefined,
    page: PageRequest,
    makeRoom?: MakeRoom,
  ): Promise<Page<Referrer>> {
    const mirror = await this.#asked(access, page);
    if (mirror === undefined)
      return this.#beneath.listReferrers(await this.#maybeAllowed(access), subject, artifactType, page, makeRoom);
    const found = (await this.#upstreams.listReferrers(mirror, access.repository, subject))
      .filter((each) => artifactType === undefined || each.artifactType === artifactType)
      .toSorted((a, b) => (a.digest < b.digest ? -1 : 1))
      .filter(({ digest }) => digest > page.after);
    return pageOf(found, page.limit, ({ digest }) => digest);
  }

  listRepositories(pullable: PullableRepositories, page: PageRequest): Promise<Page<RepositoryName>> {
    return this.#beneath.listRepositories(pullable, page);
  }

  listImages(
    repositories: ListableRepositories,
    withUntagged: boolean,
    page: PageRequest,
    withCentral?: boolean,
  ): Promise<Page<ListedImage>> {
    return this.#beneath.listImages(repositories, withUntagged, page, withCentral);
  }

  listImagesOf(
    repositories: ListableRepositories,
    reference: Reference,
    page: PageRequest,
  ): Promise<Page<ListedImage>> {
    return this.#beneath.listImagesOf(repositories, reference, page);
  }

  findImages(images: WantedImages, withCentral: boolean): Promise<readonly ListedImage[]> {
    return this.#beneath.findImages(images, withCentral);
  }

  /** Returns the mirror that a repository belongs to, which takes pushes. @throws OciError DENIED */
  async #requirePushes(repository: RepositoryName): Promise<Mirror | undefined> {
    const mirror = await this.#upstreams.of(repository);
    if (mirror?.pushes !== 'refused') return mirror;
    throw new OciError('DENIED', {
      message: `${mirror.organization} is a mirror of ${mirror.from} and takes no pushes: push to another organization`,
    });
  }

  /**
   * Returns the access with which a mirror's repository is read. Anybody may pull from a public mirror, and from public
   * repositories of a private one. For all other callers, the upstream is not asked.
   * @throws NotPublic
   */
  async #allowed(mirror: Mirror, access: ReadAccess): Promise<ReadAccess> {
    const { repository, condition } = access;
    if (condition === 'if-public' && !mirror.isPublic)
      await ifKnown(this.#beneath.listTags(access, { limit: 1, after: '' }));
    return { repository, condition: 'granted' };
  }

  /** Does the same for a repository that may be no mirror's. */
  async #maybeAllowed(access: ReadAccess): Promise<ReadAccess> {
    const mirror = access.condition === 'granted' ? undefined : await this.#mirrorOf(access.repository);
    return mirror?.isPublic === true ? { ...access, condition: 'granted' } : access;
  }

  /** Returns the mirror of a repository. While the store does not tell, what is beneath is read as anybody's. */
  async #mirrorOf(repository: RepositoryName, known = this.#upstreams.of(repository)): Promise<Mirror | undefined> {
    try {
      return await known;
    } catch (error) {
      if (isUnavailable(error)) return undefined;
      throw error;
    }
  }

  /** Returns the mirror whose upstream a list is asked of; undefined if what is stored is wanted. */
  async #asked(access: ReadAccess, { fromUpstream = false }: PageRequest): Promise<Mirror | undefined> {
    const mirror = fromUpstream ? await this.#mirrorOf(access.repository) : undefined;
    if (mirror === undefined || !covers(mirror, access.repository)) return undefined;
    await this.#allowed(mirror, access);
    return mirror;
  }
}

/** Two ways to read one thing. */
interface Reads<Found> {
  readonly beneath: (access: ReadAccess, reference: Reference) => Promise<Found>;
  readonly upstream: (mirror: Mirror, wanted: Wanted) => Promise<Found | undefined>;
}

interface Wanted {
  readonly digest: Digest;
  /** What the upstream has said of it, if it was asked for a tag. */
  readonly descriptor: ManifestDescriptor | undefined;
}

/** Returns what was found; undefined if the registry beneath lacks it, or does not answer. */
async function ifHere<Found>(found: Promise<Found>): Promise<Found | undefined> {
  try {
    return await found;
  } catch (error) {
    if (isNotHere(error)) return undefined;
    throw error;
  }
}

function isNotHere(error: unknown): boolean {
  return isUnknown(error) || isUnavailable(error);
}

/** Returns a function that returns or throws what the promise came to. */
function outcomeOf<Found>(promise: Promise<Found>): Promise<() => Found> {
  return promise.then(
    (found) => () => found,
    (error: unknown) => () => {
      throw error;
    },
  );
}
