/**
 * The merge rule: what two stores that have heard of each other agree on, whatever they heard first. Pure; the SQL that
 * merges rows (`merge.ts`) is tested against it.
 *
 * State is last-writer-wins and visibility is computed. Merging takes the greater version, row by row: it is
 * idempotent, commutative and associative, so a late copy of an older push undoes nothing, and a push after a deletion
 * works (invariant 3).
 */
import type { Digest } from '../oci/digest.ts';

/** A tag as one transaction wrote it. */
export interface TagVersion {
  /** Null: the tag was deleted. */
  readonly digest: Digest | null;
  /** The version of the transaction. */
  readonly version: number;
  /** The store whose transaction it was. */
  readonly origin: string;
}

/** What a store knows of a manifest. Versions; 0 for never. */
export interface ManifestVersions {
  readonly created: number;
  readonly deleted: number;
}

export const NO_MANIFEST: ManifestVersions = { created: 0, deleted: 0 };

/** Above 0 where `a` wins over `b`: the greater version; of equals a deletion, then the greater origin. */
export function compareTags(a: TagVersion, b: TagVersion): number {
  if (a.version !== b.version) return a.version - b.version;
  if ((a.digest === null) !== (b.digest === null)) return a.digest === null ? 1 : -1;
  if (a.origin !== b.origin) return a.origin > b.origin ? 1 : -1;
  if (a.digest === b.digest) return 0;
  return (a.digest ?? '') > (b.digest ?? '') ? 1 : -1;
}

export function mergeTags(a: TagVersion | undefined, b: TagVersion | undefined): TagVersion | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  return compareTags(a, b) >= 0 ? a : b;
}

export function mergeManifests(a: ManifestVersions, b: ManifestVersions): ManifestVersions {
  return { created: Math.max(a.created, b.created), deleted: Math.max(a.deleted, b.deleted) };
}

/**
 * What is left of a manifest under the removal of its repository: that deletes every manifest at its own version, those
 * that the store has never heard of too.
 * @param removed the greatest version of a removal that covers the repository; 0 for none
 */
export function underRemoval(manifest: ManifestVersions, removed: number): ManifestVersions {
  return removed <= manifest.deleted ? manifest : { created: manifest.created, deleted: removed };
}

/** At equal versions a deletion wins. */
export function isAlive({ created, deleted }: ManifestVersions): boolean {
  return created > deleted;
}

/** A tag is visible when its manifest is alive, and it was written after the manifest was last deleted. */
export function isVisible(tag: TagVersion | undefined, manifest: ManifestVersions): boolean {
  return tag !== undefined && tag.digest !== null && isAlive(manifest) && tag.version > manifest.deleted;
}

/**
 * The version of a transaction: after the wall clock, after everything that the store has seen, and after `seen`.
 * @param now the wall clock, as a version
 * @param clock the store's
 * @param seen the greatest version that the caller knows from elsewhere
 */
export function nextVersion(now: number, clock: number, seen = 0): number {
  return Math.max(now, clock + 1, seen + 1);
}
