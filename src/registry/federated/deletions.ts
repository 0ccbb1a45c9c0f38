/**
 * Deletions at a node go through central, in four steps:
 *
 * 1. Read, at the node, the versions of the rows to delete.
 * 2. In one transaction at central, choose a version above them, and write the tombstone and a change log entry.
 * 3. Store the tombstone at the node.
 * 4. Answer the client.
 *
 * If central is unavailable or too slow, the answer is 503. If central's step was done but the node's was not, a retry
 * of the request finishes it.
 */
import type { Digest } from '../../oci/digest.ts';
import { isUnavailable, OciError } from '../../oci/errors.ts';
import type { Precondition } from '../../oci/precondition.ts';
import type { RepositoryName, Tag } from '../../oci/reference.ts';
import { type Actor, authorOf, BERTH_ITSELF } from '../../stores/organizations/audit-rows.ts';
import { raiseClockTo, type CommitContext } from '../../stores/clock.ts';
import type { BoundStatement } from '../../stores/database.ts';
import {
  blobUse,
  deleteManifest,
  deleteRepository,
  deleteTag,
  applyUnlink,
  unlinkBlob,
} from '../../stores/deletion/deletions.ts';
import type { Shown } from '../../stores/deletion/shown.ts';
import { requireNoTagAbove, type TagAbove, tagsOfManifest } from '../../stores/manifests/tags-above.ts';
import { findManifest } from '../../stores/manifests/manifest-rows.ts';
import { type ManifestLifecycle, mergeRows, type TagRow } from '../../stores/merge.ts';
import {
  isAlive,
  isVisible,
  type ManifestVersions,
  mergeManifests,
  mergeTags,
  NO_MANIFEST,
  type TagVersion,
  underRemoval,
} from '../../stores/versions.ts';
import { linksDeadUntil, knownRepository, mergeRemoval, removedBefore } from '../../stores/deletion/removals.ts';
import { lifecycleOf, lookUpVersions } from '../../stores/list-rows.ts';
import { putCentralUsage, selectUsageOf } from '../../stores/organizations/usage-rows.ts';
import { requireHolds, untilUndisturbed } from '../conditional.ts';
import { manifestUnknown, nameUnknown, requireUnlinked } from '../answers.ts';
import type { Registry } from '../registry.ts';
import { answerOfCentral, type Federation } from './central.ts';
import { sweepAfterRemoval } from '../sweep.ts';

export class FederatedDeletions implements Pick<
  Registry,
  'deleteTag' | 'deleteManifest' | 'deleteBlob' | 'deleteRepository'
