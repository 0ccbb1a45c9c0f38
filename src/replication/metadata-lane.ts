/**
 * The lane of metadata: applies central's change log, and announces what the node's outbox entries stand for. It looks,
 * asks `machine.ts` what is next, does it, and looks again.
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
  readonly #rest = new Backoff();
  #changeLogMayHaveGrown = true;
  /** After the change log could not be applied: announcing goes on meanwhile. */
  readonly #changeLogBackoff = new Backoff();
  #looked = 0;

  /** @param announced called after each announcement: blobs may be due now */
  constructor(options: LaneOptions, announced: () => void) {
    this.#options = options;
    this.#announced = announced;
  }

  /** When it last began to look for work, in milliseconds since the epoch. */
  get looked(): number {
    return this.#looked;
  }

  /** Until when it rests, as of `now`: times in milliseconds since the epoch, 0 for not at all. */
  restsAsOf(now: number): number[] {
    return [this.#rest, this.#changeLogBackoff].map((rest) => rest.untilAsOf(now));
  }

  /** The change log may have grown: it is read again. */
  expectChangeLog(): void {
    this.#changeLogMayHaveGrown = true;
  }

  wakeUp(): void {
    this.#rest.interrupt();
    this.#changeLogBackoff.interrupt();
  }

  /** Follows the change log and announces, until nothing is due or `mayGoOn` says no. */
  async run(mayGoOn: () => boolean): Promise<void> {
    const { node, now, random, state } = this.#options;
    let after: OutboxEntryPosition | undefined;
    this.#looked = now();
    while (mayGoOn()) {
      try {
        const paused = state.paused();
        const outboxEntries = paused ? [] : await outboxEntriesAfter(node.database, after, OUTBOX_ENTRIES_PER_PAGE);
        const step = nextStep(
          {
            paused,
            outboxEntries,
            backoffUntil: this.#rest.untilAsOf(now()),
            changeLogMayHaveGrown: this.#changeLogMayHaveGrown && this.#changeLogBackoff.untilAsOf(now()) <= now(),
            jobOf: (outboxEntry) => state.job(outboxEntryJob(outboxEntry)),
          },
          now(),
        );
        switch (step.kind) {
          case 'rest':
            // Nothing is left to be tried again.
            if (step.until === undefined) this.#rest.end();
            return;
          case 'apply':
            await this.#applyChanges(mayGoOn);
            break;
          case 'announce':
            await this.#announce(step.outboxEntries);
            after = outboxEntries.at(-1);
            break;
          case 'turn the page':
            after = outboxEntries.at(-1);
            break;
        }
        this.#rest.end();
      } catch (error) {
        if (!isUnavailable(error)) throw error;
        this.#rest.begin(now(), random());
        return;
      }
    }
  }

  async #applyChanges(mayGoOn: () => boolean): Promise<void> {
    const { state, now, random } = this.#options;
    this.#changeLogMayHaveGrown = false;
    try {
      const { applied, atEnd } = await applyChanges(this.#options, mayGoOn);
      state.count('applied', applied);
      if (!atEnd) this.#changeLogMayHaveGrown = true;
      this.#changeLogBackoff.end();
    } catch (error) {
      this.#changeLogMayHaveGrown = true;
      if (isUnavailable(error)) throw error;
      // A mistake of ours: no reason to keep pushes waiting.
      this.#changeLogBackoff.begin(now(), random());
      logFailure({ queue: this.#options.node.name, failed: 'apply', error: String(error) });
    }
  }

  /** All at once; if that fails although the stores answer, in halves, until what fails is alone. */
  async #announce(outboxEntries: readonly OutboxEntry[]): Promise<void> {
    const { state, now } = this.#options;
    try {
      const announced = await announce(this.#options, outboxEntries);
      for (const outboxEntry of announced) {
        state.forgetJobs(outboxEntryJobs(outboxEntry));
        state.observe('announce_seconds', (now() - outboxEntry.written_at) / 1000);
      }
      state.count('announced', announced.length);
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
