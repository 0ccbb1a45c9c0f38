/**
 * Carries pushes to the upstream of a mirror, one after another: the blobs and manifests that it lacks, and then the
 * manifest under its tag. It also deletes at the upstream, but not while it writes to the same repository.
 */
import { type Slice, SliceOver } from '../upstream/slice.ts';
import { BodyLimit } from '../oci-client/body-limit.ts';
import { copyImage, type ImageDestination } from '../oci-client/copy-image.ts';
import { RegistryDestination } from '../oci-client/registry-image.ts';
import { RegistryError } from '../oci-client/registry-error.ts';
import type { Config } from '../config.ts';
import type { RepositoryName } from '../oci/reference.ts';
import { forwards } from '../registry/mirrored/coverage.ts';
import type { Registry } from '../registry/registry.ts';
import type { Store } from '../stores/store.ts';
import { isolateBudget } from '../stores/uploads/buffer-budget.ts';
import type { DeleteAnswer, MirrorAt } from './answers.ts';
import type { MirrorState } from './mirror-state.ts';
import { afterFailure, blameFor } from './outgoing-failure.ts';
import type { Outgoing, OutgoingState } from './outgoing-state.ts';
import { nameAtUpstream } from './reach-upstream.ts';
import { MAX_IMAGE_BYTES, StoredSource } from './stored-source.ts';
import { versionOfCommit, versionOfManifest, wasDeleted } from './tag-writes.ts';
import type { UpstreamClient } from './upstream-client.ts';
import { Pending } from './waiting.ts';

/** The blobs or manifests of an image that are copied side by side. */
const JOBS = 3;
/** The time for which a deletion holds up a push. */
const HELD_MILLISECONDS = 1000;
const NO_PROGRESS = { planned: () => undefined, bytes: () => undefined, ended: () => undefined };

/** Thrown in place of a step that a later push, a deletion or a change of the mirror has overtaken. */
class Held extends Error {
  override readonly name = 'Held';
}

/** The registry and the store that pushes are committed to. */
export interface Beneath {
  registry(at: MirrorAt): Promise<Registry>;
  /** The store of the registry's own namespace. */
  store(at: MirrorAt): Store;
}

export class Forwarder {
  readonly #config: Config;
  readonly #known: MirrorState;
  readonly #outgoing: OutgoingState;
  readonly #upstreamNow: () => UpstreamClient;
  readonly #beneath: Beneath;
  readonly #moved: (repository: RepositoryName, reference: string) => void;
  /** The number of deletions under way, by repository. */
  readonly #deleting = new Map<RepositoryName, number>();
  /** Writes of manifests to the upstream. */
  readonly #writing = new Pending();

  /**
   * @param upstream returns the client of the mirror's upstream: a new one after each change of the mirror
   * @param moved is told of each tag or digest that this registry has changed at the upstream
   */
  constructor(
    config: Config,
    known: MirrorState,
    outgoing: OutgoingState,
    upstream: () => UpstreamClient,
    beneath: Beneath,
    moved: (repository: RepositoryName, reference: string) => void,
  ) {
    this.#config = config;
    this.#known = known;
    this.#outgoing = outgoing;
    this.#upstreamNow = upstream;
    this.#beneath = beneath;
    this.#moved = moved;
  }

