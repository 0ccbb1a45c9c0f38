/**
 * What a queue does next, given what it sees and the clock. Pure: `metadata-lane.ts` looks, asks here, acts, and looks
 * again; the model in `test/model` does the same with stores of its own.
 *
 * Nothing is dropped. What fails is tried again, alone, after a time that doubles; after a set number of attempts it is
 * parked, with its last error, until an operator asks for it. That central does not answer is nobody's failure: then
 * everything rests for a while, and no attempt is counted.
 */
import { MINUTE } from '../durations.ts';
import type { OutboxEntry } from '../stores/outbox-rows.ts';

/** What is remembered of work that has failed. */
export interface Job {
  readonly attempts: number;
  /** Not before then, in milliseconds since the epoch. */
  readonly nextAt: number;
  readonly parked: boolean;
  readonly error: string;
}

/** After as many failures, work is parked. */
export const MAX_ATTEMPTS = 12;

const FIRST_DELAY_MILLISECONDS = 500;
/** What a failure makes a job wait for at most. */
export const LONGEST_DELAY_MILLISECONDS = 10 * MINUTE;
const LONGEST_REST_MILLISECONDS = 15_000;

/** A failure that no further attempt can repair, such as bytes that do not have their digest. */
export class PermanentError extends Error {
  override readonly name = 'PermanentError';
}

/** @param random from 0 to 1: failures of one moment must not all come back in one moment */
export function afterFailure(job: Job | undefined, error: unknown, now: number, random: number): Job {
  const attempts = (job?.attempts ?? 0) + 1;
  return {
    attempts,
    nextAt: now + backoff(attempts, LONGEST_DELAY_MILLISECONDS, random),
    parked: error instanceof PermanentError || attempts >= MAX_ATTEMPTS,
    error: describe(error),
  };
}

/** How long everything rests after central has not answered for the `attempts`th time, in milliseconds. */
export function backoffAfter(attempts: number, random: number): number {
  return backoff(attempts, LONGEST_REST_MILLISECONDS, random);
}

function backoff(attempts: number, longest: number, random: number): number {
  const delay = Math.min(longest, FIRST_DELAY_MILLISECONDS * 2 ** Math.min(attempts - 1, 20));
  return Math.round(delay * (0.5 + random / 2));
}

/** A job that would wait for longer than any failure makes it wait was put off by a clock that was ahead: it is due. */
export function isDue(job: Job | undefined, now: number): boolean {
  return job === undefined || (!job.parked && (job.nextAt <= now || job.nextAt > now + LONGEST_DELAY_MILLISECONDS));
}

/** What the metadata lane of a node's queue sees. */
export interface View {
  readonly paused: boolean;
  /** Until when it rests, in milliseconds since the epoch; 0 for not at all. */
  readonly backoffUntil: number;
  /** Whether the change log may have grown since it was last read. */
  readonly changeLogMayHaveGrown: boolean;
  /** A page of outbox entries, the oldest first. */
  readonly outboxEntries: readonly OutboxEntry[];
  readonly jobOf: (outboxEntry: OutboxEntry) => Job | undefined;
}

export type Step =
  | { readonly kind: 'apply' }
  | { readonly kind: 'announce'; readonly outboxEntries: readonly OutboxEntry[] }
  /** Nothing of this page is due. */
  | { readonly kind: 'turn the page' }
  | { readonly kind: 'rest'; readonly until: number | undefined };

/** Deletions come before announcements, so that a node announces what it knows to be alive. */
export function nextStep(view: View, now: number): Step {
  if (view.backoffUntil > now) return { kind: 'rest', until: view.backoffUntil };
  if (view.changeLogMayHaveGrown) return { kind: 'apply' };
  if (view.paused || view.outboxEntries.length === 0) return { kind: 'rest', until: undefined };
  const outboxEntries = view.outboxEntries.filter((outboxEntry) => isDue(view.jobOf(outboxEntry), now));
  return outboxEntries.length === 0 ? { kind: 'turn the page' } : { kind: 'announce', outboxEntries };
}

/** Names an outbox entry's job. A later change of the same tag or manifest is another: it may fare better. */
export function outboxEntryJob(outboxEntry: OutboxEntry): string {
  return `${outboxEntryJobs(outboxEntry)}${outboxEntry.version}`;
}

/** What the jobs of all changes of a tag or manifest start with. */
export function outboxEntryJobs({ kind, repository, key }: Pick<OutboxEntry, 'kind' | 'repository' | 'key'>): string {
  return `announce ${kind} ${repository} ${key} `;
}

export function copyUpJob(digest: string): string {
  return `copy up ${digest}`;
}

export function copyDownJob(repository: string, digest: string): string {
  return `copy down ${repository} ${digest}`;
}

/** Causes go to the log: whoever may pull an image sees what is said of it. */
function describe(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).slice(0, 1000);
}
