/**
 * Finds the blobs that a node's queue has to copy up or down. Each look continues with the organizations after those of
 * the previous look. In an organization with many copies up that are not due, it continues after those, so that they do
 * not hide one that is due.
 */
import type { Digest } from '../oci/digest.ts';
import { type OrganizationName, organizationOf } from '../oci/reference.ts';
import { copiesUpFrom, type Copy, type CopyPosition } from './copy-rows.ts';
import { copyUpJob, isDue } from './machine.ts';
import type { Pair } from './pair.ts';
import type { CopyDown, QueueState } from './queue-state.ts';
import type { QueuedBlob } from './fair-queue.ts';

const BLOBS_PER_LOOK = 100;
/** The position after every copy. */
const END: CopyPosition = { size: Number.MAX_SAFE_INTEGER, digest: '' };
/** The most digests of waiting jobs to exclude in one query: D1 allows 2 MB per parameter. */
const JOBS_TO_PASS_OVER = 10_000;

type CopiesUp = Awaited<ReturnType<typeof copiesUpFrom>>;

export type WaitingBlob = QueuedBlob & { readonly digest: Digest } & (
    | { readonly kind: 'copy up'; readonly copyUp: Copy }
    | { readonly kind: 'copy down'; readonly copyDown: CopyDown }
  );

export class DueBlobs {
  readonly #options: Pair & { readonly state: QueueState };
  /** The organizations after which the next look for copies up, and for copies down, starts. */
  #copiesUpAfter = '';
  #copiesDownAfter = '';
  /** The positions where the next look goes on, in organizations with many copies up of which few were due. */
  readonly #positions = new Map<string, CopyPosition>();

  constructor(options: Pair & { readonly state: QueueState }) {
    this.#options = options;
  }

  /**
   * Returns the due copies down, followed by the due copies up. A paused queue has no copies up.
   * @param underWay blobs that are being copied, to leave out
   * @param mayGoOn ends the look when it returns false; the next look continues
   */
  async look(underWay: readonly Digest[], mayGoOn: () => boolean): Promise<WaitingBlob[]> {
    const copiesUp = this.#options.state.paused() ? [] : await this.#copiesUp(underWay, mayGoOn);
    return [...this.#copiesDown(underWay), ...copiesUp];
  }

  async #copiesUp(underWay: readonly Digest[], mayGoOn: () => boolean): Promise<WaitingBlob[]> {
    const { central, node, state, now } = this.#options;
    const waiting = state.waitingJobs(copyUpJob(''), now(), JOBS_TO_PASS_OVER);
    const except = [...waiting.map(({ id }) => id.slice(copyUpJob('').length) as Digest), ...underWay];
    // A look that does not start with the first copy of the first organization wraps around after the last.
    const wrapsAround = this.#copiesUpAfter !== '' || this.#positions.size > 0;
    const exhausted = new Map<string, CopyPosition>();
    do {
      for (let from: string | undefined = this.#copiesUpAfter; from !== undefined && mayGoOn();) {
        const positions = new Map([...this.#positions, ...exhausted]);
        const found = await copiesUpFrom(central.database, node.name, from, BLOBS_PER_LOOK, except, positions);
        const due = found.copiesUp.filter(({ digest }) => isDue(state.job(copyUpJob(digest)), now()));
        for (const organization of this.#advance(from, found, due)) exhausted.set(organization, END);
        this.#copiesUpAfter = found.end ?? '';
        if (due.length > 0) {
          return due.map((copyUp) => ({
            kind: 'copy up',
            organization: copyUp.organization,
            digest: copyUp.digest,
            copyUp,
          }));
        }
        from = found.end;
      }
    } while (this.#positions.size > 0 && mayGoOn());
    return wrapsAround && mayGoOn() ? this.#copiesUp(underWay, mayGoOn) : [];
  }

  /**
   * Moves the positions of the organizations that were looked at.
   * @returns those that had a position and have no copies left after it; their next look starts at their first copy
   */
  #advance(from: string, { copiesUp, examined, end }: CopiesUp, due: readonly Copy[]): string[] {
    const withDue = new Set(due.map(({ organization }) => organization));
    // Rows come smallest first, so the last one of an organization stays.
    const passed = new Map<string, CopyPosition>(
      copiesUp
        .filter(({ organization }) => !withDue.has(organization))
        .map(({ organization, size, digest }) => [organization, { size, digest }]),
    );
    for (const [organization, position] of [...passed, ...examined]) this.#positions.set(organization, position);
    const exhausted = [...this.#positions.keys()].filter(
      (name) =>
        name > from &&
        (end === undefined || name <= end) &&
        !withDue.has(name as OrganizationName) &&
        !passed.has(name) &&
        !examined.has(name),
    );
    for (const name of exhausted) this.#positions.delete(name);
    return exhausted;
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
