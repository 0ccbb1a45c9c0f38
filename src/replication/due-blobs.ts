/** Which blobs a node's queue is to copy up or to fetch: each look goes on with the organizations after those of the last. */
import type { Digest } from '../oci/digest.ts';
import { organizationOf } from '../oci/reference.ts';
import { copiesFrom, type Copy } from './copy-rows.ts';
import { copyJob, isDue } from './machine.ts';
import type { Pair } from './pair.ts';
import type { Fetch, QueueState } from './queue-state.ts';
import type { QueuedBlob } from './fair-queue.ts';

const BLOBS_PER_LOOK = 100;
/** Digests of jobs that wait: D1 takes 2 MB a parameter. */
const JOBS_TO_PASS_OVER = 10_000;

export type WaitingBlob = QueuedBlob & { readonly digest: Digest } & (
    | { readonly kind: 'copy'; readonly copy: Copy }
    | { readonly kind: 'fetch'; readonly fetch: Fetch }
  );

export class DueBlobs {
  readonly #options: Pair & { readonly state: QueueState };
  /** The organizations after which copies and fetches are looked for next. */
  #copiesAfter = '';
  #fetchesAfter = '';

  constructor(options: Pair & { readonly state: QueueState }) {
    this.#options = options;
  }

  /** Fetches first; no copies while the queue is paused. @param underWay blobs that are being moved, which are left out */
  async look(underWay: readonly Digest[]): Promise<WaitingBlob[]> {
    const copies = this.#options.state.paused() ? [] : await this.#copies(underWay);
    return [...this.#fetches(underWay), ...copies];
  }

  async #copies(underWay: readonly Digest[]): Promise<WaitingBlob[]> {
    const { central, node, state, now } = this.#options;
    const waiting = state.waitingJobs(copyJob(''), now(), JOBS_TO_PASS_OVER);
    const except = [...waiting.map(({ id }) => id.slice(copyJob('').length) as Digest), ...underWay];
    // Those before it were looked at by the look before.
    const isAround = this.#copiesAfter !== '';
    for (let from: string | undefined = this.#copiesAfter; from !== undefined;) {
      const { copies, end } = await copiesFrom(central.database, node.name, from, BLOBS_PER_LOOK, except);
      const due = copies.filter(({ digest }) => isDue(state.job(copyJob(digest)), now()));
      this.#copiesAfter = end ?? '';
      if (due.length > 0) {
        return due.map((copy) => ({ kind: 'copy', organization: copy.organization, digest: copy.digest, copy }));
      }
      from = end;
    }
    return isAround ? this.#copies(underWay) : [];
  }

  #fetches(underWay: readonly Digest[]): WaitingBlob[] {
    const { state, now } = this.#options;
    const fetches = state.dueFetches(now(), this.#fetchesAfter, BLOBS_PER_LOOK);
    const last = fetches.at(-1);
    this.#fetchesAfter = last === undefined ? '' : organizationOf(last.repository);
    // One at a time of the same blob: the second then finds it here.
    const due = new Map<Digest, Fetch>();
    for (const fetch of fetches) {
      if (!due.has(fetch.digest) && !underWay.includes(fetch.digest)) due.set(fetch.digest, fetch);
    }
    return [...due.values()].map((fetch) => ({
      kind: 'fetch',
      organization: organizationOf(fetch.repository),
      digest: fetch.digest,
      fetch,
    }));
  }
}
