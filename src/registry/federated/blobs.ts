/**
 * Blobs at a node. They are read from the nearest location, and a push can reuse those that central has.
 *
 * Invariant 5: before a HEAD, a mount or a commit relies on central's copy of a blob, it renews central's lease. It
 * then writes a link in the node's store. A commit may use that link until 0.75 g before the lease ends, where g is the
 * grace time. A HEAD answers from the link alone, without asking central, while the link stays usable for at least
 * another g.
 *
 * A push waits for central only briefly: if central says yes later, the answer is still stored, for the next HEAD.
 */
import type { Digest } from '../../oci/digest.ts';
import { isUnavailable, OciError } from '../../oci/errors.ts';
import { organizationOf, type RepositoryName } from '../../oci/reference.ts';
import {
  type BlobRows,
  findBlob,
  findBlobAndPromise,
  findBlobsAndPromise,
  leaseTimes,
  linkedAmong,
  type LocationRow,
} from '../../stores/blob-rows.ts';
import type { ByteRange } from '../../stores/bucket.ts';
import type { BoundStatement } from '../../stores/database.ts';
import { findMountSource } from '../../stores/mount-rows.ts';
import { linkFromElsewhere, linkUntil, removeNewLink, usableUntil } from '../../stores/promised-links.ts';
import type { PullableRepositories, ReadAccess } from '../access.ts';
import {
  blobUnknown,
  bytesUnreachable,
  isReachable,
  missingBlobs,
  movedLocations,
  openNearest,
  readableLocations,
  requirePublic,
} from '../answers.ts';
import { answerOfCentral, askedBriefly, type Federation, orUnavailable } from './central.ts';
import type { BlobDescriptor, Registry, StoredBlob } from '../registry.ts';
import type { StoredRegistry } from '../stored.ts';

/** The most blobs that central is asked for in one batch. Each takes three statements there. */
const BLOBS_PER_BATCH = 50;

/**
 * The most blobs that one push asks central for. Each takes three statements at central and two that write the link at
 * the node. If the node's batch needs all three attempts, it is nine in all. D1 may end a request after 1,000
 * statements.
 */
export const MOST_PROMISED = 100;

/** Bytes that were asked for before a row named their location at central. */
interface EarlyBytes {
  readonly key: string;
  /** Undefined if the object is gone, or the bucket does not answer. */
  readonly content: Promise<ReadableStream<Uint8Array> | undefined>;
}

export class FederatedBlobs implements Pick<Registry, 'getBlob' | 'resolveBlob' | 'mountBlob'> {
  readonly #federation: Federation;
  readonly #local: StoredRegistry;

  constructor(federation: Federation, local: StoredRegistry) {
    this.#federation = federation;
    this.#local = local;
  }

