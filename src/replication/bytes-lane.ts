/**
 * The bytes lane copies blobs up to central and copies requested blobs down to the node, several at once. An
 * announcement never waits for a copy.
 */
import type { Digest } from '../oci/digest.ts';
import { isUnavailable } from '../oci/errors.ts';
import type { OrganizationName } from '../oci/reference.ts';
import type { Store } from '../stores/store.ts';
import { Backoff } from './backoff.ts';
import type { Copy } from './copy-rows.ts';
import { copyBlobUp } from './copy-up.ts';
import { DueBlobs, type WaitingBlob } from './due-blobs.ts';
import { type LaneOptions, noteFailure, requireDatabases } from './failed-jobs.ts';
import { FairQueue } from './fair-queue.ts';
import { copyBlobDown } from './copy-down.ts';
import { copyUpJob, copyDownJob, OutOfTime } from './machine.ts';
import type { CopyDown } from './queue-state.ts';
import { Signal } from './signal.ts';

/** The most objects that are copied at once. A large one takes a small buffer of the isolate's budget. */
const BLOBS_AT_ONCE = 2;
/** The time after which to look for due blobs again without a signal: a failed job may have become due. */
const LOOK_AGAIN_MILLISECONDS = 10_000;

/** The state of one run of the lane. */
interface Run {
  readonly mayGoOn: () => boolean;
  /** The blobs that were due at the last look and have not been taken since, and how many were taken. */
  seen: { readonly at: number; blobs: readonly WaitingBlob[]; taken: number } | undefined;
  /** The look that is in progress. No blob is taken until it ends. */
  looking: Promise<void> | undefined;
  /** The blobs that are being copied. Each promise resolves when its copy has succeeded or failed. */
  readonly underWay: Map<Digest, Promise<void>>;
  readonly failures: unknown[];
}

/** The copies that the lane makes now, and the order in which it makes the next ones. */
export interface Turns {
  readonly copying: readonly {
    readonly kind: WaitingBlob['kind'];
    readonly organization: OrganizationName;
    readonly digest: Digest;
    /** Bytes; undefined for a copy down, whose size is not known before its source is. */
    readonly size: number | undefined;
  }[];
  /** The blobs that the last look found and nobody has taken since, by organization, the next one first. */
  readonly waiting: readonly { readonly organization: OrganizationName; readonly blobs: number }[];
}

export interface BytesLaneOptions extends LaneOptions {
  readonly storeOf: (name: string) => Store | undefined;
}

export class BytesLane {
  readonly #options: BytesLaneOptions;
  readonly #backoff = new Backoff();
  readonly #copying = new Set<WaitingBlob>();
  #seen: Run['seen'];
  /** Raised when more blobs may be due than at the last look. */
  readonly #more = new Signal();
  readonly #fairQueue = new FairQueue();
  readonly #dueBlobs: DueBlobs;
  #looked = 0;

  constructor(options: BytesLaneOptions) {
    this.#options = options;
    this.#dueBlobs = new DueBlobs(options);
  }

  /** The number of blobs that are being copied now. */
  get inFlight(): number {
    return this.#copying.size;
  }

