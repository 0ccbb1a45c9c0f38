/** What the tasks of maintenance are given: every store, the settings, the clock, and how long a run may go on. */
import type { Config } from '../config.ts';
import type { StoreName } from '../namespaces/namespace.ts';
import type { Digest } from '../oci/digest.ts';
import type { Store } from '../stores/store.ts';
import { ReplicationLag } from './collection/replication-lag.ts';

/** Of the configuration. `graceMilliseconds` is g: design of the leases in docs/storage.md. */
type Settings = Pick<
  Config,
  | 'auditMilliseconds'
  | 'collects'
  | 'evictionLimits'
  | 'graceMilliseconds'
  | 'historyMilliseconds'
  | 'limits'
  | 'orphanMilliseconds'
  | 'scrubBytesPerDay'
>;

export interface MaintenanceContext extends Settings {
  readonly central: Store;
  /** Distinct stores of nodes. */
  readonly nodes: readonly Store[];
  /** What the nodes have yet to announce to central, read once for many slices. */
  readonly lag: ReplicationLag;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** Asked between slices, and within a long one. */
  readonly mayGoOn: () => boolean;
  /**
   * Awaited after a slice: how long to leave the store to everyone else. @param worked milliseconds that the slice took
   */
  readonly rest: (worked: number) => Promise<unknown>;
  /** Told of each blob that a store has again: a copy of it may have waited for that. */
  readonly repaired: (store: StoreName, digest: Digest) => Promise<void>;
}

export function openContext(parts: Omit<MaintenanceContext, 'lag'>): MaintenanceContext {
  return { ...parts, lag: new ReplicationLag(parts) };
}
