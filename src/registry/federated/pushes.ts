/** Writes manifests to a node's store. */
import type { Digest } from '../../oci/digest.ts';
import type { Manifest } from '../../oci/manifest.ts';
import type { RepositoryName, Tag } from '../../oci/reference.ts';
import { findShown } from '../../stores/deletion/shown.ts';
import {
  type Committed,
  commitManifest,
  type ManifestCommit,
  type ManifestContext,
} from '../../stores/manifests/manifest-commit.ts';
import { requireStatedSizes } from '../../stores/manifests/stated-sizes.ts';
import { type Actor, BERTH_ITSELF } from '../../stores/organizations/audit-rows.ts';
import { missingBlobs } from '../answers.ts';
import { type Conditional, requireHolds, untilUndisturbed } from '../conditional.ts';
import type { Registry } from '../registry.ts';
import type { FederatedBlobs } from './blobs.ts';
import type { Federation } from './central.ts';
import { requireKnownAtCentral } from './known-at-central.ts';
import type { FederatedManifests } from './manifests.ts';

export class FederatedPushes implements Pick<Registry, 'putManifest'> {
  readonly #federation: Federation;
  readonly #manifests: FederatedManifests;
  readonly #blobs: FederatedBlobs;

  constructor(federation: Federation, manifests: FederatedManifests, blobs: FederatedBlobs) {
    this.#federation = federation;
    this.#manifests = manifests;
    this.#blobs = blobs;
  }

  /** Asks central only for blobs that the node lacks, or about a quota. */
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
}
