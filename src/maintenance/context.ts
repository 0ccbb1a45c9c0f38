/** Every maintenance task receives a context: the stores, the settings, the clock, and the run's time limit. */
import type { Config } from '../config.ts';
import type { StoreName } from '../namespaces/namespace.ts';
import type { Digest } from '../oci/digest.ts';
import type { Store } from '../stores/store.ts';
import { ReplicationLag } from './collection/replication-lag.ts';
import type { HashingAllowance } from './integrity/hashing-allowance.ts';

/** The part of the configuration that tasks use. `graceMilliseconds` is g in the lease rules of docs/storage.md. */
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
  /** The nodes' stores, each once: two nodes may share one. */
  readonly nodes: readonly Store[];
  /** The changes that the nodes have yet to announce to central; one reading serves many slices. */
  readonly lag: ReplicationLag;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** The bytes that the run may still hash. */
  readonly hashing: HashingAllowance;
  /** Whether the run has time and statements left. Tasks ask between slices, and within a long slice. */
  readonly mayGoOn: () => boolean;
  /**
   * Pauses after a slice, so that the store can serve pushes and pulls.
   * @param worked milliseconds that the slice took
   */
  readonly pause: (worked: number) => Promise<unknown>;
  /** Reports that a store has a blob's bytes again, so that a copy that waited for them can go on. */
  readonly repaired: (store: StoreName, digest: Digest) => Promise<void>;
}

export function openContext(parts: Omit<MaintenanceContext, 'lag'>): MaintenanceContext {
  return { ...parts, lag: new ReplicationLag(parts) };
}
