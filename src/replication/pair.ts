import type { StoreLimits } from '../stores/organizations/limits.ts';
import type { Store } from '../stores/store.ts';

/** A node's store and central's, between which a queue moves metadata and bytes. */
export interface Pair {
  readonly node: Store;
  readonly central: Store;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  readonly graceMilliseconds: number;
  /** The limits of organizations. */
  readonly limits: StoreLimits;
}
