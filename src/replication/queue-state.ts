/** What a queue remembers between its runs. All else is in the stores: lost, it is found again. */
import type { Digest } from '../oci/digest.ts';
import type { RepositoryName } from '../oci/reference.ts';
import type { Job } from './machine.ts';

/** A blob that a node wants in its own store. */
export interface CopyDown {
  readonly repository: RepositoryName;
  readonly digest: Digest;
}

/** An object that is being copied: kept until a row says that it is there, so that no failure leaves it behind. */
export interface Progress {
  readonly key: string;
  /** Of its multipart upload; undefined for one that is written whole. */
  readonly uploadId?: string;
  readonly parts: readonly { readonly partNumber: number; readonly etag: string }[];
  /** When a row was first about to name the object, in milliseconds since the epoch; undefined for not yet. */
  readonly namedAt?: number;
}

export interface NamedJob extends Job {
  readonly id: string;
}

/** Seconds, cumulative: a value counts in every bucket that it is at most as great as. */
export const BUCKETS = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800] as const;

export interface Histogram {
  /** Values in each of {@link BUCKETS}, cumulative. */
  readonly buckets: readonly number[];
  readonly count: number;
  /** Seconds. */
  readonly sum: number;
}

export type Measure = 'announce_seconds' | 'settle_seconds';
export type Counter = 'announced' | 'settled' | 'copied_up_bytes' | 'copied_down_bytes' | 'retries' | 'applied';

export interface QueueState {
  job(id: string): Job | undefined;
  setJob(id: string, job: Job): void;
  /** Of one job, or of all whose ids start so. */
  forgetJob(id: string): void;
  forgetJobs(prefix: string): void;
  /** Jobs that are not due at `now`, parked ones included, by id. */
  waitingJobs(prefix: string, now: number, limit: number): readonly NamedJob[];
  parkedJobs(after: string, limit: number): readonly NamedJob[];
  parkedCount(): number;
  /** When the first job that is not parked may be tried again, of those that were not due at `after`. */
  nextAttempt(after: number, now: number): number | undefined;
  /** Makes parked jobs due at once: one, or all. Answers how many. */
  retry(id: string | undefined): number;

  /**
   * Fetches that have not failed, or may be tried again at `now`: the first of each organization, then the next of
   * each; of organizations by name, those after `after` before the others.
   */
  dueCopiesDown(now: number, after: string, limit: number): readonly CopyDown[];
  /** How many of the digests are still to be fetched for the repository. */
  copiesDownLeft(repository: RepositoryName, digests: readonly Digest[]): number;
  copyDownCount(): number;
  addCopyDown(copyDown: CopyDown): void;
  removeCopyDown(copyDown: CopyDown): void;

  /** @param copy names a copy: the blob, and where it goes */
  progress(copy: string): Progress | undefined;
  setProgress(copy: string, progress: Progress): void;
  forgetProgress(copy: string): void;

  paused(): boolean;
  setPaused(paused: boolean): void;

  count(counter: Counter, by?: number): void;
  counter(counter: Counter): number;
  observe(measure: Measure, seconds: number): void;
  histogram(measure: Measure): Histogram;
}
