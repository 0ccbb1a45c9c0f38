/** Stores the images that clients have pulled from a mirror, each like a push: its blobs first, then its manifest. */
import { mayPass, reasonOf } from '../upstream/failure.ts';
import { logFailure } from '../log.ts';
import { ContentError } from '../oci-client/content-error.ts';
import type { Digest } from '../oci/digest.ts';
import { OciError } from '../oci/errors.ts';
import { parseManifest } from '../oci/manifest.ts';
import type { RepositoryName, Tag } from '../oci/reference.ts';
import { ifKnown } from '../registry/answers.ts';
import type { Actor, Registry } from '../registry/registry.ts';
import type { Mirror } from '../stores/organizations/mirrors.ts';
import type { MirrorAt } from './answers.ts';
import { blobObjectOf } from './mirror-object.ts';
import { descriptorOf, type DueImage, type KeptManifest, type MirrorState } from './mirror-state.ts';
import type { OutgoingState } from './outgoing-state.ts';
import { Pending } from './waiting.ts';

/** The blobs of an image that are fetched side by side. */
const BLOBS_AT_ONCE = 3;
/** The most tags that an image is stored with at once. */
const MAX_TAGS = 100;
const LATER_MILLISECONDS = 1000;
const FIRST_RETRY_MILLISECONDS = 5000;
/** The last of these attempts comes after some three hours. After it, only another pull brings the image. */
const MAX_ATTEMPTS = 12;

export class ImageStore {
  readonly #env: object;
  readonly #state: MirrorState;
  readonly #outgoing: OutgoingState;
  readonly #registryOf: (at: MirrorAt) => Promise<Registry>;
  /** Writes to the store. */
  readonly #writing = new Pending();

  /** @param registryOf returns the registry beneath */
  constructor(
    env: object,
    state: MirrorState,
    outgoing: OutgoingState,
    registryOf: (at: MirrorAt) => Promise<Registry>,
  ) {
    this.#env = env;
    this.#state = state;
    this.#outgoing = outgoing;
    this.#registryOf = registryOf;
  }

  /** Stores an image that is due, or puts it off. */
  async storeOrPutOff(at: MirrorAt, due: DueImage): Promise<void> {
    try {
      const isStored = await this.#store(at, due);
      if (isStored) return this.#state.endDue(due);
      this.#state.putOff(due, Date.now() + LATER_MILLISECONDS, due.attempts);
    } catch (error) {
      const { repository, digest, attempts } = due;
      const mayBeTriedAgain = mayPass(error) && attempts + 1 < MAX_ATTEMPTS;
      logFailure({ mirror: repository, digest, attempt: attempts + 1, error: reasonOf(error, at.mirror.credential) });
      if (mayBeTriedAgain) this.#state.putOff(due, Date.now() + FIRST_RETRY_MILLISECONDS * 2 ** attempts, attempts + 1);
      else this.#state.endDue(due);
    }
  }

  /**
   * Waits for writes of tags that are under way. No write that began earlier can then overwrite a push that was noted
   * before this call and is committed after it.
   */
  written(): Promise<void> {
    return this.#writing.settled();
  }

  /** Removes a tag that the upstream no longer has, unless the stored tag names a digest other than these. */
  async remove(at: MirrorAt, repository: RepositoryName, tag: Tag, meanings: readonly Digest[]): Promise<void> {
    const registry = await this.#registryOf(at);
    const unlessMoved = { ifMatch: meanings.map((digest) => `"${digest}"`), ifNoneMatch: undefined };
    try {
      if (!this.#outgoing.has(repository, tag))
        await this.#write(registry.deleteTag(repository, tag, byMirror(at.mirror), unlessMoved));
    } catch (error) {
      const isGone = error instanceof OciError && GONE.has(error.kind);
      if (!isGone) return logFailure({ mirror: repository, tag, failed: 'remove', error: String(error) });
    }
    this.#state.forgetDescriptor(repository, tag);
  }

  #write<Written>(written: Promise<Written>): Promise<Written> {
    this.#writing.add(written);
    return written;
  }

