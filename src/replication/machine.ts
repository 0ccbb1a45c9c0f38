/**
 * Decides what a queue does next, given what it sees and the time. It has no I/O: `metadata-lane.ts` looks, asks here,
 * acts, and looks again. The model in `test/model` does the same with its own stores.
 *
 * Nothing is dropped. A failed job is tried again, alone, after a delay that doubles each time. After a set number of
 * attempts it is parked, with its last error, until an operator retries it. If central does not answer, no job is to
 * blame: the whole lane backs off, and no attempt is counted.
 */
import { MINUTE } from '../durations.ts';
import type { OutboxEntry } from '../stores/outbox-rows.ts';

/** A piece of work that has failed. */
export interface Job {
  readonly attempts: number;
  /** The time of the next attempt at the earliest, in milliseconds since the epoch. */
  readonly nextAt: number;
  readonly parked: boolean;
  readonly error: string;
}

/** After this many failed attempts, a job is parked. */
export const MAX_ATTEMPTS = 12;

const FIRST_DELAY_MILLISECONDS = 500;
/** The longest that a job waits after a failure. */
export const LONGEST_DELAY_MILLISECONDS = 10 * MINUTE;
/** The longest that a lane backs off. */
const LONGEST_BACKOFF_MILLISECONDS = 15_000;

/** A failure that no further attempt can fix, such as bytes that do not match their digest. */
export class PermanentError extends Error {
  override readonly name = 'PermanentError';
}

/** Thrown when a run has no time or room left. It does not count as an attempt: the next run continues the copy. */
export class OutOfTime extends Error {
  override readonly name = 'OutOfTime';
}

/**
 * Returns a job after another failed attempt.
 * @param random from 0 to 1: spreads out the retries of jobs that have failed together
 */
export function afterFailure(job: Job | undefined, error: unknown, now: number, random: number): Job {
  const attempts = (job?.attempts ?? 0) + 1;
  return {
    attempts,
    nextAt: now + backoff(attempts, LONGEST_DELAY_MILLISECONDS, random),
    parked: error instanceof PermanentError || attempts >= MAX_ATTEMPTS,
    error: describe(error),
  };
}

/** Returns how long a lane backs off after its `attempts`th failure in a row, in milliseconds. */
export function backoffAfter(attempts: number, random: number): number {
  return backoff(attempts, LONGEST_BACKOFF_MILLISECONDS, random);
}

function backoff(attempts: number, longest: number, random: number): number {
  const delay = Math.min(longest, FIRST_DELAY_MILLISECONDS * 2 ** Math.min(attempts - 1, 20));
  return Math.round(delay * (0.5 + random / 2));
}

/**
 * Returns whether a job may be tried now; undefined stands for one that has never failed. A job that would wait longer
 * than the longest delay is due as well, because a clock that was ahead set its time.
 */
export function isDue(job: Job | undefined, now: number): boolean {
  return job === undefined || (!job.parked && (job.nextAt <= now || job.nextAt > now + LONGEST_DELAY_MILLISECONDS));
}

/** The facts on which the metadata lane of a node's queue decides. */
export interface View {
  readonly paused: boolean;
  /** The time at which the lane stops backing off, in milliseconds since the epoch; 0 if it does not. */
  readonly backoffUntil: number;
  /** Whether the change log may have grown since it was last read. */
  readonly changeLogMayHaveGrown: boolean;
  /** A page of outbox entries, oldest first. */
  readonly outboxEntries: readonly OutboxEntry[];
  readonly jobOf: (outboxEntry: OutboxEntry) => Job | undefined;
}

export type Step =
  | { readonly kind: 'apply' }
  | { readonly kind: 'announce'; readonly outboxEntries: readonly OutboxEntry[] }
  /** Nothing on this page is due. */
  | { readonly kind: 'next page' }
  /** `until`: the end of the backoff; undefined if there is nothing to do. */
  | { readonly kind: 'stop'; readonly until: number | undefined };

/** Returns the next step. Deletions come before announcements, so that a node announces only what it knows is alive. */
export function nextStep(view: View, now: number): Step {
  if (view.backoffUntil > now) return { kind: 'stop', until: view.backoffUntil };
  if (view.changeLogMayHaveGrown) return { kind: 'apply' };
  if (view.paused || view.outboxEntries.length === 0) return { kind: 'stop', until: undefined };
  const outboxEntries = view.outboxEntries.filter((outboxEntry) => isDue(view.jobOf(outboxEntry), now));
  return outboxEntries.length === 0 ? { kind: 'next page' } : { kind: 'announce', outboxEntries };
}

/** Returns the id of an outbox entry's job. A later change of the tag or manifest gets another id: it may succeed. */
export function outboxEntryJob(outboxEntry: Pick<OutboxEntry, 'kind' | 'repository' | 'key' | 'version'>): string {
  return `${outboxEntryJobs(outboxEntry)}${outboxEntry.version}`;
}

/** Returns the prefix of the job ids of all changes of a tag or manifest. */
export function outboxEntryJobs({ kind, repository, key }: Pick<OutboxEntry, 'kind' | 'repository' | 'key'>): string {
  return `announce ${kind} ${repository} ${key} `;
}

export function copyUpJob(digest: string): string {
  return `copy up ${digest}`;
}

export function copyDownJob(repository: string, digest: string): string {
  return `copy down ${repository} ${digest}`;
}

/**
 * Describes an error without its causes, which go to the log: anyone who may pull an image can read the description.
 */
function describe(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).slice(0, 1000);
}
