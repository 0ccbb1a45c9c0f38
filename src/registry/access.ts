import type { RepositoryName } from '../oci/reference.ts';
import type { NameRange } from '../stores/name-ranges.ts';

/**
 * A repository that a caller may read, and the condition for it. The store knows whether a repository is public. The
 * query that reads also checks this, so that the decision is never older than the answer.
 */
export interface ReadAccess {
  readonly repository: RepositoryName;
  readonly condition: 'granted' | 'if-public';
}

/** The repositories that a caller may pull, for lists and for mounts without a source. */
export interface PullableRepositories {
  /** Ranges of names: `from` inclusive, `to` exclusive. */
  readonly ranges: readonly NameRange[];
  /** Whether the public repositories of other organizations are included as well. */
  readonly withPublic: boolean;
}

/** The repositories whose images a caller wants to list, limited to those that it may pull. */
export interface ListableRepositories {
  /** Ranges of names: `from` inclusive, `to` exclusive. */
  readonly ranges: readonly NameRange[];
  /** The public repositories within this range are included as well. */
  readonly publicWithin: NameRange | undefined;
}

/**
 * Thrown by a read of a private repository under the condition `if-public`. The caller's identity decides which error
 * the client gets.
 */
export class NotPublic extends Error {
  override readonly name = 'NotPublic';
}
