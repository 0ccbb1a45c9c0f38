/**
 * The limits of one exploration. Each number is the most that happens on one path; paths with less are explored too.
 */
export interface Limits {
  /** Pushes, deletions and removals. */
  readonly operations: number;
  /** The most operations that may be removals of the repository or of its organization. */
  readonly removals: number;
  /** Reads at a node that raise its clock, are noted by the observer, or keep the rows that they found. */
  readonly reads: number;
  /**
   * Disturbances. An action of several steps takes them at once unless it is disturbed: overtaken between two steps,
   * repeated, lost or delayed.
   */
  readonly disturbances: number;
  /** Whether manifests are also pushed by digest alone. */
  readonly byDigest: boolean;
  readonly tags: 1 | 2;
  readonly manifests: 1 | 2;
  /** The number of media types that manifests are pushed under; undefined to leave types out. */
  readonly types?: 2;
}