  async getBlob(access: ReadAccess, digest: Digest, opensWhole = false): Promise<StoredBlob> {
    const { node, central } = this.#federation;
    const { repository } = access;
    const local = await findBlob(node.database, repository, digest, node.name).catch(orUnavailable);
    if (local instanceof OciError)
      return this.#blobAt(access, digest, await this.#locationsWithoutNode(access, digest, local));
    requirePublic(access, local.public);
    if (local.locations.length > 0) return this.#blobAt(access, digest, local.locations);
    const early = opensWhole ? this.#askEarly(repository, digest) : undefined;
    const locations = await this.#locationsAtCentral(repository, digest, local).catch((error: unknown) => {
      this.#drop(repository, digest, early);
      throw error;
    });
    const [nearest] = locations;
    if (nearest?.store === central.name && nearest.key === early?.key)
      return this.#blobAt(access, digest, locations, early);
    this.#drop(repository, digest, early);
    return this.#blobAt(access, digest, locations);
  }

  /** Asks central's bucket for a blob before a row names its location, if the node knows the likely key. */
  #askEarly(repository: RepositoryName, digest: Digest): EarlyBytes | undefined {
    const { central, options } = this.#federation;
    const key = options.likelyKeys.of(repository, digest);
    return key === undefined ? undefined : { key, content: central.bucket.get(key).catch(() => undefined) };
  }

  /** Drops early bytes that are not needed, and forgets their key. Their stream is cancelled after the response. */
  #drop(repository: RepositoryName, digest: Digest, early: EarlyBytes | undefined): void {
    if (early === undefined) return;
    const { likelyKeys, defer } = this.#federation.options;
    likelyKeys.forget(repository, digest);
    defer(early.content.then((content) => content?.cancel().catch(() => undefined)));
  }

  /**
   * Finds a blob's locations at central while the node's store does not answer.
   * @param unavailable the node's error. It is thrown if central lacks the blob, because the node may still have it.
   */
  async #locationsWithoutNode(
    access: ReadAccess,
    digest: Digest,
    unavailable: OciError,
  ): Promise<readonly LocationRow[]> {
    const { central } = this.#federation;
    const remote = await answerOfCentral(findBlob(central.database, access.repository, digest, central.name));
    requirePublic(access, remote.public);
    const locations = await readableLocations(remote, digest, this.#federation.options.storeOf);
    if (locations.length === 0) throw unavailable;
    return locations;
  }

  /** @param early the bytes at the first location */
  #blobAt(access: ReadAccess, digest: Digest, locations: readonly LocationRow[], early?: EarlyBytes): StoredBlob {
    return {
      digest,
      size: locations[0]?.size ?? 0,
      open: (range) => this.#open(access, digest, locations, range, range === undefined ? early : undefined),
    };
  }

  async resolveBlob(access: ReadAccess, digest: Digest, mayPush: boolean): Promise<BlobDescriptor> {
    const { node, options } = this.#federation;
    const { limits } = options;
    const { repository } = access;
    const local = mayPush
      ? await findBlobAndPromise(node.database, repository, digest, node.name, this.#lease(), { limits })
      : await findBlob(node.database, repository, digest, node.name).catch(orUnavailable);
    if (local instanceof OciError) {
      return {
        digest,
        size: await this.#reachableSize(digest, await this.#locationsWithoutNode(access, digest, local)),
      };
    }
    requirePublic(access, local.public);
    const [near] = local.locations;
    if (near !== undefined) return { digest, size: near.size };
    if (!mayPush)
      return {
        digest,
        size: await this.#reachableSize(digest, await this.#locationsAtCentral(repository, digest, local)),
      };
    const promised =
      local.promised ??
      (await askedBriefly(this.#federation, (isLate) => this.#promisedByCentral(repository, digest, local, isLate)));
    // The client may push, so it then uploads the blob.
    if (promised === undefined) throw blobUnknown(repository, digest);
    return { digest, size: promised };
  }

  /**
   * Renews central's leases on a blob that the node lacks, and links the blob in the node's store.
   * @returns its size in bytes; undefined if the repository does not have it, or its bytes cannot be reached
   * @throws OciError UNAVAILABLE
   */
  async #promisedByCentral(
    repository: RepositoryName,
    digest: Digest,
    local: BlobRows,
    isLate: () => boolean,
  ): Promise<number | undefined> {
    const { node, central, options } = this.#federation;
    const lease = this.#lease();
    const { linked, locations } = await answerOfCentral(
      findBlobAndPromise(central.database, repository, digest, central.name, lease, {
        linkedElsewhere: local.linked,
        limits: options.limits,
      }),
    );
    const [nearest] = locations;
    if ((!local.linked && !linked) || nearest === undefined || !(await isReachable(locations, options.storeOf)))
      return undefined;
    const until = usableUntil(locations, options.graceMilliseconds);
    await node.database.batch(linkUntil(repository, { digest, size: nearest.size }, lease.now, until), { again: true });
    // The node may have applied a deletion before this link existed, and so did not remove it.
    if (isLate() && !local.linked && !(await findBlob(central.database, repository, digest, central.name)).linked)
      await node.database.batch([removeNewLink(repository, digest, lease.now)]);
    return nearest.size;
  }

  /**
   * Mounts a blob locally if the node has the source's link and the bytes, and otherwise from central. Returns false if
   * neither is possible in time: the client then uploads the blob.
   */
  async mountBlob(
    repository: RepositoryName,
    digest: Digest,
    source: ReadAccess | PullableRepositories,
  ): Promise<boolean> {
    if (await this.#local.mountBlob(repository, digest, source)) return true;
    return (await askedBriefly(this.#federation, () => this.#mountFromCentral(repository, digest, source))) ?? false;
  }

  /**
   * Renews central's leases on blobs that a manifest needs and the node lacks, and links the blobs in the node's store.
   * Asks for the first {@link MOST_PROMISED} only. If there are more, it always throws, and the next push of the
   * manifest asks for the next ones.
   * @returns the sizes, in bytes, of those that central has
   * @throws OciError UNAVAILABLE if central does not answer, because only central can say that a blob is missing. If
   *   there are more than {@link MOST_PROMISED}: MANIFEST_BLOB_UNKNOWN if central lacks one of the first, otherwise
   *   UNAVAILABLE.
   */
  async promiseFromCentral(
    repository: RepositoryName,
    digests: readonly Digest[],
  ): Promise<ReadonlyMap<Digest, number>> {
    const { node, central, options } = this.#federation;
    const lease = this.#lease();
    const linked = await linkedAmong(node.database, repository, digests);
    const links: BoundStatement[] = [];
    const sizes = new Map<Digest, number>();
    const first = digests.slice(0, MOST_PROMISED);
    for (let i = 0; i < first.length; i += BLOBS_PER_BATCH) {
      const wanted = first.slice(i, i + BLOBS_PER_BATCH);
      const asked = wanted.map((digest) => ({ digest, linkedElsewhere: linked.has(digest) }));
      const found = await answerOfCentral(
        findBlobsAndPromise(central.database, repository, asked, central.name, lease, options.limits),
      );
      for (const [at, { locations }] of found.entries()) {
        const digest = wanted[at];
        const [location] = locations;
        if (digest === undefined || location === undefined) continue;
        sizes.set(digest, location.size);
        const until = usableUntil(locations, options.graceMilliseconds);
        links.push(...linkUntil(repository, { digest, size: location.size }, lease.now, until));
      }
    }
    if (links.length > 0) await node.database.batch(links, { again: true });
    const unknown = first.filter((digest) => !sizes.has(digest));
    if (first.length < digests.length && unknown.length > 0) throw missingBlobs(repository, unknown);
    if (first.length < digests.length)
      throw new OciError('UNAVAILABLE', {
        message: `central has confirmed ${first.length} of ${digests.length} blobs: send the manifest again`,
        headers: { 'Retry-After': '1' },
      });
    return sizes;
  }

  async #mountFromCentral(
    repository: RepositoryName,
    digest: Digest,
    source: ReadAccess | PullableRepositories,
  ): Promise<boolean> {
    const { node, central, options } = this.#federation;
    const from =
      'repository' in source
        ? source
        : await answerOfCentral(findMountSource(central.database, digest, source.ranges)).then(
            (name) => name && ({ repository: name, condition: 'granted' } as const),
          );
    if (from === undefined) return false;
    const lease = this.#lease();
    const onlyIfPublic = from.condition === 'if-public';
    // No `limits` here: they would make the source's organization count the blob again, and another organization must
    // not cause that.
    const asked = { onlyIfPublic };
    const local = await findBlobAndPromise(node.database, from.repository, digest, node.name, lease, asked);
    if (onlyIfPublic && !local.public) return false;
    const remote = await answerOfCentral(
      findBlobAndPromise(central.database, from.repository, digest, central.name, lease, {
        ...asked,
        linkedElsewhere: local.linked,
      }),
    );
    if (onlyIfPublic && !remote.public) return false;
    const [nearest] = remote.locations;
    if (nearest === undefined || !(await isReachable(remote.locations, options.storeOf))) return false;
    const blob = { digest, size: nearest.size };
    const until = usableUntil(remote.locations, options.graceMilliseconds);
    if (organizationOf(from.repository) === organizationOf(repository)) {
      await node.database.batch(linkUntil(repository, blob, lease.now, until), { again: true });
    } else await linkFromElsewhere(node.database, repository, blob, lease.now, until, options.limits);
    return true;
  }

  /** @throws OciError BLOB_UNKNOWN, UNAVAILABLE */
  async #locationsAtCentral(
    repository: RepositoryName,
    digest: Digest,
    local: BlobRows,
  ): Promise<readonly LocationRow[]> {
    const { central, options } = this.#federation;
    const remote = await answerOfCentral(findBlob(central.database, repository, digest, central.name, local.linked));
    const damaged = [...local.damaged, ...remote.damaged];
    const locations = await readableLocations({ locations: remote.locations, damaged }, digest, options.storeOf);
    if ((!local.linked && !remote.linked) || locations.length === 0) throw blobUnknown(repository, digest);
    return locations;
  }

  /** @throws OciError UNAVAILABLE if no location has its object */
  async #reachableSize(digest: Digest, locations: readonly LocationRow[]): Promise<number> {
    if (!(await isReachable(locations, this.#federation.options.storeOf))) throw bytesUnreachable(digest, locations);
    return locations[0]?.size ?? 0;
  }

  /** Opens the nearest location. If it is not in the node's store, the blob is also copied down, after the answer. */
  async #open(
    access: ReadAccess,
    digest: Digest,
    locations: readonly LocationRow[],
    range: ByteRange | undefined,
    early: EarlyBytes | undefined,
  ): Promise<ReadableStream<Uint8Array>> {
    const { node, options } = this.#federation;
    const content = await early?.content;
    const [first, ...others] = locations;
    const opened =
      (first && content && { location: first, content }) ??
      (await openNearest(early === undefined ? locations : others, range, options.storeOf)) ??
      (await this.#openElsewhere(access, digest, locations, range));
    if (opened === undefined) throw bytesUnreachable(digest, locations);
    if (opened.location.store !== node.name) options.replication.copyBlobDown(access.repository, digest);
    return opened.content;
  }

  async #openElsewhere(
    access: ReadAccess,
    digest: Digest,
    tried: readonly LocationRow[],
    range: ByteRange | undefined,
  ) {
    const { options } = this.#federation;
    const moved = await movedLocations(tried, digest, options.storeOf);
    const opened = await openNearest(moved, range, options.storeOf);
    if (opened !== undefined) return opened;
    const local: BlobRows = { public: false, linked: true, locations: [], damaged: [] };
    const keys = new Set(tried.map(({ key }) => key));
    const remote = await this.#locationsAtCentral(access.repository, digest, local).catch((error: unknown) => {
      if (isUnavailable(error)) return [];
      throw error;
    });
    return openNearest(
      remote.filter(({ key }) => !keys.has(key)),
      range,
      options.storeOf,
    );
  }

  #lease(): ReturnType<typeof leaseTimes> {
    const { options } = this.#federation;
    return leaseTimes(options.now(), options.graceMilliseconds);
  }
}
