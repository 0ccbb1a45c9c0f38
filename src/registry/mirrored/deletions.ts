/** Deletions of tags and manifests in mirrors, at the upstream first if pushes go there. */
import type { Digest } from '../../oci/digest.ts';
import { OciError } from '../../oci/errors.ts';
import { holds, type Precondition } from '../../oci/precondition.ts';
import type { Reference, RepositoryName, Tag } from '../../oci/reference.ts';
import { isUnknown } from '../answers.ts';
import type { Actor, Registry } from '../registry.ts';
import type { Layer } from './layer.ts';
import { forwards } from './coverage.ts';
import type { MirroredReads } from './reads.ts';

export class MirroredDeletions implements Pick<Registry, 'deleteTag' | 'deleteManifest'> {
  readonly #layer: Layer;
  readonly #reads: MirroredReads;

  constructor(layer: Layer, reads: MirroredReads) {
    this.#layer = layer;
    this.#reads = reads;
  }

  deleteTag(repository: RepositoryName, tag: Tag, by?: Actor, precondition?: Precondition): Promise<void> {
    return this.#delete(repository, { kind: 'tag', tag }, precondition, (left) =>
      this.#layer.beneath.deleteTag(repository, tag, by, left),
    );
  }

  deleteManifest(repository: RepositoryName, digest: Digest, by?: Actor, precondition?: Precondition): Promise<void> {
    return this.#delete(repository, { kind: 'digest', digest }, precondition, (left) =>
      this.#layer.beneath.deleteManifest(repository, digest, by, left),
    );
  }

  /**
   * Deletes at the upstream first, if pushes go there.
   * @param here deletes in the registry beneath, which checks the remaining precondition
   */
  async #delete(
    repository: RepositoryName,
    reference: Reference,
    precondition: Precondition | undefined,
    here: (left: Precondition | undefined) => Promise<void>,
  ): Promise<void> {
    const mirror = await this.#layer.upstreams.of(repository);
    if (!forwards(mirror, repository)) {
      await here(precondition);
      if (mirror !== undefined && reference.kind === 'tag')
        this.#layer.upstreams.forgetTag(mirror, repository, reference.tag);
      return;
    }
    if (precondition !== undefined) {
      const { digest } = await this.#reads.resolveManifest({ repository, condition: 'granted' }, reference, false);
      if (!holds(precondition, digest)) throw new OciError('PRECONDITION_FAILED');
    }
    const name = reference.kind === 'tag' ? reference.tag : reference.digest;
    const wasThere = await this.#layer.upstreams.deleteReference(mirror, repository, name);
    await here(undefined).catch((error: unknown) => {
      if (!wasThere || !isUnknown(error)) throw error;
    });
  }
}
