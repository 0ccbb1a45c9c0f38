/**
 * Carries pushes to the upstream of a mirror, one after another: the blobs and manifests that it lacks, and then the
 * manifest under its tag. It deletes there, too, and never while it writes the same repository.
 */
import { type Slice, SliceOver } from '../upstream/slice.ts';
import { BodyLimit } from '../oci-client/body-limit.ts';
import { copyImage, type ImageDestination } from '../oci-client/copy-image.ts';
import { RegistryDestination } from '../oci-client/registry-image.ts';
import { RegistryError } from '../oci-client/registry-error.ts';
import type { Config } from '../config.ts';
import type { Reference, RepositoryName } from '../oci/reference.ts';
import { ifKnown } from '../registry/answers.ts';
import type { Registry } from '../registry/registry.ts';
import { isolateBudget } from '../stores/uploads/buffer-budget.ts';
import type { DeleteAnswer, MirrorAt } from './answers.ts';
import type { MirrorState } from './mirror-state.ts';
import { afterFailure, blameFor, judgeUnconfirmed, LOOK_MILLISECONDS } from './outgoing.ts';
import type { Outgoing, OutgoingState } from './outgoing-state.ts';
import { nameAtUpstream } from './reach-upstream.ts';
import { MAX_IMAGE_BYTES, StoredSource } from './stored-source.ts';
import type { UpstreamClient } from './upstream-client.ts';

/** The blobs or manifests of an image that are copied side by side. */
const JOBS = 3;
/** The time after which a push goes on that waited for a deletion. */
const HELD_MILLISECONDS = 1000;
const NO_PROGRESS = { planned: () => undefined, bytes: () => undefined, ended: () => undefined };

/** Thrown before a manifest is written that should not be now: a later push or a deletion came in between. */
class Held extends Error {
  override readonly name = 'Held';
}

export class Forwarder {
  readonly #config: Config;
  readonly #known: MirrorState;
  readonly #outgoing: OutgoingState;
  readonly #upstreamNow: () => UpstreamClient;
  readonly #registryOf: (at: MirrorAt) => Promise<Registry>;
  /** Repositories in which something is being deleted, and how often. */
  readonly #deleting = new Map<RepositoryName, number>();
  /** The manifest that is being written to the upstream. */
  #writing: Promise<void> = Promise.resolve();

  /**
   * @param upstream returns the client of the mirror's upstream, another after each change of the mirror
   * @param registryOf returns the registry beneath
   */
  constructor(
    config: Config,
    known: MirrorState,
    outgoing: OutgoingState,
    upstream: () => UpstreamClient,
    registryOf: (at: MirrorAt) => Promise<Registry>,
  ) {
    this.#config = config;
    this.#known = known;
    this.#outgoing = outgoing;
    this.#upstreamNow = upstream;
    this.#registryOf = registryOf;
  }

  /** Returns when there is something to carry; undefined if nothing waits. */
  nextDueAt(): number | undefined {
    const dueAt = this.#outgoing.nextDueAt();
    return dueAt === undefined ? undefined : Math.max(dueAt, this.#upstreamNow().status().askedAgainAt ?? 0);
  }

  /** Takes a push that is due one stage further. @returns whether another may follow in this run */
  async carryNext(at: MirrorAt, slice: Slice): Promise<boolean> {
    const upstream = this.#upstreamNow();
    const push = upstream.isPaused ? undefined : this.#outgoing.next(Date.now());
    if (push === undefined) return false;
    try {
      if (push.stage === 'noted') await this.#look(at, push);
      else if (push.stage === 'pending') await this.#copy(at, push, upstream, slice);
      else await this.#verify(at, push, upstream);
      return true;
    } catch (error) {
      if (error instanceof SliceOver) return false;
      if (error instanceof Held) {
        this.#outgoing.putOff(push, Date.now() + HELD_MILLISECONDS);
        return true;
      }
      const reason = upstream.reasonOf(at.mirror, error);
      if (blameFor(error) === 'upstream') upstream.leaveAlone(error, reason);
      this.#outgoing.noteFailure(push, afterFailure(push.attempts, error, Date.now()), reason);
      return true;
    }
  }

  /** Deletes a tag or a manifest at the upstream. */
  async delete(at: MirrorAt, repository: RepositoryName, reference: string): Promise<DeleteAnswer> {
    const upstream = this.#upstreamNow();
    this.#deleting.set(repository, (this.#deleting.get(repository) ?? 0) + 1);
    try {
      await this.#writing.catch(() => undefined);
      const wasThere = await upstream.repository(at.mirror, repository, 'push').deleteManifest(reference);
      this.#outgoing.dropReference(repository, reference);
      this.#known.forgetReference(repository, reference);
      return { wasThere };
    } catch (error) {
      const isRefused = error instanceof RegistryError && error.status < 500 && error.status !== 429;
      if (!isRefused) return { failure: upstream.failure(at.mirror, error, false) };
      const isUnsupported = error.status === 405 || error.code === 'UNSUPPORTED';
      return { refusal: { isUnsupported, reason: upstream.reasonOf(at.mirror, error) } };
    } finally {
      const others = (this.#deleting.get(repository) ?? 1) - 1;
      if (others === 0) this.#deleting.delete(repository);
      else this.#deleting.set(repository, others);
    }
  }

  /** Finds out whether a push was committed whose request ended without saying so. */
  async #look(at: MirrorAt, push: Outgoing): Promise<void> {
    const { repository, tag, manifest, notedAt, id } = push;
    const registry = await this.#registryOf(at);
    const { digest } = manifest;
    const reference: Reference = tag === undefined ? { kind: 'digest', digest } : { kind: 'tag', tag };
    const found = await ifKnown(registry.resolveManifest({ repository, condition: 'granted' }, reference, false));
    const now = Date.now();
    const verdict = judgeUnconfirmed(found?.digest === digest, notedAt, now);
    if (verdict === 'forward') this.#outgoing.confirm(id, undefined, now);
    else if (verdict === 'drop') this.#outgoing.withdraw(id);
    else this.#outgoing.putOff(push, now + LOOK_MILLISECONDS);
  }

  async #copy(at: MirrorAt, push: Outgoing, upstream: UpstreamClient, slice: Slice): Promise<void> {
    const { repository, tag, manifest } = push;
    const source = new StoredSource(await this.#registryOf(at), repository, slice);
    const loan = await isolateBudget.wait(MAX_IMAGE_BYTES, 0, undefined, at.mirror.organization);
    try {
      const root = await source.find(manifest.digest);
      // It was deleted here.
      if (root === undefined) return this.#outgoing.drop(push);
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
    if (upstream !== this.#upstreamNow()) throw new Held();
    upstream.answered();
    this.#outgoing.announce(push, Date.now());
  }

  /** Makes sure that the upstream shows a push. From then on, its last write wins. */
  async #verify(at: MirrorAt, push: Outgoing, upstream: UpstreamClient): Promise<void> {
    const { repository, tag, manifest } = push;
    const found = await upstream.describe(at.mirror, repository, tag ?? manifest.digest);
    if (found === undefined)
      throw new NotShown(`the upstream has taken ${tag ?? manifest.digest}, and does not show it`);
    if (tag !== undefined) this.#known.noteTag(repository, tag, found, Date.now());
    this.#outgoing.settle(push);
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
        this.#writing = written;
        return written;
      },
    };
  }
}

/** The upstream may show what it has taken after a while. */
class NotShown extends Error {
  override readonly name = 'NotShown';
}
