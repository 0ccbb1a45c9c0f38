/**
 * A node's queue at work: two lanes, of metadata and of bytes, so that an announcement never waits for a copy. It can
 * be stopped at any point: every step is idempotent, delivery is at least once, effects are once.
 */
import type { Digest } from '../oci/digest.ts';
import type { RepositoryName } from '../oci/reference.ts';
import { BytesLane, type BytesLaneOptions } from './bytes-lane.ts';
import { copyDownJob } from './machine.ts';
import { MetadataLane } from './metadata-lane.ts';

export type ReplicatorOptions = BytesLaneOptions;

export class Replicator {
  readonly #options: ReplicatorOptions;
  readonly #metadata: MetadataLane;
  readonly #bytes: BytesLane;

  constructor(options: ReplicatorOptions) {
    this.#options = options;
    this.#bytes = new BytesLane(options);
    this.#metadata = new MetadataLane(options, () => this.#bytes.expectMore());
  }

  /** Blobs that are being copied now. */
  get inFlight(): number {
    return this.#bytes.inFlight;
  }

  /** The change log may have grown: it is read again. */
  expectChangeLog(): void {
    this.#metadata.expectChangeLog();
  }

  /** Everything that rests tries again at once. */
  wakeUp(): void {
    this.#metadata.wakeUp();
    this.#bytes.wakeUp();
  }

  /** When there is something to do again that nobody will say; undefined for not before the next wake-up. */
  nextAlarm(): number | undefined {
    const now = this.#options.now();
    // What was announced or asked for after the lane of bytes last looked.
    const unseen = this.#bytes.mayHaveMore ? Math.max(now, this.#bytes.restAsOf(now)) : Infinity;
    const next = Math.min(unseen, this.nextRetry() ?? Infinity);
    return next === Infinity ? undefined : next;
  }

  /** When what has failed, or rests, may be tried again; undefined for nothing of that kind. */
  nextRetry(): number | undefined {
    const now = this.#options.now();
    // A rest that is over was not followed by success. A job that was due when both lanes last looked was done, or is
    // nobody's work any more: an alarm for it would never end.
    const looked = Math.min(this.#metadata.looked, this.#bytes.looked);
    // The clock was set back: what was due then is to be looked for once more.
    if (looked > now) return now;
    const rests = [...this.#metadata.restsAsOf(now), this.#bytes.restAsOf(now)];
    const times = [...rests, this.#options.state.nextAttempt(looked, now) ?? 0].filter((time) => time > 0);
    return times.length === 0 ? undefined : Math.max(now, Math.min(...times));
  }

  /** Follows the change log and announces, until nothing is due or `mayGoOn` says no. */
  moveMetadata(mayGoOn: () => boolean): Promise<void> {
    return this.#metadata.run(mayGoOn);
  }

  /** Copies blobs up and fetches others, until nothing is due or `mayGoOn` says no. */
  moveBytes(mayGoOn: () => boolean): Promise<void> {
    return this.#bytes.run(mayGoOn);
  }

  /** Asks for blobs to be fetched. */
  addCopiesDown(repository: RepositoryName, digests: readonly Digest[]): void {
    const { state } = this.#options;
    for (const digest of digests) {
      // Asked for anew, what was given up is tried again.
      if (state.job(copyDownJob(repository, digest))?.parked === true) state.forgetJob(copyDownJob(repository, digest));
      state.addCopyDown({ repository, digest });
    }
    this.#bytes.expectMore();
  }
}
