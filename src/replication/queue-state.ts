/** The state that a queue keeps between its runs. Everything else is in the stores, where each run finds it again. */
import type { Digest } from '../oci/digest.ts';
import type { RepositoryName } from '../oci/reference.ts';
import type { Job } from './machine.ts';

/** A blob that a node wants in its own store. */
export interface CopyDown {
  readonly repository: RepositoryName;
  readonly digest: Digest;
}

/**
 * The most copies down that a queue remembers. They take time, and a request for many costs its sender nothing. A later
 * pull copies the rest.
 */
export const MOST_COPIES_DOWN = 100_000;

/**
 * Returns whether an organization may add a copy down. It may have at most as many copies as there are free places
 * left. So an organization that asks for everything gets half of the room, and the next one half of the rest.
 * @param own the number of the organization's copies down
 * @param all the number of all organizations' copies down
 */
export function hasRoomForCopyDown(own: number, all: number): boolean {
  return own < MOST_COPIES_DOWN - all;
}

/** The progress of copying an object. It is kept until a row names the object, so that a later attempt can use it. */
export interface Progress {
  readonly key: string;
  /** The id of the multipart upload; undefined for an object that is written in one piece. */
  readonly uploadId?: string;
  readonly parts: readonly { readonly partNumber: number; readonly etag: string }[];
  /** When a row was first about to name the object, in milliseconds since the epoch; undefined if none was yet. */
  readonly namedAt?: number;
}

export interface NamedJob extends Job {
  readonly id: string;
}

/**
 * The upper bounds of the buckets, in seconds. Buckets are cumulative: a value counts in every bucket that it fits in.
 */
export const BUCKETS = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800] as const;

export interface Histogram {
  /** The number of values in each of {@link BUCKETS}, cumulative. */
  readonly buckets: readonly number[];
  readonly count: number;
  /** Seconds. */
  readonly sum: number;
}

export type Measure = 'announce_seconds' | 'settle_seconds';
export type Counter =
  | 'announced'
  | 'manifests'
  | 'settled'
  | 'copied_up_bytes'
  | 'copied_down_bytes'
  | 'retries'
  | 'applied'
  | 'deletions';

/** The figures of a queue for one hour. */
export interface HourFigures {
  /** Its start, in milliseconds since the epoch. */
  readonly at: number;
  /** A counter that is missing is 0. */
  readonly counters: Readonly<Partial<Record<Counter, number>>>;
  readonly histograms: Readonly<Record<Measure, Histogram>>;
  /** The bytes of blobs that the store held in the hour; null if that is not known. */
  readonly held: number | null;
}

/** The number of hours for which figures are kept: 90 days. */
export const HOURS_KEPT = 90 * 24;

export interface QueueState {
  job(id: string): Job | undefined;
  setJob(id: string, job: Job): void;
  forgetJob(id: string): void;
  /** Forgets all jobs whose ids start with `prefix`. */
  forgetJobs(prefix: string): void;
  /** Lists the jobs that are not due at `now`, including parked ones, by id. */
  waitingJobs(prefix: string, now: number, limit: number): readonly NamedJob[];
  parkedJobs(after: string, limit: number): readonly NamedJob[];
  parkedCount(): number;
  /** Returns when the next job is due, ignoring parked jobs and those that were due at `after`. */
  nextAttempt(after: number, now: number): number | undefined;
  /** Makes a job due at once, or all parked jobs if `id` is undefined. Returns how many. */
  retry(id: string | undefined): number;

  /**
   * Lists the copies down that have not failed, or may be tried again at `now`: the first of each organization, then
   * the next of each. Organizations come in the order of their names, starting after `after` and wrapping around.
   */
  dueCopiesDown(now: number, after: string, limit: number): readonly CopyDown[];
  /** Counts those of the digests that still have to be copied down for the repository. */
  copiesDownLeft(repository: RepositoryName, digests: readonly Digest[]): number;
  copyDownCount(): number;
  /** Returns false if there is no room for it, by {@link hasRoomForCopyDown}. */
  addCopyDown(copyDown: CopyDown): boolean;
  removeCopyDown(copyDown: CopyDown): void;

  /**
   * The progress of a copy in one piece is kept only in memory. If that is lost, nothing names the copy's object, and
   * the scrub deletes it as an orphan.
   * @param copy the name of a copy: the blob and the direction
   */
  progress(copy: string): Progress | undefined;
  setProgress(copy: string, progress: Progress): void;
  forgetProgress(copy: string): void;

  paused(): boolean;
  setPaused(paused: boolean): void;

  /** Counters and histograms change in memory. {@link saveFigures} stores them. */
  count(counter: Counter, by?: number): void;
  counter(counter: Counter): number;
  observe(measure: Measure, seconds: number): void;
  histogram(measure: Measure): Histogram;
  /** Stores all counters and histograms, in one row, if they have changed. */
  saveFigures(): void;
}
