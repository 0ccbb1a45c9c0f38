/** What the work of the cron trigger needs: every store, the clock, and how long it may go on. */
import type { Store } from '../stores/store.ts';

export interface GcContext {
  readonly central: Store;
  /** Distinct stores of nodes. */
  readonly nodes: readonly Store[];
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** g: design of the leases in docs/storage.md. */
  readonly graceMilliseconds: number;
  /** Asked between slices. */
  readonly mayGoOn: () => boolean;
  /** Awaited after a slice: how long to leave the store to everyone else. @param worked milliseconds that the slice took */
  readonly rest: (worked: number) => Promise<unknown>;
}