  /** Returns when there is something to carry; undefined if nothing waits. */
  nextDueAt(): number | undefined {
    const dueAt = this.#outgoing.nextDueAt();
    return dueAt === undefined ? undefined : Math.max(dueAt, this.#upstreamNow().status().askedAgainAt ?? 0);
  }

  /** Takes the next push that is due one stage further. @returns whether this run may take another */
  async carryNext(at: MirrorAt, slice: Slice): Promise<boolean> {
    const upstream = this.#upstreamNow();
    const push = upstream.isPaused ? undefined : this.#outgoing.next(Date.now());
    if (push === undefined) return false;
    try {
      if (push.stage === 'noted') await this.#look(at, push);
      else if (!forwards(at.mirror, push.repository)) this.#outgoing.park(push, 'the mirror does not forward it now');
      else if (push.stage === 'pending') await this.#copy(at, push, upstream, slice);
      else await this.#verify(at, push, upstream);
      return true;
    } catch (error) {
      if (error instanceof SliceOver) return false;
      if (error instanceof Held) {
        this.#outgoing.putOff(push, Date.now() + HELD_MILLISECONDS);
        return true;
      }
      // After a change of the mirror, the push begins again.
      if (upstream !== this.#upstreamNow()) return true;
      const reason = upstream.reasonOf(at.mirror, error);
      if (blameFor(error) === 'upstream') upstream.leaveAlone(error, reason);
      this.#outgoing.noteFailure(push, afterFailure(push.attempts, error, Date.now()), reason);
      return true;
    }
  }

  /** Forwards a push that was committed. @param version of the commit */
  confirm(id: number, version: number): void {
    this.#forget(this.#outgoing.confirm(id, version, Date.now()));
  }

  /** Forgets a push that was never committed, and stores its tag, which the push has held, as the upstream has it. */
  withdraw(id: number): void {
    const { repository, tag } = this.#outgoing.withdraw(id) ?? {};
    const known = repository && tag && this.#known.tag(repository, tag)?.descriptor;
    if (known) this.#known.addDue(repository, known.digest, Date.now());
  }

  /** Forgets what the mirror knows of a push's tag, because the push is not forwarded any more. */
  #forget(push: Outgoing | undefined): void {
    if (push?.tag === undefined) return;
    this.#known.forgetReference(push.repository, push.tag);
    this.#moved(push.repository, push.tag);
  }

  /** Deletes a tag or a manifest at the upstream, and drops its pushes that wait. @throws OciError UNAVAILABLE */
  async delete(at: MirrorAt, repository: RepositoryName, reference: string): Promise<DeleteAnswer> {
    // The deletion covers pushes that were committed and not confirmed. It does not cover later commits.
    const committed = new Map<number, number>();
    for (const push of this.#outgoing.noted(repository, reference))
      committed.set(push.id, (await this.#versionOf(at, push)) ?? 0);
    const upstream = this.#upstreamNow();
    this.#deleting.set(repository, (this.#deleting.get(repository) ?? 0) + 1);
    try {
      await this.#writing.settled();
      const wasThere = await this.#deleteAt(at, upstream, repository, reference);
      for (const [id, version] of committed) this.#outgoing.pass(id, version);
      const dropped = this.#outgoing.dropReference(repository, reference);
      this.#known.forgetReference(repository, reference);
      // The upstream may have taken a push that is dropped, so the tag is not what it was before that.
      for (const push of dropped) this.#forget(push);
      this.#moved(repository, reference);
      return { wasThere };
    } catch (error) {
      const isRefused = error instanceof RegistryError && error.status < 500 && error.status !== 429;
      if (!isRefused) return { failure: upstream.failure(at.mirror, error, false) };
      return { refusal: { isUnsupported: isUnsupported(error), reason: upstream.reasonOf(at.mirror, error) } };
    } finally {
      const others = (this.#deleting.get(repository) ?? 1) - 1;
      if (others === 0) this.#deleting.delete(repository);
      else this.#deleting.set(repository, others);
    }
  }

  /** @returns whether the reference was there. An upstream that deletes nothing may have lost it by other means. */
  async #deleteAt(
    { mirror }: MirrorAt,
    upstream: UpstreamClient,
    repository: RepositoryName,
    reference: string,
  ): Promise<boolean> {
    try {
      return await upstream.repository(mirror, repository, 'push').deleteManifest(reference);
    } catch (error) {
      if (isUnsupported(error) && (await upstream.describe(mirror, repository, reference)) === undefined) return false;
      throw error;
    }
  }

  /** Finds out whether a push was committed whose request ended without saying so. */
  async #look(at: MirrorAt, push: Outgoing): Promise<void> {
    const version = await this.#versionOf(at, push);
    if (version === undefined) this.withdraw(push.id);
    else this.confirm(push.id, version);
  }

  /** Returns the version of a push's commit; undefined if it was not committed. */
  async #versionOf(at: MirrorAt, { repository, tag, manifest, notedAt }: Outgoing): Promise<number | undefined> {
    const { digest } = manifest;
    const { historyEntries } = this.#config.limits;
    const store = this.#beneath.store(at);
    if (tag === undefined) return versionOfManifest(store, repository, digest, notedAt);
    return versionOfCommit(store, repository, tag, digest, notedAt, historyEntries, at.mirror.from);
  }

  async #copy(at: MirrorAt, push: Outgoing, upstream: UpstreamClient, slice: Slice): Promise<void> {
    const { repository, tag, manifest, version } = push;
    const { from } = at.mirror;
    if (tag !== undefined && (await wasDeleted(this.#beneath.store(at), repository, tag, version, from)))
      return this.#drop(push);
    const source = new StoredSource(await this.#beneath.registry(at), repository, slice);
    const loan = await isolateBudget.wait(MAX_IMAGE_BYTES, 0, undefined, at.mirror.organization);
    try {
      const root = await source.find(manifest.digest);
      if (root === undefined) return this.#drop(push);
      const destination = this.#destination(at, push, upstream, slice);
      const below = await source.manifestsBelow(root, async (digest) => !(await destination.hasManifest(digest)));
      await copyImage(source, destination, root, {
        tag,
        referrers: false,
        select: (children) => children.filter(({ digest }) => below.has(digest)),
        jobs: JOBS,
        abort: new AbortController(),
        progress: { ...NO_PROGRESS, bytes: () => isolateBudget.use(loan) },
      });
    } catch (error) {
      throw source.failure ?? error;
    } finally {
      isolateBudget.giveBack(loan);
    }
    this.#requireSame(upstream);
    upstream.answered();
    this.#outgoing.announce(push, Date.now());
  }

  /** Forgets a push whose tag or image was deleted here. */
  #drop(push: Outgoing): void {
    this.#outgoing.drop(push);
    this.#forget(push);
  }

  /** Makes sure that the upstream shows a push. From then on, the upstream's last write wins, here as well. */
  async #verify(at: MirrorAt, push: Outgoing, upstream: UpstreamClient): Promise<void> {
    const { repository, tag, manifest } = push;
    const found = await upstream.describe(at.mirror, repository, tag ?? manifest.digest);
    if (found === undefined)
      throw new NotShown(`the upstream has taken ${tag ?? manifest.digest}, and does not show it`);
    this.#requireSame(upstream);
    if (!this.#outgoing.isWanted(push)) return;
    const now = Date.now();
    if (tag !== undefined) {
      this.#known.noteTag(repository, tag, found, now);
      this.#moved(repository, tag);
      // Somebody else may have moved the tag at the upstream by now.
      this.#known.addDue(repository, found.digest, now);
    }
    this.#outgoing.settle(push);
  }

  /** @throws Held if the mirror has changed: what the upstream before it has taken does not count */
  #requireSame(upstream: UpstreamClient): void {
    if (upstream !== this.#upstreamNow()) throw new Held();
  }

  #destination(at: MirrorAt, push: Outgoing, upstream: UpstreamClient, slice: Slice): ImageDestination {
    const options = {
      limit: new BodyLimit(),
      records: {
        read: async (key: string) => this.#outgoing.upload(key),
        write: async (key: string, location: string) => {
          this.#outgoing.setUpload(key, location);
          slice.requireLeft();
        },
        remove: async (key: string) => this.#outgoing.removeUpload(key),
      },
    };
    const target = upstream.repository(at.mirror, push.repository, 'push');
    const plain = new RegistryDestination(target, options);
    return {
      hasManifest: (digest) => plain.hasManifest(digest),
      putBlob: async (content, onBytes) => {
        slice.requireLeft();
        const other = this.#outgoing.repositoryWith(content.digest);
        const isElsewhere = other !== undefined && other !== push.repository;
        const mountFrom = isElsewhere ? nameAtUpstream(at.mirror, this.#config, other) : undefined;
        const end = await new RegistryDestination(target, { ...options, mountFrom }).putBlob(content, onBytes);
        this.#outgoing.noteBlob(content.digest, push.repository, Date.now());
        return end;
      },
      putManifest: (manifest, tag) => {
        if (this.#deleting.has(push.repository) || !this.#outgoing.isWanted(push)) throw new Held();
        const written = plain.putManifest(manifest, tag);
        this.#writing.add(written);
        return written;
      },
    };
  }
}

/** Thrown if the upstream does not show what it has taken. It may do so later. */
class NotShown extends Error {
  override readonly name = 'NotShown';
}

/** Returns whether an upstream says that it deletes nothing of the kind, whoever asks. */
function isUnsupported(error: unknown): boolean {
  return error instanceof RegistryError && (error.status === 405 || error.code === 'UNSUPPORTED');
}
