/** A client that remembers what was acknowledged, and which request was open when the server died. */
import type { Random } from '../support/random.ts';
import type { Change } from '../support/registry-changes.ts';
import { type Actor, type Job, type Material, nextJob } from '../support/registry-jobs.ts';
import {
  type Answer,
  type Client,
  differencesOfEach,
  type Document,
  type Outgoing,
  RepositoryState,
} from '../support/registry-model.ts';
import { Interrupted } from './client.ts';
import type { Tally } from './tally.ts';

export class CrashActor implements Actor {
  readonly state: RepositoryState;
  readonly random: Random;
  readonly #tally: Tally;
  readonly #images: Document[] = [];
  #client: Client;
  /** The change that was requested, but not answered. */
  #pending: Change | undefined;
  #job: Job | undefined;

  constructor(repository: string, random: Random, client: Client, tally: Tally) {
    this.state = new RepositoryState(repository);
    this.random = random;
    this.#client = client;
    this.#tally = tally;
  }

  /** Continues over another connection. */
  use(client: Client): void {
    this.#client = client;
  }

  async ask(request: Outgoing, status: number): Promise<Answer> {
    const answer = await this.#client(request);
    return requireStatus(answer, request, status);
  }

  async change(change: Change): Promise<Answer> {
    this.#pending = change;
    const answer = await this.#client(change.request);
    this.#pending = undefined;
    requireStatus(answer, change.request, change.status);
    change.apply(this.state);
    this.#tally.acknowledge(change);
    return answer;
  }

  /** Pushes and deletes until the server dies. */
  async work(material: Material): Promise<void> {
    try {
      for (;;) {
        this.#job = await nextJob(this, material, this.#images);
        await this.#job.run();
        this.#job = undefined;
      }
    } catch (error) {
      if (!(error instanceof Interrupted)) throw error;
    }
  }

  /**
   * Compares everything after a restart. The pending change must be done as a whole or not at all, except that its
   * first step alone may be done.
   * @returns the differences
   */
  async compare(client: Client): Promise<string[]> {
    this.use(client);
    const pending = this.#pending;
    this.#pending = undefined;
    const changes = pending === undefined ? [] : [pending.apply, ...(pending.firstStep ? [pending.firstStep] : [])];
    const states = changes.map((change) => {
      const changed = this.state.copy();
      change(changed);
      return changed;
    });
    const options = { compared: this.#tally.compared };
    const [before = [], ...after] = await differencesOfEach(client, [this.state, ...states], options);
    if (pending === undefined) return before;
    const [done, firstStep] = after.map((differences) => differences.length === 0);
    this.#tally.interrupt(pending, done === true);
    if (done === true) pending.apply(this.state);
    else if (before.length > 0 && firstStep === true) pending.firstStep?.(this.state);
    else if (before.length > 0)
      return [`${pending.name} was interrupted; if not done:`, ...before, 'if done:', ...(after[0] ?? [])];
    return [];
  }

  /** Runs the interrupted job again from its beginning. Its result is compared after the next restart. */
  async again(): Promise<void> {
    const job = this.#job;
    this.#job = undefined;
    if (job === undefined) return;
    await job.run();
    this.#tally.repeated++;
  }
}

function requireStatus(answer: Answer, { method, path }: Outgoing, status: number): Answer {
  if (answer.status === status) return answer;
  const text = answer.body === undefined ? '' : new TextDecoder().decode(answer.body.subarray(0, 500));
  throw new Error(`${method} ${path}: ${answer.status}, not ${status}: ${text}`);
}