  /** Stores an image. @returns false if its blobs are still being fetched */
  async #store(at: MirrorAt, { repository, digest }: DueImage): Promise<boolean> {
    const registry = await this.#registryOf(at);
    const asked = this.#state.manifest(repository, digest);
    const kept = asked ?? (await storedManifest(registry, repository, digest));
    // Nobody has pulled the manifest yet, or others have pushed it out.
    if (kept === undefined) return true;
    const tags = await this.#tagsToWrite(registry, repository, digest);
    // A stored manifest is not written again.
    if (asked === undefined && tags.length === 0) return true;
    const manifest = parseManifest(kept.bytes, kept.mediaType);
    const sizes = new Map(manifest.references.map((each) => [each.digest, each.size ?? undefined]));
    for (let i = 0; i < manifest.requiredBlobs.length; i += BLOBS_AT_ONCE) {
      const some = manifest.requiredBlobs.slice(i, i + BLOBS_AT_ONCE);
      const fetched = await Promise.all(some.map((blob) => this.#bring(at, repository, blob, sizes.get(blob))));
      if (fetched.includes(false)) return false;
    }
    // A tag that was pushed here stays until the upstream shows it.
    const written = tags.filter((tag) => !this.#outgoing.has(repository, tag));
    await this.#write(registry.putManifest(repository, digest, manifest, kept.size, written, byMirror(at.mirror)));
    this.#state.noteStored(repository, written, digest);
    this.#state.forgetManifest(repository, digest);
    return true;
  }

  /**
   * Returns the tags of the manifest that are not stored with it yet. Another store may have asked the upstream later,
   * and moved the tag since.
   */
  async #tagsToWrite(registry: Registry, repository: RepositoryName, digest: Digest): Promise<readonly Tag[]> {
    const tags = this.#state.tagsOf(repository, digest, MAX_TAGS);
    const access = { repository, condition: 'granted' } as const;
    const wanted = tags.map((tag) => ({ access, reference: { kind: 'tag', tag } as const }));
    const images = tags.length === 0 ? [] : await registry.findImages(wanted, true);
    const stored = new Map(
      images.flatMap((image) => image.tags.map(({ name, pushedAt }) => [name, { digest: image.digest, pushedAt }])),
    );
    return tags.filter((tag) => {
      const there = stored.get(tag);
      const { checkedAt = 0, stored: own } = this.#state.tag(repository, tag) ?? {};
      if (there === undefined) return true;
      return there.digest !== digest && (there.pushedAt <= checkedAt || there.digest === own);
    });
  }

  /** Brings a blob into the store. @returns false if it is still being fetched */
  async #bring(at: MirrorAt, repository: RepositoryName, digest: Digest, size: number | undefined): Promise<boolean> {
    const registry = await this.#registryOf(at);
    const access = { repository, condition: 'granted' } as const;
    // As before a push, this keeps the blob until the manifest comes.
    const isThere = await ifKnown(registry.resolveBlob(access, digest, true));
    if (isThere !== undefined) return true;
    const wanted = { ...at, repository, digest, size };
    const outcome = await blobObjectOf(this.#env, wanted).ensure(wanted);
    if (outcome === 'stored') return true;
    if (outcome === 'fetching') return false;
    if (outcome === 'absent') throw new ContentError(`the upstream has no blob ${digest}`);
    if (outcome.mayPass) throw new OciError('UNAVAILABLE', { message: outcome.failed });
    throw new ContentError(outcome.failed);
  }
}

/** A stored tag that is gone, or has another meaning now. */
const GONE: ReadonlySet<string> = new Set(['MANIFEST_UNKNOWN', 'NAME_UNKNOWN', 'PRECONDITION_FAILED']);

/** The author of the tags that a mirror stores. */
export function byMirror({ from }: Mirror): Actor {
  return { subject: 'mirror', name: from, host: '' };
}

async function storedManifest(
  registry: Registry,
  repository: RepositoryName,
  digest: Digest,
): Promise<KeptManifest | undefined> {
  const access = { repository, condition: 'granted' } as const;
  const found = await ifKnown(registry.getManifest(access, { kind: 'digest', digest }));
  return found && { ...descriptorOf(found), bytes: Uint8Array.from(new TextEncoder().encode(found.text)) };
}
