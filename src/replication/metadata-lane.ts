/**
 * The metadata lane applies central's change log and announces the node's outbox entries. It looks, asks `machine.ts`
 * what to do next, does that, and looks again.
 */
import { logFailure } from '../log.ts';
import { isUnavailable } from '../oci/errors.ts';
import { outboxEntriesAfter, type OutboxEntry, type OutboxEntryPosition } from '../stores/outbox-rows.ts';
import { announce } from './announce.ts';
import { Backoff } from './backoff.ts';
import { applyChanges } from './change-log.ts';
import { type LaneOptions, noteFailure, requireDatabases } from './failed-jobs.ts';
import { outboxEntryJob, outboxEntryJobs, nextStep } from './machine.ts';

const OUTBOX_ENTRIES_PER_PAGE = 100;

export class MetadataLane {
  readonly #options: LaneOptions;
  readonly #announced: () => void;
  readonly #backoff = new Backoff();
  #changeLogMayHaveGrown = true;
  /** The backoff after the change log could not be applied. Announcements go on in the meantime. */
  readonly #changeLogBackoff = new Backoff();
  #looked = 0;
  #wasCutOff = false;

  /** @param announced called after each announcement, because blobs may be due now */
  constructor(options: LaneOptions, announced: () => void) {
    this.#options = options;
    this.#announced = announced;
  }

  /** When the lane last began to look for work, in milliseconds since the epoch. */
  get looked(): number {
    return this.#looked;
  }

  /** Whether the last run ended because `mayGoOn` returned false, so that more may be due. */
  get wasCutOff(): boolean {
    return this.#wasCutOff;
  }

  /**
   * Returns the ends of the lane's backoffs, as of `now`, in milliseconds since the epoch; 0 for one that is not on.
   */
  backoffsAsOf(now: number): number[] {
    return [this.#backoff, this.#changeLogBackoff].map((backoff) => backoff.untilAsOf(now));
  }

  /** Makes the next run read the change log, because it may have grown. */
  expectChangeLog(): void {
    this.#changeLogMayHaveGrown = true;
  }

  /** Ends the backoffs, so that the next run tries at once. */
  wakeUp(): void {
    this.#backoff.interrupt();
    this.#changeLogBackoff.interrupt();
  }

  /** Applies the change log and announces outbox entries, until nothing is due or `mayGoOn` returns false. */
  async run(mayGoOn: () => boolean): Promise<void> {
    const { node, now, random, state } = this.#options;
    let after: OutboxEntryPosition | undefined;
    this.#looked = now();
    this.#wasCutOff = false;
    while (mayGoOn()) {
      try {
        const paused = state.paused();
        const outboxEntries = paused ? [] : await outboxEntriesAfter(node.database, after, OUTBOX_ENTRIES_PER_PAGE);
        const step = nextStep(
          {
            paused,
            outboxEntries,
            backoffUntil: this.#backoff.untilAsOf(now()),
            changeLogMayHaveGrown: this.#changeLogMayHaveGrown && this.#changeLogBackoff.untilAsOf(now()) <= now(),
            jobOf: (outboxEntry) => state.job(outboxEntryJob(outboxEntry)),
          },
          now(),
        );
        switch (step.kind) {
          case 'stop':
            // There is nothing left to retry.
            if (step.until === undefined) this.#backoff.end();
            return;
          case 'apply':
            await this.#applyChanges(mayGoOn);
            break;
          case 'announce':
            await this.#announce(step.outboxEntries);
            after = outboxEntries.at(-1);
            break;
          case 'next page':
            after = outboxEntries.at(-1);
            break;
        }
        this.#backoff.end();
      } catch (error) {
        if (!isUnavailable(error)) throw error;
        this.#backoff.begin(now(), random());
        return;
      }
    }
    this.#wasCutOff = true;
  }

  async #applyChanges(mayGoOn: () => boolean): Promise<void> {
    const { state, now, random } = this.#options;
    this.#changeLogMayHaveGrown = false;
    try {
      const { applied, deletions, atEnd } = await applyChanges(this.#options, mayGoOn);
      state.count('applied', applied);
      state.count('deletions', deletions);
      if (!atEnd) this.#changeLogMayHaveGrown = true;
      this.#changeLogBackoff.end();
    } catch (error) {
      this.#changeLogMayHaveGrown = true;
      if (isUnavailable(error)) throw error;
      // This is a bug in Berth, which is no reason to delay pushes.
      this.#changeLogBackoff.begin(now(), random());
      logFailure({ queue: this.#options.node.name, failed: 'apply', error: String(error) });
    }
  }

  /**
   * Announces outbox entries in one batch. If that fails although the stores answer, it announces each half separately,
   * until the entry that fails is alone.
   */
  async #announce(outboxEntries: readonly OutboxEntry[]): Promise<void> {
    const { state, now } = this.#options;
    try {
      const announced = await announce(this.#options, outboxEntries);
      for (const outboxEntry of announced) {
        state.forgetJobs(outboxEntryJobs(outboxEntry));
        state.observe('announce_seconds', (now() - outboxEntry.written_at) / 1000);
      }
      state.count('announced', announced.length);
      state.count('manifests', announced.filter(({ kind }) => kind === 'manifest').length);
      this.#announced();
    } catch (error) {
      await requireDatabases(this.#options, error);
      const [first] = outboxEntries;
      if (first === undefined) return;
      if (outboxEntries.length > 1) {
        const half = Math.ceil(outboxEntries.length / 2);
        await this.#announce(outboxEntries.slice(0, half));
        await this.#announce(outboxEntries.slice(half));
        return;
      }
      noteFailure(this.#options, outboxEntryJob(first), error);
    }
  }
}
