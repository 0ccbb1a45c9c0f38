/**
 * Does the work of a node's queue. It has two lanes, one for metadata and one for bytes, so that an announcement never
 * waits for a copy. The work can stop at any point: every step is idempotent, so a step may run twice but takes effect
 * once.
 */
import type { Digest } from '../oci/digest.ts';
import type { RepositoryName } from '../oci/reference.ts';
import { BytesLane, type BytesLaneOptions, type Turns } from './bytes-lane.ts';
import { copyDownJob } from './machine.ts';
import { MetadataLane } from './metadata-lane.ts';

type ReplicatorOptions = BytesLaneOptions;

export class Replicator {
  readonly #options: ReplicatorOptions;
  readonly #metadata: MetadataLane;
  readonly #bytes: BytesLane;

  constructor(options: ReplicatorOptions) {
    this.#options = options;
    this.#bytes = new BytesLane(options);
    this.#metadata = new MetadataLane(options, () => this.#bytes.expectMore());
  }

  /** The number of blobs that are being copied now. */
  get inFlight(): number {
    return this.#bytes.inFlight;
  }

  get turns(): Turns {
    return this.#bytes.turns;
  }

  /** Makes the metadata lane read the change log again, because it may have grown. */
  expectChangeLog(): void {
    this.#metadata.expectChangeLog();
  }

  /** Ends all backoffs, so that both lanes try again at once. */
  wakeUp(): void {
    this.#metadata.wakeUp();
    this.#bytes.wakeUp();
  }

  /** Returns when the queue has to run again by itself; undefined if it can wait for the next wake-up. */
  nextAlarm(): number | undefined {
    const now = this.#options.now();
    // Covers blobs that were announced or requested after the bytes lane last looked.
    const unseen = this.#bytes.mayHaveMore ? Math.max(now, this.#bytes.backoffAsOf(now)) : Infinity;
    const next = Math.min(unseen, this.nextRetry() ?? Infinity);
    return next === Infinity ? undefined : next;
  }

  /**
   * Returns when a lane has to run again: when the next failed job is due or a backoff ends, or now if the metadata
   * lane's last run was cut off. Undefined if there is nothing to wait for.
   */
  nextRetry(): number | undefined {
    const now = this.#options.now();
    if (this.#metadata.wasCutOff) return now;
    // A backoff that has ended still counts, because no success has reset it. A job that was already due when both
    // lanes last looked does not count: it was done, or there is no work for it any more. An alarm for it would repeat
    // forever.
    const looked = Math.min(this.#metadata.looked, this.#bytes.looked);
    // If the clock was set back since, look for due jobs once more.
    if (looked > now) return now;
    const backoffs = [...this.#metadata.backoffsAsOf(now), this.#bytes.backoffAsOf(now)];
    const times = [...backoffs, this.#options.state.nextAttempt(looked, now) ?? 0].filter((time) => time > 0);
    return times.length === 0 ? undefined : Math.max(now, Math.min(...times));
  }

  /** Applies the change log and announces outbox entries, until nothing is due or `mayGoOn` returns false. */
  moveMetadata(mayGoOn: () => boolean): Promise<void> {
    return this.#metadata.run(mayGoOn);
  }

  /** Copies blobs up and down, until nothing is due or `mayGoOn` returns false. */
  moveBytes(mayGoOn: () => boolean): Promise<void> {
    return this.#bytes.run(mayGoOn);
  }

  /** Asks for blobs to be copied down. Returns those for which the list has room. */
  addCopiesDown(repository: RepositoryName, digests: readonly Digest[]): readonly Digest[] {
    const { state } = this.#options;
    const added = digests.filter((digest) => {
      // A new request makes a parked copy due again.
      if (state.job(copyDownJob(repository, digest))?.parked === true) state.forgetJob(copyDownJob(repository, digest));
      return state.addCopyDown({ repository, digest });
    });
    this.#bytes.expectMore();
    return added;
  }
}
