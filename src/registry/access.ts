import type { RepositoryName } from '../oci/reference.ts';

/**
 * A repository that a caller may read, and under which condition. Whether a repository is public is a fact of the
 * store: it is judged by the query that reads, so that no decision is older than its answer.
 */
export interface ReadAccess {
  readonly repository: RepositoryName;
  readonly condition: 'granted' | 'if-public';
}

/** The repositories that a caller may pull, for lists and for mounts without a source. */
export interface PullableRepositories {
  /** Ranges of names: `from` inclusive, `to` exclusive. */
  readonly ranges: readonly { readonly from: string; readonly to: string }[];
  /** Public repositories of others come on top. */
  readonly withPublic: boolean;
}

/** The repositories whose images a caller asks to list, of those that it may pull. */
export interface ListableRepositories {
  /** Ranges of names: `from` inclusive, `to` exclusive. */
  readonly ranges: readonly { readonly from: string; readonly to: string }[];
  /** Public repositories within this range come on top. */
  readonly publicWithin: { readonly from: string; readonly to: string } | undefined;
}

/** Thrown by a read whose `if-public` condition does not hold: what the caller is told depends on who they are. */
export class NotPublic extends Error {
  override readonly name = 'NotPublic';
}
