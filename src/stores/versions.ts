/**
 * The merge rule: stores that have received the same writes agree, in whatever order the writes came. The functions are
 * pure; the SQL that merges rows (`merge.ts`) is tested against them.
 *
 * The last writer wins, and visibility is computed. Merging takes the greater version, row by row. That is idempotent,
 * commutative and associative, so a late copy of an older push undoes nothing, and a push after a deletion works
 * (invariant 3).
 */
import type { Digest } from '../oci/digest.ts';

/** A tag as one transaction wrote it. */
export interface TagVersion {
  /** Null if the tag was deleted. */
  readonly digest: Digest | null;
  /** The version of the transaction. */
  readonly version: number;
  /** The store that wrote it. */
  readonly origin: string;
  /** See {@link AuthoredTag}; undefined where it was not read. */
  readonly author?: string;
}

export interface AuthoredTag extends TagVersion {
  /** The name of the credential that asked for the write, or its id if it has no name; '' for Berth itself. */
  readonly author: string;
}

/** A store's knowledge of a manifest: the versions of its last push and its last deletion; 0 for never. */
export interface ManifestVersions {
  readonly created: number;
  readonly deleted: number;
}

export const NO_MANIFEST: ManifestVersions = { created: 0, deleted: 0 };

/**
 * Returns a number above 0 if `a` wins over `b`. The greater version wins; between equal versions a deletion wins, then
 * the greater origin, then the greater digest. Maintenance can write the same deletion as somebody who asked for one:
 * then the greater author wins, so Berth itself, whose author is '', loses.
 */
export function compareTags(a: TagVersion, b: TagVersion): number {
  if (a.version !== b.version) return a.version - b.version;
  if ((a.digest === null) !== (b.digest === null)) return a.digest === null ? 1 : -1;
  if (a.origin !== b.origin) return a.origin > b.origin ? 1 : -1;
  if (a.digest !== b.digest) return (a.digest ?? '') > (b.digest ?? '') ? 1 : -1;
  if (a.author === undefined || b.author === undefined || a.author === b.author) return 0;
  return a.author > b.author ? 1 : -1;
}

/** Returns the tag write that wins. */
export function mergeTags<Tag extends TagVersion>(a: Tag | undefined, b: Tag | undefined): Tag | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  return compareTags(a, b) >= 0 ? a : b;
}

/** Returns the later push and the later deletion of the two. */
export function mergeManifests(a: ManifestVersions, b: ManifestVersions): ManifestVersions {
  return { created: Math.max(a.created, b.created), deleted: Math.max(a.deleted, b.deleted) };
}

/**
 * Applies the removal of a repository to one of its manifests. A removal deletes every manifest of the repository at
 * the removal's own version, including those that the store does not know of.
 * @param removed the greatest version among the removals that cover the repository; 0 for none
 */
export function underRemoval(manifest: ManifestVersions, removed: number): ManifestVersions {
  return removed <= manifest.deleted ? manifest : { created: manifest.created, deleted: removed };
}

/** Tells whether a manifest is alive. Between equal versions the deletion wins. */
export function isAlive({ created, deleted }: ManifestVersions): boolean {
  return created > deleted;
}

/**
 * Tells whether a tag is visible: its manifest is alive, and the tag was written after the manifest's last deletion.
 */
export function isVisible(tag: TagVersion | undefined, manifest: ManifestVersions): boolean {
  return tag !== undefined && tag.digest !== null && isAlive(manifest) && tag.version > manifest.deleted;
}

/**
 * Returns the version of a transaction. It is at least the wall clock, and greater than `clock` and `seen`.
 * @param now the wall clock, as a version
 * @param clock the greatest version that the store has seen
 * @param seen the greatest version that the caller knows from elsewhere
 */
export function nextVersion(now: number, clock: number, seen = 0): number {
  return Math.max(now, clock + 1, seen + 1);
}
