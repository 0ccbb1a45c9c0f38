/**
 * Finds the blobs that a node's queue has to copy up or down. Each look continues with the organizations after those of
 * the previous look.
 */
import type { Digest } from '../oci/digest.ts';
import { organizationOf } from '../oci/reference.ts';
import { copiesUpFrom, type Copy } from './copy-rows.ts';
import { copyUpJob, isDue } from './machine.ts';
import type { Pair } from './pair.ts';
import type { CopyDown, QueueState } from './queue-state.ts';
import type { QueuedBlob } from './fair-queue.ts';

const BLOBS_PER_LOOK = 100;
/** The most digests of waiting jobs to exclude in one query: D1 allows 2 MB per parameter. */
const JOBS_TO_PASS_OVER = 10_000;

export type WaitingBlob = QueuedBlob & { readonly digest: Digest } & (
    | { readonly kind: 'copy up'; readonly copyUp: Copy }
    | { readonly kind: 'copy down'; readonly copyDown: CopyDown }
  );

export class DueBlobs {
  readonly #options: Pair & { readonly state: QueueState };
  /** The organizations after which the next look for copies up, and for copies down, starts. */
  #copiesUpAfter = '';
  #copiesDownAfter = '';

  constructor(options: Pair & { readonly state: QueueState }) {
    this.#options = options;
  }

  /**
   * Returns the due copies down, followed by the due copies up. A paused queue has no copies up.
   * @param underWay blobs that are being copied, to leave out
   */
  async look(underWay: readonly Digest[]): Promise<WaitingBlob[]> {
    const copiesUp = this.#options.state.paused() ? [] : await this.#copiesUp(underWay);
    return [...this.#copiesDown(underWay), ...copiesUp];
  }

  async #copiesUp(underWay: readonly Digest[]): Promise<WaitingBlob[]> {
    const { central, node, state, now } = this.#options;
    const waiting = state.waitingJobs(copyUpJob(''), now(), JOBS_TO_PASS_OVER);
    const except = [...waiting.map(({ id }) => id.slice(copyUpJob('').length) as Digest), ...underWay];
    // If this look does not start with the first organization, it wraps around after the last.
    const wrapsAround = this.#copiesUpAfter !== '';
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
    return wrapsAround ? this.#copiesUp(underWay) : [];
  }

  #copiesDown(underWay: readonly Digest[]): WaitingBlob[] {
    const { state, now } = this.#options;
    const copiesDown = state.dueCopiesDown(now(), this.#copiesDownAfter, BLOBS_PER_LOOK);
    const last = copiesDown.at(-1);
    this.#copiesDownAfter = last === undefined ? '' : organizationOf(last.repository);
    // Copy the same blob only once at a time: the second copy then finds it in the node's store.
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
