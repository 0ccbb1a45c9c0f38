/**
 * The work of one import, in steps: read a page of the catalog, read a page of a repository's tags, copy one image. A
 * step whose run was killed is repeated: it finds the parts that are done, and does only the rest.
 */
import { copyImage, type CopyProgress } from '../oci-client/copy-image.ts';
import type { Host } from '../oci-client/host.ts';
import { repositoriesPage } from '../oci-client/names-page.ts';
import { Repository } from '../oci-client/repository.ts';
import type { Digest } from '../oci/digest.ts';
import { OciError } from '../oci/errors.ts';
import { isRepositoryName, type OrganizationName, type RepositoryName, parseTag, isTag } from '../oci/reference.ts';
import type { Actor, Registry } from '../registry/registry.ts';
import type { Upstream } from '../upstream/address.ts';
import { upstreamName } from '../upstream/connect.ts';
import { isGlob } from '../oci/glob.ts';
import type { FollowedTag, MissingTag } from './followed-tags.ts';
import type { Import, ImportsState } from './import-state.ts';
import { KeptSource } from './kept-source.ts';
import { selectPlatforms } from './platforms.ts';
import { type Importer, isWanted, mayImportTo, targetOf } from './request.ts';
import { imageOf, type RepositoryLeft, type TagLeft } from './run-state.ts';
import type { Slice } from '../upstream/slice.ts';
import { type SelectChildren, StoreDestination } from './store-destination.ts';

/** The most blobs of an image that are copied at once. */
const JOBS = 3;
/** The most pages of a list, which a hostile upstream could link without end. */
const MAX_PAGES = 500;
const MAX_REPOSITORIES = 10_000;
const MAX_TAGS = 100_000;

/** The error of a run that can't go on at all. */
export class ImportFailed extends Error {
  override readonly name = 'ImportFailed';
}

/** The error of an import that must not go on, because its organization or its credential is gone. */
export class ImportOver extends Error {
  override readonly name = 'ImportOver';
}

/** A step, with its subject. */
export type Step =
  | { readonly kind: 'catalog' }
  | { readonly kind: 'tags'; readonly repository: RepositoryLeft }
  | { readonly kind: 'image'; readonly tag: TagLeft }
  | { readonly kind: 'removal'; readonly tag: MissingTag };

export interface WorkOptions {
  readonly organization: OrganizationName;
  readonly state: ImportsState;
  readonly registry: Registry;
  readonly upstream: Upstream;
  readonly host: Host;
  /** Aborted when the import is cancelled. */
  readonly signal: AbortSignal;
}

/** Bytes of the image under way. */
export interface InFlight {
  /** Bytes that have arrived of blobs that are not whole. */
  readonly copied: number;
  /** Bytes of the blobs that are not whole. */
  readonly total: number;
}

export class ImportWork {
  readonly #options: WorkOptions;
  #blobs = new Map<Digest, { readonly size: number; copied: number }>();

  constructor(options: WorkOptions) {
    this.#options = options;
  }

  get inFlight(): InFlight {
    const blobs = [...this.#blobs.values()];
    return {
      copied: blobs.reduce((sum, { copied }) => sum + copied, 0),
      total: blobs.reduce((sum, { size }) => sum + size, 0),
    };
  }

  /** Returns the next step of an import; undefined if none is left. */
  next({ id, catalog, request, run }: Import): Step | undefined {
    const { state } = this.#options;
    if (catalog !== undefined) return { kind: 'catalog' };
    const repository = state.run.repositoryToList(id);
    if (repository !== undefined) return { kind: 'tags', repository };
    const tag = state.run.tagToCopy(id);
    if (tag !== undefined) return { kind: 'image', tag };
    const missing = request.prunes ? state.followed.missing(id, run) : undefined;
    return missing && { kind: 'removal', tag: missing };
  }

  /** @throws SliceOver, ImportFailed, or the refusal of the upstream or the registry */
  take(of: Import, step: Step, slice: Slice): Promise<void> {
    switch (step.kind) {
      case 'catalog':
        return this.#readCatalog(of);
      case 'tags':
        return this.#readTags(of, step.repository);
      case 'image':
        return this.#copyImage(of, step.tag, slice);
      case 'removal':
        return this.#removeTag(of, step.tag);
    }
  }

  async #readCatalog({ id, request, importer, catalog, pages }: Import): Promise<void> {
    const { state, host, signal } = this.#options;
    const page = await repositoriesPage(host, catalog === '' ? undefined : catalog, signal);
    if (page === undefined) {
      throw new ImportFailed(`${host.url.host} does not list its repositories: name each of them in full`);
    }
    const known = state.run.counts(id).get('repositories') ?? 0;
    const names = page.names.filter((name) => isRepositoryName(`o/${name}`) && isWanted(request.repositories, name));
    if (pages >= MAX_PAGES || known + names.length > MAX_REPOSITORIES) {
      throw new ImportFailed('the upstream lists too many repositories: choose fewer by a pattern');
    }
    for (const name of names) {
      const target = targetOf(this.#options.organization, request, name);
      if (target === undefined) state.run.skip(id, name, 'its name here would be invalid: choose another with `as`');
      else if (!mayImportTo(importer, target)) state.run.skip(id, name, `the credential may not push to ${target}`);
      else state.run.addRepository(id, name, target);
    }
    state.setCatalog(id, page.next?.href);
  }

  async #readTags({ id, request, run }: Import, { name, next, pages }: RepositoryLeft): Promise<void> {
    const { state, host } = this.#options;
    const isNamed = !request.tags.some(isGlob);
    if (isNamed && pages === 0) {
      state.followed.noteListed(id, run, name, request.tags);
      state.run.addTags(id, name, request.tags, '');
    }
    // Only a list tells a removed tag from a repository that is not shown any more.
    if (isNamed && !request.prunes) return state.run.giveUpTags(id, name);
    const source = this.#sourceOf(name);
    const page = await source.tagsPage(next === '' ? undefined : new URL(next));
    if (page === undefined) {
      state.run.skip(id, name, `${host.url.host} has no such repository, or does not show it to this login`);
      return state.run.giveUpTags(id, name);
    }
    const wanted = isNamed ? [] : page.names.filter((tag) => isTag(tag) && isWanted(request.tags, tag));
    if ((state.run.counts(id).get('tags') ?? 0) + wanted.length > MAX_TAGS)
      throw new ImportFailed('these are too many tags for one import: choose fewer by patterns');
    const isTooLong = pages >= MAX_PAGES;
    if (isTooLong) state.run.skip(id, name, 'the list of its tags does not end: the rest was left out');
    state.followed.noteListed(id, run, name, wanted);
    state.run.addTags(id, name, wanted, page.next?.href);
    if (isTooLong) state.run.giveUpTags(id, name);
  }

