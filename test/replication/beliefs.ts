/**
 * The test's beliefs about links, and about things that only central changes. A belief is the value of the last
 * acknowledged change. It is unsure once a change got no answer.
 */
import type { Digest } from '../../src/oci/digest.ts';
import type { RepositoryName } from '../../src/oci/reference.ts';

export class Beliefs {
  readonly #believed = new Map<string, boolean | 'unsure'>();
  readonly #unlinked = new Map<string, { readonly repository: RepositoryName; readonly digest: Digest }>();

  /** Notes the outcome of a requested change; one without an answer may still happen at any time. */
  told(thing: string, value: boolean, answer: 'answered' | 'refused' | 'failed', disturbed: boolean): void {
    if (answer === 'refused' || this.#believed.get(thing) === 'unsure') return;
    this.#believed.set(thing, answer === 'failed' || disturbed ? 'unsure' : value);
  }

  of(thing: string): boolean | 'unsure' {
    return this.#believed.get(thing) ?? false;
  }

  /** Notes that a host may have linked a blob into a repository, or may still do so. */
  linked(repository: RepositoryName, digest: Digest): void {
    this.#unlinked.delete(`${repository} ${digest}`);
  }

  unlinked(repository: RepositoryName, digest: Digest): void {
    this.#unlinked.set(`${repository} ${digest}`, { repository, digest });
  }

  /** Returns the blobs that were deleted from repositories, and may not have been linked since. */
  deletedBlobs(): Iterable<{ readonly repository: RepositoryName; readonly digest: Digest }> {
    return this.#unlinked.values();
  }
}
