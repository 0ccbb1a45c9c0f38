/**
 * A node's queue at work: two lanes, of metadata and of bytes, so that an announcement never waits for a copy. Each looks,
 * asks `machine.ts` what is next, does it, and looks again. It can be stopped at any point: every step is idempotent,
 * delivery is at least once, effects are once.
 */
import { logFailure } from '../log.ts';
import type { Digest } from '../oci/digest.ts';
import { isUnavailable } from '../oci/errors.ts';
import type { RepositoryName } from '../oci/reference.ts';
import type { Copy } from './copy-rows.ts';
import { markersAfter, type Marker, type MarkerPosition } from '../stores/outbox-rows.ts';
import type { Store } from '../stores/store.ts';
import { announce } from './announce.ts';
import { copyUp } from './copy.ts';
import { DueBlobs, type WaitingBlob } from './due-blobs.ts';
import { fetchBlob } from './fetch.ts';
import { follow } from './change-log.ts';
import { afterFailure, copyJob, fetchJob, markerJob, markerJobs, nextStep } from './machine.ts';
import type { Pair } from './pair.ts';
import type { Fetch, QueueState } from './queue-state.ts';
import { Rest } from './backoff.ts';
import { Signal } from './signal.ts';
import { OutOfTime } from './transfer.ts';
import { Turns } from './fair-queue.ts';

const MARKERS_PER_PAGE = 100;
/** Objects that are copied or fetched at once: each streams through, without a buffer of ours. */
const BLOBS_AT_ONCE = 2;
/** When what waits is looked at again, although nothing is known to have come: what has failed may be due. */
const LOOK_AGAIN_MILLISECONDS = 10_000;

/** One run of the lane of bytes. */
interface BytesRun {
  readonly mayGoOn: () => boolean;
  /** What was due when it last looked, and how many of that were taken; undefined before that. */
  seen: { readonly at: number; blobs: readonly WaitingBlob[]; taken: number } | undefined;
  /** The look that is going on: nothing is taken meanwhile. */
  looking: Promise<void> | undefined;
  /** What is being moved, and when that ends, well or not. */
  readonly underWay: Map<Digest, Promise<void>>;
  readonly failures: unknown[];
}

export interface ReplicatorOptions extends Pair {
  readonly state: QueueState;
  readonly storeOf: (name: string) => Store | undefined;
  /** From 0 to 1. */
  readonly random: () => number;
}

export class Replicator {
  readonly #options: ReplicatorOptions;
  readonly #metadataRest = new Rest();
  readonly #bytesRest = new Rest();
  #feedMayHaveGrown = true;
  /** After the feed could not be applied: announcing goes on meanwhile. */
  readonly #feedRest = new Rest();
  #inFlight = 0;
  /** More blobs may be due than were when the lane of bytes last looked. */
  readonly #moreBytes = new Signal();
  readonly #turns = new Turns();
  readonly #dueBlobs: DueBlobs;
  /** When each lane last began to look for work, in milliseconds since the epoch. */
  readonly #looked = { metadata: 0, bytes: 0 };

  constructor(options: ReplicatorOptions) {
    this.#options = options;
    this.#dueBlobs = new DueBlobs(options);
  }

  /** Blobs that are being copied now. */
  get inFlight(): number {
    return this.#inFlight;
  }

  /** The feed may have grown: it is read again. */
  expectFeed(): void {
    this.#feedMayHaveGrown = true;
  }

  /** Everything that rests tries again at once. */
  wakeUp(): void {
    this.#metadataRest.interrupt();
    this.#feedRest.interrupt();
    this.#bytesRest.interrupt();
    this.#moreBytes.raise();
  }

  /** When there is something to do again that nobody will say; undefined for not before the next wake-up. */
  nextAlarm(): number | undefined {
    const { now } = this.#options;
    // What was announced or asked for after the lane of bytes last looked.
    const unseen = this.#moreBytes.isRaised ? Math.max(now(), this.#bytesRest.untilAsOf(now())) : Infinity;
    const next = Math.min(unseen, this.nextRetry() ?? Infinity);
    return next === Infinity ? undefined : next;
  }