> {
  readonly #federation: Federation;

  constructor(federation: Federation) {
    this.#federation = federation;
  }

  deleteTag(repository: RepositoryName, tag: Tag, by = BERTH_ITSELF, precondition?: Precondition): Promise<void> {
    return untilUndisturbed(() => this.#deleteTag(repository, tag, by, precondition));
  }

  deleteManifest(
    repository: RepositoryName,
    digest: Digest,
    by = BERTH_ITSELF,
    precondition?: Precondition,
  ): Promise<void> {
    return untilUndisturbed(() => this.#deleteManifest(repository, digest, by, precondition));
  }

  /** @throws ShownChanged if another write came in between: the whole deletion has to be tried again */
  async #deleteTag(
    repository: RepositoryName,
    tag: Tag,
    by: Actor,
    precondition: Precondition | undefined,
  ): Promise<void> {
    const { node, central } = this.#federation;
    const local = await lookUpVersions(node.database, repository, [tag], []);
    const localTag = local.tags.get(tag);
    const digests = localTag?.digest == null ? [] : [localTag.digest];
    const remote = await answerOfCentral(lookUpVersions(central.database, repository, [tag], digests));
    const winner = mergeTags(localTag, remote.tags.get(tag));
    const merged =
      winner?.digest == null
        ? NO_MANIFEST
        : mergeManifests(lifecycleOf(local, winner.digest), lifecycleOf(remote, winner.digest));
    if (isVisible(winner, merged)) {
      const versions = Math.max(localTag?.version ?? 0, winner?.version ?? 0);
      let shown: Shown | undefined;
      if (precondition !== undefined) {
        requireHolds({ precondition }, winner?.digest ?? undefined);
        const remoteTag = remote.tags.get(tag);
        const isShown = remoteTag?.digest != null && isVisible(remoteTag, lifecycleOf(remote, remoteTag.digest));
        shown = { reference: { kind: 'tag', tag }, version: isShown ? remoteTag.version : null };
      }
      const deleted = deleteTag(central.database, this.#context(by), repository, tag, { versions }, shown);
      const version = await answerOfCentral(deleted);
      await this.#applyAtNode(
        [{ repository, name: tag, digest: null, version: version ?? 0, origin: central.name, author: authorOf(by) }],
        [],
      );
      this.#federation.options.replication.wakeCentral();
      return;
    }
    // The tag is deleted already. If the node still shows it, this may be a retry that has to finish the node's step.
    const visibleHere = localTag?.digest != null && isVisible(localTag, lifecycleOf(local, localTag.digest));
    if (!visibleHere) {
      await this.#raiseClock([
        remote.tags.get(tag)?.version ?? 0,
        remote.removed,
        ...[...remote.manifests.values()].map(greatestOf),
      ]);
      throw manifestUnknown(repository, { kind: 'tag', tag }, await this.#repositoryExists(repository, tag));
    }
    const tombstone = remote.tags.get(tag);
    const lifecycles = digests.map((digest) => ({
      repository,
      digest,
      created: 0,
      deleted: lifecycleOf(remote, digest).deleted,
    }));
    await this.#applyAtNode(tombstone === undefined ? [] : [{ ...tombstone, repository, name: tag }], lifecycles);
  }

  /** @throws ShownChanged if another write came in between: the whole deletion has to be tried again */
  async #deleteManifest(
    repository: RepositoryName,
    digest: Digest,
    by: Actor,
    precondition: Precondition | undefined,
  ): Promise<void> {
    const { node, central } = this.#federation;
    const reference = { kind: 'digest', digest } as const;
    const local = await findManifest(node.database, repository, reference, 'descriptor');
    const remote = await answerOfCentral(findManifest(central.database, repository, reference, 'descriptor'));
    const here = underRemoval(local.manifest ?? NO_MANIFEST, local.removed);
    const there = underRemoval(remote.manifest ?? NO_MANIFEST, remote.removed);
    if (isAlive(mergeManifests(here, there))) {
      let shown: Shown | undefined;
      if (precondition !== undefined) {
        requireHolds({ precondition }, digest);
        shown = { reference, version: isAlive(there) ? there.created : null };
      }
      // Reads all tags on the manifest, so it comes after the checks that need no tags.
      const tags = await tagsOfManifest(node.database, repository, digest);
      requireNoTagAbove(repository, digest, await this.#stillAbove(repository, tags.above));
      const versions = Math.max(here.created, here.deleted, tags.version);
      const context = this.#context(by);
      const version = await answerOfCentral(
        deleteManifest(central.database, context, repository, digest, { versions }, shown),
      );
      await this.#applyAtNode([], [{ repository, digest, created: 0, deleted: version ?? 0 }]);
      this.#federation.options.replication.wakeCentral();
      return;
    }
    if (!isAlive(here)) {
      await this.#raiseClock([greatestOf(there)]);
      throw manifestUnknown(repository, reference, local.repositoryExists || remote.repositoryExists);
    }
    await this.#applyAtNode([], [{ repository, digest, created: 0, deleted: there.deleted }]);
  }

  /** Returns those of the node's unannounced tags that central has neither moved nor deleted since. */
  async #stillAbove(repository: RepositoryName, above: readonly TagAbove[]): Promise<readonly TagAbove[]> {
    if (above.length === 0) return above;
    const { database } = this.#federation.central;
    const [tags, indexes] = [above.map(({ tag }) => tag), above.map(({ index }) => index)];
    const remote = await answerOfCentral(lookUpVersions(database, repository, tags, indexes));
    return above.filter(({ tag, index, ...write }) => {
      const local = { ...write, digest: index };
      // The tag's manifest was pushed with the tag or later. So if the tag is newer than the index's deletion, the
      // index is alive.
      return (
        mergeTags<TagVersion>(local, remote.tags.get(tag)) === local &&
        local.version > lifecycleOf(remote, index).deleted
      );
    });
  }

  async deleteBlob(repository: RepositoryName, digest: Digest, by = BERTH_ITSELF): Promise<void> {
    const { node, central, options } = this.#federation;
    const local = await blobUse(node.database, repository, digest);
    if (local.manifest !== undefined)
      throw new OciError('BLOB_IN_USE', { detail: { digest, manifest: local.manifest } });
    const now = options.now();
    const result = await answerOfCentral(unlinkBlob(central.database, now, repository, digest, by, local.linked));
    requireUnlinked(repository, digest, result);
    const room = await this.#usageAtCentral(repository);
    await node.database.batch([applyUnlink(repository, digest, now), ...room], { again: true });
    options.replication.wakeCentral();
  }

  /**
   * Removes a repository at central and at the node. The removal's version is above the node's clock, so it also covers
   * content that the node has not announced yet.
   */
  async deleteRepository(repository: RepositoryName, by = BERTH_ITSELF): Promise<void> {
    const { node, central, options } = this.#federation;
    const local = await knownRepository(node.database, repository);
    const seen = local.exists ? { versions: local.clock } : undefined;
    const version = await answerOfCentral(deleteRepository(central.database, this.#context(by), repository, seen));
    if (version === undefined) {
      await this.#raiseClock([await answerOfCentral(removedBefore(central.database, repository))]);
      throw nameUnknown(repository);
    }
    const removal = { name: repository, version };
    await node.database.batch(mergeRemoval(removal, linksDeadUntil(removal, options.now())), { again: true });
    await Promise.all([
      sweepAfterRemoval(node.database, repository, options.defer),
      sweepAfterRemoval(central.database, repository, options.defer),
    ]);
    const room = await this.#usageAtCentral(repository);
    if (room.length > 0) await node.database.batch(room, { again: true });
    options.replication.wakeCentral();
  }

  async #repositoryExists(repository: RepositoryName, tag: Tag): Promise<boolean> {
    const { node, central } = this.#federation;
    const reference = { kind: 'tag', tag } as const;
    const [local, remote] = await Promise.all([
      findManifest(node.database, repository, reference, 'descriptor'),
      answerOfCentral(findManifest(central.database, repository, reference, 'descriptor')),
    ]);
    return local.repositoryExists || remote.repositoryExists;
  }

  /** Raises the node's clock to the versions on which a 404 is based, so that a later push here gets a greater one. */
  async #raiseClock(versions: readonly number[]): Promise<void> {
    const { node, options } = this.#federation;
    await raiseClockTo(node.database, Math.max(...versions), options.now());
  }

  /** Stores central's decision at the node, and the organization's usage after a manifest is deleted. */
  async #applyAtNode(tags: readonly TagRow[], lifecycles: readonly ManifestLifecycle[]): Promise<void> {
    const { node, options } = this.#federation;
    const [lifecycle] = lifecycles;
    const room = lifecycle === undefined ? [] : await this.#usageAtCentral(lifecycle.repository);
    const merged = mergeRows({ tags, lifecycles, manifests: [], blobs: [] }, options.now());
    await node.database.batch([...merged, ...room], { again: true });
  }

  /**
   * Reads what the organization now uses at central, so that the node knows at once how much room the deletion has
   * made. If central does not answer, the node learns it later from the change log.
   */
  async #usageAtCentral(repository: RepositoryName): Promise<BoundStatement[]> {
    const told = this.#federation.central.database.batch({ usage: selectUsageOf([repository]) }, { again: true });
    return answerOfCentral(told).then(
      ({ usage }) => putCentralUsage(usage),
      (error: unknown) => {
        if (isUnavailable(error)) return [];
        throw error;
      },
    );
  }

  /** A deletion is a transaction of central, so central is its origin. */
  #context(by: Actor): CommitContext {
    return { origin: this.#federation.central.name, announces: false, now: this.#federation.options.now(), by };
  }
}

function greatestOf({ created, deleted }: ManifestVersions): number {
  return Math.max(created, deleted);
}
