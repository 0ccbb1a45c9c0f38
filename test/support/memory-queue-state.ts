/**
 * A queue's state in memory, for tests that run a queue without its Durable Object. queue-state.test.ts proves that it
 * follows the same rules as the stored one.
 */
import type { Digest } from '../../src/oci/digest.ts';
import { organizationOf, type RepositoryName } from '../../src/oci/reference.ts';
import { copyDownJob, isDue, type Job, LONGEST_DELAY_MILLISECONDS } from '../../src/replication/machine.ts';
import { Figures } from '../../src/replication/figures.ts';
import {
  type Counter,
  type CopyDown,
  hasRoomForCopyDown,
  type Histogram,
  type Measure,
  type NamedJob,
  type Progress,
  type QueueState,
} from '../../src/replication/queue-state.ts';

export class MemoryQueueState implements QueueState {
  readonly #jobs = new Map<string, Job>();
  readonly #copiesDown = new Map<string, CopyDown>();
  readonly #progress = new Map<string, Progress>();
  readonly #figures = new Figures(undefined, () => 0);
  #paused = false;

  job(id: string): Job | undefined {
    return this.#jobs.get(id);
  }
  setJob(id: string, job: Job): void {
    this.#jobs.set(id, job);
  }
  forgetJob(id: string): void {
    this.#jobs.delete(id);
  }
  forgetJobs(prefix: string): void {
    for (const id of this.#jobs.keys()) if (id.startsWith(prefix)) this.#jobs.delete(id);
  }
  /** Returns all jobs by id, in SQL's order. */
  #named(): NamedJob[] {
    return [...this.#jobs]
      .map(([id, { attempts, nextAt, parked, error }]) => ({ id, attempts, nextAt, parked, error }))
      .toSorted((a, b) => (a.id < b.id ? -1 : 1));
  }
  waitingJobs(prefix: string, now: number, limit: number): readonly NamedJob[] {
    return this.#named()
      .filter((job) => job.id.startsWith(prefix) && !isDue(job, now))
      .slice(0, limit);
  }
  parkedJobs(after: string, limit: number): readonly NamedJob[] {
    return this.#named()
      .filter(({ id, parked }) => parked && id > after)
      .slice(0, limit);
  }
  parkedCount(): number {
    return this.parkedJobs('', Infinity).length;
  }
  nextAttempt(after: number, now: number): number | undefined {
    const isToCome = ({ parked, nextAt }: Job): boolean =>
      !parked && nextAt > after && nextAt <= now + LONGEST_DELAY_MILLISECONDS;
    const times = this.#named().flatMap((job) => (isToCome(job) ? [job.nextAt] : []));
    return times.length === 0 ? undefined : Math.min(...times);
  }
  retry(id: string | undefined): number {
    const due = this.#named().filter((job) => (id === undefined ? job.parked : job.id === id));
    for (const job of due) this.#jobs.set(job.id, { ...job, attempts: 0, nextAt: 0, parked: false });
    return due.length;
  }

  dueCopiesDown(now: number, after: string, limit: number): readonly CopyDown[] {
    const due = [...this.#copiesDown.values()].filter(({ repository, digest }) =>
      isDue(this.#jobs.get(copyDownJob(repository, digest)), now),
    );
    const queues = [...Map.groupBy(due, ({ repository }) => organizationOf(repository))]
      .toSorted(([a], [b]) => Number(a <= after) - Number(b <= after) || (a < b ? -1 : 1))
      .map(([, copies]) => copies);
    const longest = Math.max(0, ...queues.map(({ length }) => length));
    return Array.from({ length: longest }, (_, turn) => queues.flatMap((queue) => queue[turn] ?? []))
      .flat()
      .slice(0, limit);
  }
  copiesDownLeft(repository: RepositoryName, digests: readonly Digest[]): number {
    return digests.filter((digest) => this.#copiesDown.has(`${repository} ${digest}`)).length;
  }
  copyDownCount(): number {
    return this.#copiesDown.size;
  }
  addCopyDown(copy: CopyDown): boolean {
    const name = `${copy.repository} ${copy.digest}`;
    if (this.#copiesDown.has(name)) return true;
    const organization = organizationOf(copy.repository);
    const own = this.#copiesDown.values().filter(({ repository }) => organizationOf(repository) === organization);
    if (!hasRoomForCopyDown(own.toArray().length, this.#copiesDown.size)) return false;
    this.#copiesDown.set(name, { ...copy });
    return true;
  }
  removeCopyDown(copy: CopyDown): void {
    this.#copiesDown.delete(`${copy.repository} ${copy.digest}`);
  }

  progress(copy: string): Progress | undefined {
    return this.#progress.get(copy);
  }
  setProgress(copy: string, progress: Progress): void {
    this.#progress.set(copy, progress);
  }
  forgetProgress(copy: string): void {
    this.#progress.delete(copy);
  }

  /** Forgets what a Durable Object keeps only in memory, as when it restarts. */
  restart(): void {
    for (const [copy, { uploadId }] of this.#progress) if (uploadId === undefined) this.#progress.delete(copy);
  }

  paused(): boolean {
    return this.#paused;
  }
  setPaused(paused: boolean): void {
    this.#paused = paused;
  }

  count(counter: Counter, by = 1): void {
    this.#figures.count(counter, by);
  }
  counter(counter: Counter): number {
    return this.#figures.counter(counter);
  }
  observe(measure: Measure, seconds: number): void {
    this.#figures.observe(measure, seconds);
  }
  histogram(measure: Measure): Histogram {
    return this.#figures.histogram(measure);
  }
  saveFigures(): void {
    // Memory is all that this state has.
  }
}