  /** When what has failed, or rests, may be tried again; undefined for nothing of that kind. */
  nextRetry(): number | undefined {
    const { now, state } = this.#options;
    // A rest that is over was not followed by success. A job that was due when both lanes last looked was done, or is
    // nobody's work any more: an alarm for it would never end.
    const looked = Math.min(this.#looked.metadata, this.#looked.bytes);
    const at = now();
    // The clock was set back: what was due then is to be looked for once more.
    if (looked > at) return at;
    const rests = [this.#metadataRest, this.#feedRest, this.#bytesRest].map((rest) => rest.untilAsOf(at));
    const times = [...rests, state.nextAttempt(looked, at) ?? 0].filter((time) => time > 0);
    return times.length === 0 ? undefined : Math.max(at, Math.min(...times));
  }

  /** Follows the feed and announces, until nothing is due or `mayGoOn` says no. */
  async moveMetadata(mayGoOn: () => boolean): Promise<void> {
    const { node, now, random, state } = this.#options;
    let after: MarkerPosition | undefined;
    this.#looked.metadata = now();
    while (mayGoOn()) {
      try {
        const paused = state.paused();
        const markers = paused ? [] : await markersAfter(node.database, after, MARKERS_PER_PAGE);
        const step = nextStep(
          {
            paused,
            markers,
            restUntil: this.#metadataRest.untilAsOf(now()),
            feedMayHaveGrown: this.#feedMayHaveGrown && this.#feedRest.untilAsOf(now()) <= now(),
            jobOf: (marker) => state.job(markerJob(marker)),
          },
          now(),
        );
        switch (step.kind) {
          case 'rest':
            // Nothing is left to be tried again.
            if (step.until === undefined) this.#metadataRest.end();
            return;
          case 'follow':
            await this.#follow(mayGoOn);
            break;
          case 'announce':
            await this.#announce(step.markers);
            after = markers.at(-1);
            break;
          case 'turn the page':
            after = markers.at(-1);
            break;
        }
        this.#metadataRest.end();
      } catch (error) {
        if (!isUnavailable(error)) throw error;
        this.#metadataRest.begin(now(), random());
        return;
      }
    }
  }

  async #follow(mayGoOn: () => boolean): Promise<void> {
    const { state, now, random } = this.#options;
    this.#feedMayHaveGrown = false;
    try {
      const { applied, atEnd } = await follow(this.#options, mayGoOn);
      state.count('followed', applied);
      if (!atEnd) this.#feedMayHaveGrown = true;
      this.#feedRest.end();
    } catch (error) {
      this.#feedMayHaveGrown = true;
      if (isUnavailable(error)) throw error;
      // A mistake of ours: no reason to keep pushes waiting.
      this.#feedRest.begin(now(), random());
      logFailure({ queue: this.#options.node.name, failed: 'follow', error: String(error) });
    }
  }

  /** All at once; if that fails although the stores answer, in halves, until what fails is alone. */
  async #announce(markers: readonly Marker[]): Promise<void> {
    const { state, now } = this.#options;
    try {
      const announced = await announce(this.#options, markers);
      for (const marker of announced) {
        state.forgetJobs(markerJobs(marker));
        state.observe('announce_seconds', (now() - marker.written_at) / 1000);
      }
      state.count('announced', announced.length);
      this.#moreBytes.raise();
    } catch (error) {
      await this.#requireDatabases(error);
      const [first] = markers;
      if (first === undefined) return;
      if (markers.length > 1) {
        const half = Math.ceil(markers.length / 2);
        await this.#announce(markers.slice(0, half));
        await this.#announce(markers.slice(half));
        return;
      }
      this.#failed(markerJob(first), error);
    }
  }

  #failed(id: string, error: unknown): void {
    const { state, now, random } = this.#options;
    const job = afterFailure(state.job(id), error, now(), random());
    state.count('retries');
    state.setJob(id, job);
    const cause = error instanceof Error && error.cause instanceof Error ? error.cause.message : undefined;
    logFailure({ job: id, attempts: job.attempts, parked: job.parked, error: job.error, cause });
  }

  /** A failure counts only where both databases answer; otherwise it is rethrown, as one of theirs. */
  async #requireDatabases(error: unknown): Promise<void> {
    if (!isUnavailable(error)) return;
    const { node, central } = this.#options;
    await Promise.all([node.database.probe(), central.database.probe()]);
  }

  /**
   * Copies blobs up, and fetches those that were asked for, some at once, until nothing is due or `mayGoOn` says no. What
   * comes meanwhile is seen as soon as one of them is done.
   */
  async moveBytes(mayGoOn: () => boolean): Promise<void> {
    const { now, random } = this.#options;
    this.#looked.bytes = now();
    if (this.#bytesRest.untilAsOf(now()) > now()) return;
    const run: BytesRun = { mayGoOn, seen: undefined, looking: undefined, underWay: new Map(), failures: [] };
    await Promise.all(Array.from({ length: BLOBS_AT_ONCE }, () => this.#moveBlobs(run)));
    const failure = run.failures.find((error) => !(error instanceof OutOfTime)) ?? run.failures[0];
    if (failure === undefined) {
      if (run.seen !== undefined) this.#bytesRest.end();
      return;
    }
    if (failure instanceof OutOfTime) return;
    if (!isUnavailable(failure)) throw failure;
    this.#bytesRest.begin(now(), random());
  }

  /** One after the other, until nothing is due and none is under way whose end could change that. */
  async #moveBlobs(run: BytesRun): Promise<void> {
    const { mayGoOn, underWay, failures } = run;
    while (failures.length === 0 && mayGoOn()) {
      try {
        const next = await this.#nextBlob(run);
        if (next !== undefined) {
          const done = this.#moveBlob(next, mayGoOn)
            .then(
              () => this.#bytesRest.end(),
              (error: unknown) => void failures.push(error),
            )
            .finally(() => underWay.delete(next.digest));
          underWay.set(next.digest, done);
          await done;
        } else if (underWay.size === 0) return;
        else await this.#moreToSee(run);
      } catch (error) {
        failures.push(error);
      }
    }
  }

  /** Answers when one that is under way has ended, more may be due, or it is time to look again. */
  async #moreToSee({ seen, underWay }: BytesRun): Promise<void> {
    const { now } = this.#options;
    const { promise, resolve } = Promise.withResolvers<void>();
    const sinceSeen = Math.max(0, now() - (seen?.at ?? now()));
    const timer = setTimeout(resolve, LOOK_AGAIN_MILLISECONDS - sinceSeen);
    await Promise.race([this.#moreBytes.raised(), promise, ...underWay.values()]);
    clearTimeout(timer);
  }

  /** From what was seen last, or, where that may not be all any more, after another look. */
  async #nextBlob(run: BytesRun): Promise<WaitingBlob | undefined> {
    const { state, now } = this.#options;
    const { seen } = run;
    const isOld =
      seen === undefined ||
      this.#moreBytes.isRaised ||
      Math.abs(now() - seen.at) >= LOOK_AGAIN_MILLISECONDS ||
      (seen.blobs.length === 0 && seen.taken > 0);
    if (isOld) run.looking ??= this.#lookForBlobs(run).finally(() => (run.looking = undefined));
    await run.looking;
    if (run.seen === undefined || run.failures.length > 0) return undefined;
    const paused = state.paused();
    const free = run.seen.blobs.filter(({ kind, digest }) => !run.underWay.has(digest) && !(paused && kind === 'copy'));
    const next = this.#turns.take(free);
    if (next === undefined) return undefined;
    run.seen.blobs = run.seen.blobs.filter((blob) => blob !== next);
    run.seen.taken++;
    return next;
  }

  async #lookForBlobs(run: BytesRun): Promise<void> {
    const { now } = this.#options;
    this.#looked.bytes = now();
    this.#moreBytes.lower();
    run.seen = { at: now(), blobs: await this.#dueBlobs.look([...run.underWay.keys()]), taken: 0 };
  }

  #moveBlob(blob: WaitingBlob, mayGoOn: () => boolean): Promise<void> {
    return blob.kind === 'copy' ? this.#copy(blob.copy, mayGoOn) : this.#fetch(blob.fetch, mayGoOn);
  }

  async #copy(copy: Copy, mayGoOn: () => boolean): Promise<void> {
    const { state, now } = this.#options;
    await this.#attempt(copyJob(copy.digest), async () => {
      const bytes = await copyUp(this.#options, copy, state, mayGoOn);
      state.count('settled');
      state.count('copied_bytes', bytes);
      state.observe('settle_seconds', (now() - copy.announced_at) / 1000);
    });
  }

  async #fetch(fetch: Fetch, mayGoOn: () => boolean): Promise<void> {
    const { state, storeOf } = this.#options;
    await this.#attempt(fetchJob(fetch.repository, fetch.digest), async () => {
      state.count('fetched_bytes', await fetchBlob(this.#options, fetch, storeOf, state, mayGoOn));
      state.removeFetch(fetch);
    });
  }

  async #attempt(id: string, work: () => Promise<void>): Promise<void> {
    const { state, node, central } = this.#options;
    this.#inFlight++;
    try {
      await work();
      state.forgetJob(id);
    } catch (error) {
      if (error instanceof OutOfTime) throw error;
      if (isUnavailable(error)) {
        await this.#requireDatabases(error);
        await Promise.all([node.bucket.probe(), central.bucket.probe()]);
      }
      this.#failed(id, error);
    } finally {
      this.#inFlight--;
    }
  }

  /** Asks for blobs to be fetched. */
  addFetches(repository: RepositoryName, digests: readonly Digest[]): void {
    const { state } = this.#options;
    for (const digest of digests) {
      // Asked for anew, what was given up is tried again.
      if (state.job(fetchJob(repository, digest))?.parked === true) state.forgetJob(fetchJob(repository, digest));
      state.addFetch({ repository, digest });
    }
    this.#moreBytes.raise();
  }
}
