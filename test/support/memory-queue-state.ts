/** A queue's state in memory, for tests that run a queue without its Durable Object. */
import type { Digest } from '../../src/oci/digest.ts';
import type { RepositoryName } from '../../src/oci/reference.ts';
import { fetchJob, isDue, type Job } from '../../src/replication/machine.ts';
import type { Counter, Fetch, Histogram, Measure, NamedJob, Progress, QueueState } from '../../src/replication/queue-state.ts';

export class MemoryQueueState implements QueueState {
  readonly #jobs = new Map<string, Job>();
  readonly #fetches = new Map<string, Fetch>();
  readonly #progress = new Map<string, Progress>();
  readonly #counters = new Map<Counter, number>();
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
  #named(): NamedJob[] {
    return [...this.#jobs].map(([id, { attempts, nextAt, parked, error }]) => ({ id, attempts, nextAt, parked, error }));
  }
  waitingJobs(prefix: string, now: number, limit: number): readonly NamedJob[] {
    return this.#named()
      .filter(({ id, parked, nextAt }) => id.startsWith(prefix) && (parked || nextAt > now))
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
  nextAttempt(now: number): number | undefined {
    const times = this.#named().flatMap(({ parked, nextAt }) => (parked || nextAt <= now ? [] : [nextAt]));
    return times.length === 0 ? undefined : Math.min(...times);
  }
  retry(id: string | undefined): number {
    const due = this.#named().filter((job) => (id === undefined ? job.parked : job.id === id));
    for (const job of due) this.#jobs.set(job.id, { ...job, attempts: 0, nextAt: 0, parked: false });
    return due.length;
  }

  dueFetches(now: number, limit: number): readonly Fetch[] {
    return [...this.#fetches.values()]
      .filter(({ repository, digest }) => isDue(this.#jobs.get(fetchJob(repository, digest)), now))
      .slice(0, limit);
  }
  fetchesLeft(repository: RepositoryName, digests: readonly Digest[]): number {
    return digests.filter((digest) => this.#fetches.has(`${repository} ${digest}`)).length;
  }
  fetchCount(): number {
    return this.#fetches.size;
  }
  addFetch(fetch: Fetch): void {
    this.#fetches.set(`${fetch.repository} ${fetch.digest}`, fetch);
  }
  removeFetch(fetch: Fetch): void {
    this.#fetches.delete(`${fetch.repository} ${fetch.digest}`);
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

  paused(): boolean {
    return this.#paused;
  }
  setPaused(paused: boolean): void {
    this.#paused = paused;
  }

  count(counter: Counter, by = 1): void {
    this.#counters.set(counter, this.counter(counter) + by);
  }
  counter(counter: Counter): number {
    return this.#counters.get(counter) ?? 0;
  }
  observe(): void {
    // Times are the tests' own.
  }
  histogram(_measure: Measure): Histogram {
    return { buckets: [], count: 0, sum: 0 };
  }
}
