import type { StoreLimits } from '../stores/organizations/limits.ts';
import type { Store } from '../stores/store.ts';

/** A node's store and central's: what a queue moves things between. */
export interface Pair {
  readonly node: Store;
  readonly central: Store;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  readonly graceMilliseconds: number;
  /** What organizations may have: the defaults, unless told. */
  readonly limits?: StoreLimits | undefined;
}