  async #copyImage(
    { id, request, importer, run }: Import,
    { repository, target, tag: name }: TagLeft,
    slice: Slice,
  ): Promise<void> {
    const { state, registry, signal } = this.#options;
    const source = this.#sourceOf(repository);
    const { platforms, referrers, isDry, prunes } = request;
    const select: SelectChildren = (children) =>
      platforms === undefined ? children : selectPlatforms(platforms, children);
    const image = imageOf(repository, name);
    const tag = parseTag(name);
    const by = actorOf(importer);
    const to = { registry, repository: target, state, id, image, slice, signal, by, isDry };
    const destination = new StoreDestination(to);
    const digest = await source.headManifest(tag);
    if (digest !== undefined && !referrers && (await destination.hasImage(tag, digest, select))) {
      state.run.count(id, 'manifests present');
      if (prunes) state.followed.note(id, run, { repository, target, tag, digest });
      return state.run.finishTag(id, repository, tag);
    }
    const kept = new KeptSource(source, state, id, image);
    const root = await kept.root(tag, digest);
    if (root === undefined) {
      state.run.skip(id, image, 'the upstream has no such tag');
      state.followed.noteMissing(id, repository, tag);
      return state.run.finishTag(id, repository, tag);
    }
    const present = new Set<Digest>();
    await copyImage(kept, destination, root, {
      tag,
      referrers,
      select,
      jobs: JOBS,
      abort: new AbortController(),
      progress: this.#progress(id, target, present),
    }).finally(() => this.#blobs.clear());
    state.run.count(id, 'manifests present', state.copies.manifestsPresent(id, image));
    state.run.count(id, 'blobs present', present.size);
    if (prunes) state.followed.note(id, run, { repository, target, tag, digest: root.digest });
    state.run.finishTag(id, repository, tag);
  }

  /** Removes a tag, unless somebody has removed or moved it since. */
  async #removeTag({ id, importer }: Import, { repository, target, tag, digest }: FollowedTag): Promise<void> {
    const { state, registry } = this.#options;
    const condition = { ifMatch: [`"${digest}"`], ifNoneMatch: undefined };
    try {
      await registry.deleteTag(target, tag, actorOf(importer), condition);
      state.run.count(id, 'tags removed');
    } catch (error) {
      if (!(error instanceof OciError) || !TAG_IS_OTHER.has(error.kind)) throw error;
    }
    state.followed.drop(id, { repository, tag });
  }

  #sourceOf(name: string): Repository {
    const { host, upstream, signal } = this.#options;
    return new Repository(host, upstreamName(upstream, name), 'pull', signal);
  }

  #progress(id: string, target: RepositoryName, present: Set<Digest>): CopyProgress {
    const { state } = this.#options;
    return {
      planned: (blobs) => {
        this.#blobs = new Map(blobs.map(({ digest, size }) => [digest, { size, copied: 0 }]));
      },
      bytes: (digest, bytes) => {
        const blob = this.#blobs.get(digest);
        if (blob !== undefined) blob.copied = bytes;
      },
      ended: (digest, how) => {
        this.#blobs.delete(digest);
        // An earlier run of this import may have brought it.
        if (how !== 'done' && state.copies.repositoryWith(id, digest) !== target) present.add(digest);
      },
    };
  }
}

const TAG_IS_OTHER: ReadonlySet<string> = new Set(['MANIFEST_UNKNOWN', 'NAME_UNKNOWN', 'PRECONDITION_FAILED']);

/** Returns the author of an import's tags. */
function actorOf({ id, name }: Importer): Actor {
  return { subject: id, name, host: '' };
}
