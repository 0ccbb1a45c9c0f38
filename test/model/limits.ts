/** How far one exploration goes. Each is the most that happens on one way: fewer are explored with it. */
export interface Limits {
  /** Pushes, deletions and removals. */
  readonly operations: number;
  /** How many of the operations may be removals of the repository or of its organization. */
  readonly removals: number;
  /** Reads at a node that raise its clock, are remembered, or keep what they found. */
  readonly reads: number;
  /**
   * Whatever takes several steps takes them at once, unless it is disturbed: overtaken by other things between its
   * steps, repeated, lost or put off. So many disturbances there are at most.
   */
  readonly disturbances: number;
  /** Whether manifests are pushed by digest alone too. */
  readonly byDigest: boolean;
  readonly tags: 1 | 2;
  readonly manifests: 1 | 2;
  /** Media types that manifests are pushed under. Undefined: types are left out. */
  readonly types?: 2;
}
