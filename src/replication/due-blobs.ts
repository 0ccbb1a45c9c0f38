/**
 * Which blobs a node's queue is to copy up or to fetch: each look goes on with the organizations after those of the
 * last.
 */
import type { Digest } from '../oci/digest.ts';
import { organizationOf } from '../oci/reference.ts';
import { copiesUpFrom, type Copy } from './copy-rows.ts';
import { copyUpJob, isDue } from './machine.ts';
import type { Pair } from './pair.ts';
import type { CopyDown, QueueState } from './queue-state.ts';
import type { QueuedBlob } from './fair-queue.ts';

const BLOBS_PER_LOOK = 100;
/** Digests of jobs that wait: D1 takes 2 MB a parameter. */
const JOBS_TO_PASS_OVER = 10_000;

export type WaitingBlob = QueuedBlob & { readonly digest: Digest } & (
    | { readonly kind: 'copy up'; readonly copyUp: Copy }
    | { readonly kind: 'copy down'; readonly copyDown: CopyDown }
  );

export class DueBlobs {
  readonly #options: Pair & { readonly state: QueueState };
  /** The organizations after which copies and fetches are looked for next. */
  #copiesUpAfter = '';
  #copiesDownAfter = '';

  constructor(options: Pair & { readonly state: QueueState }) {
    this.#options = options;
  }

  /**
   * Fetches first; no copies while the queue is paused. @param underWay blobs that are being moved, which are left out
   */
  async look(underWay: readonly Digest[]): Promise<WaitingBlob[]> {
    const copiesUp = this.#options.state.paused() ? [] : await this.#copiesUp(underWay);
    return [...this.#copiesDown(underWay), ...copiesUp];
  }

  async #copiesUp(underWay: readonly Digest[]): Promise<WaitingBlob[]> {
    const { central, node, state, now } = this.#options;
    const waiting = state.waitingJobs(copyUpJob(''), now(), JOBS_TO_PASS_OVER);
    const except = [...waiting.map(({ id }) => id.slice(copyUpJob('').length) as Digest), ...underWay];
    // Those before it were looked at by the look before.
    const isAround = this.#copiesUpAfter !== '';
    for (let from: string | undefined = this.#copiesUpAfter; from !== undefined;) {
      const { copiesUp, end } = await copiesUpFrom(central.database, node.name, from, BLOBS_PER_LOOK, except);
      const due = copiesUp.filter(({ digest }) => isDue(state.job(copyUpJob(digest)), now()));
      this.#copiesUpAfter = end ?? '';
      if (due.length > 0) {
        return due.map((copyUp) => ({
          kind: 'copy up',
          organization: copyUp.organization,
          digest: copyUp.digest,
          copyUp,
        }));
      }
      from = end;
    }
    return isAround ? this.#copiesUp(underWay) : [];
  }

  #copiesDown(underWay: readonly Digest[]): WaitingBlob[] {
    const { state, now } = this.#options;
    const copiesDown = state.dueCopiesDown(now(), this.#copiesDownAfter, BLOBS_PER_LOOK);
    const last = copiesDown.at(-1);
    this.#copiesDownAfter = last === undefined ? '' : organizationOf(last.repository);
    // One at a time of the same blob: the second then finds it here.
    const due = new Map<Digest, CopyDown>();
    for (const copyDown of copiesDown) {
      if (!due.has(copyDown.digest) && !underWay.includes(copyDown.digest)) due.set(copyDown.digest, copyDown);
    }
    return [...due.values()].map((copyDown) => ({
      kind: 'copy down',
      organization: organizationOf(copyDown.repository),
      digest: copyDown.digest,
      copyDown,
    }));
  }
}