  get turns(): Turns {
    const copying = [...this.#copying].map(({ kind, organization, digest, ...blob }) => ({
      kind,
      organization,
      digest,
      size: 'copyUp' in blob ? blob.copyUp.size : undefined,
    }));
    const waiting = this.#seen?.blobs ?? [];
    const blobsOf = Map.groupBy(waiting, ({ organization }) => organization);
    return {
      copying,
      waiting: this.#fairQueue
        .order(waiting)
        .map((organization) => ({ organization, blobs: blobsOf.get(organization)?.length ?? 0 })),
    };
  }

  /** When the lane last began to look for work, in milliseconds since the epoch. */
  get looked(): number {
    return this.#looked;
  }

  /** Whether more blobs may be due than at the last look. */
  get mayHaveMore(): boolean {
    return this.#more.isRaised;
  }

  /** Returns the end of the lane's backoff, as of `now`, in milliseconds since the epoch; 0 if it does not back off. */
  backoffAsOf(now: number): number {
    return this.#backoff.untilAsOf(now);
  }

  /** Tells the lane that more blobs may be due. */
  expectMore(): void {
    this.#more.raise();
  }

  /** Ends the backoff, and looks for due blobs again. */
  wakeUp(): void {
    this.#backoff.interrupt();
    this.#more.raise();
  }

  /**
   * Copies blobs up and down, several at once, until nothing is due or `mayGoOn` returns false. The lane notices new
   * blobs while it runs.
   */
  async run(mayGoOn: () => boolean): Promise<void> {
    const { now, random } = this.#options;
    this.#looked = now();
    if (this.#backoff.untilAsOf(now()) > now()) return;
    const current: Run = { mayGoOn, seen: undefined, looking: undefined, underWay: new Map(), failures: [] };
    await Promise.all(Array.from({ length: BLOBS_AT_ONCE }, () => this.#moveBlobs(current)));
    const failure = current.failures.find((error) => !(error instanceof OutOfTime)) ?? current.failures[0];
    if (failure === undefined) {
      if (current.seen !== undefined) this.#backoff.end();
      return;
    }
    // If the run still has time, there was no room for a buffer: try again soon, without counting an attempt.
    if (failure instanceof OutOfTime && !mayGoOn()) return;
    if (!(failure instanceof OutOfTime || isUnavailable(failure))) throw failure;
    this.#backoff.begin(now(), random());
  }

  /** Copies one blob after another, until nothing is due and no copy under way could change that. */
  async #moveBlobs(run: Run): Promise<void> {
    const { mayGoOn, underWay, failures } = run;
    while (failures.length === 0 && mayGoOn()) {
      try {
        const next = await this.#nextBlob(run);
        if (next !== undefined) {
          const done = this.#moveBlob(next, mayGoOn)
            .then(
              () => this.#backoff.end(),
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

  /** Waits until a copy has ended, more blobs may be due, or it is time to look again. */
  async #moreToSee({ seen, underWay }: Run): Promise<void> {
    const { now } = this.#options;
    const { promise, resolve } = Promise.withResolvers<void>();
    const sinceSeen = Math.max(0, now() - (seen?.at ?? now()));
    const timer = setTimeout(resolve, LOOK_AGAIN_MILLISECONDS - sinceSeen);
    await Promise.race([this.#more.raised(), promise, ...underWay.values()]);
    clearTimeout(timer);
  }

  /** Takes the next blob from the last look, or looks again first if that may be out of date. */
  async #nextBlob(run: Run): Promise<WaitingBlob | undefined> {
    const { state, now } = this.#options;
    const { seen } = run;
    const isOld =
      seen === undefined ||
      this.#more.isRaised ||
      Math.abs(now() - seen.at) >= LOOK_AGAIN_MILLISECONDS ||
      (seen.blobs.length === 0 && seen.taken > 0);
    if (isOld) run.looking ??= this.#lookForBlobs(run).finally(() => (run.looking = undefined));
    await run.looking;
    if (run.seen === undefined || run.failures.length > 0) return undefined;
    const paused = state.paused();
    const free = run.seen.blobs.filter(
      ({ kind, digest }) => !run.underWay.has(digest) && !(paused && kind === 'copy up'),
    );
    const next = this.#fairQueue.take(free);
    if (next === undefined) return undefined;
    run.seen.blobs = run.seen.blobs.filter((blob) => blob !== next);
    run.seen.taken++;
    return next;
  }

  async #lookForBlobs(run: Run): Promise<void> {
    const { now } = this.#options;
    this.#looked = now();
    this.#more.lower();
    run.seen = { at: now(), blobs: await this.#dueBlobs.look([...run.underWay.keys()], run.mayGoOn), taken: 0 };
    this.#seen = run.seen;
  }

  async #moveBlob(blob: WaitingBlob, mayGoOn: () => boolean): Promise<void> {
    this.#copying.add(blob);
    try {
      await (blob.kind === 'copy up' ? this.#copyUp(blob.copyUp, mayGoOn) : this.#copyDown(blob.copyDown, mayGoOn));
    } finally {
      this.#copying.delete(blob);
    }
  }

  async #copyUp(copyUp: Copy, mayGoOn: () => boolean): Promise<void> {
    const { state, now } = this.#options;
    await this.#attempt(copyUpJob(copyUp.digest), async () => {
      const bytes = await copyBlobUp(this.#options, copyUp, state, mayGoOn);
      state.count('settled');
      state.count('copied_up_bytes', bytes);
      state.observe('settle_seconds', (now() - copyUp.announced_at) / 1000);
    });
  }

  async #copyDown(copyDown: CopyDown, mayGoOn: () => boolean): Promise<void> {
    const { state, storeOf } = this.#options;
    await this.#attempt(copyDownJob(copyDown.repository, copyDown.digest), async () => {
      state.count('copied_down_bytes', await copyBlobDown(this.#options, copyDown, storeOf, state, mayGoOn));
      state.removeCopyDown(copyDown);
    });
  }

  async #attempt(id: string, work: () => Promise<void>): Promise<void> {
    const { state, node, central } = this.#options;
    try {
      await work();
      state.forgetJob(id);
    } catch (error) {
      if (error instanceof OutOfTime) throw error;
      if (isUnavailable(error)) {
        await requireDatabases(this.#options, error);
        await Promise.all([node.bucket.probe(), central.bucket.probe()]);
      }
      noteFailure(this.#options, id, error);
    }
  }
}
