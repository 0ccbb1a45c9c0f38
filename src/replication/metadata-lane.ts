/**
 * The lane of metadata: applies central's feed, and announces what the node's markers stand for. It looks, asks `machine.ts`
 * what is next, does it, and looks again.
 */
import { logFailure } from '../log.ts';
import { isUnavailable } from '../oci/errors.ts';
import { markersAfter, type Marker, type MarkerPosition } from '../stores/outbox-rows.ts';
import { announce } from './announce.ts';
import { Rest } from './backoff.ts';
import { follow } from './change-log.ts';
import { type LaneOptions, noteFailure, requireDatabases } from './failed-jobs.ts';
import { markerJob, markerJobs, nextStep } from './machine.ts';

const MARKERS_PER_PAGE = 100;

export class MetadataLane {
  readonly #options: LaneOptions;
  readonly #announced: () => void;
  readonly #rest = new Rest();
  #feedMayHaveGrown = true;
  /** After the feed could not be applied: announcing goes on meanwhile. */
  readonly #feedRest = new Rest();
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
    return [this.#rest, this.#feedRest].map((rest) => rest.untilAsOf(now));
  }

  /** The feed may have grown: it is read again. */
  expectFeed(): void {
    this.#feedMayHaveGrown = true;
  }

  wakeUp(): void {
    this.#rest.interrupt();
    this.#feedRest.interrupt();
  }

  /** Follows the feed and announces, until nothing is due or `mayGoOn` says no. */
  async run(mayGoOn: () => boolean): Promise<void> {
    const { node, now, random, state } = this.#options;
    let after: MarkerPosition | undefined;
    this.#looked = now();
    while (mayGoOn()) {
      try {
        const paused = state.paused();
        const markers = paused ? [] : await markersAfter(node.database, after, MARKERS_PER_PAGE);
        const step = nextStep(
          {
            paused,
            markers,
            restUntil: this.#rest.untilAsOf(now()),
            feedMayHaveGrown: this.#feedMayHaveGrown && this.#feedRest.untilAsOf(now()) <= now(),
            jobOf: (marker) => state.job(markerJob(marker)),
          },
          now(),
        );
        switch (step.kind) {
          case 'rest':
            // Nothing is left to be tried again.
            if (step.until === undefined) this.#rest.end();
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
        this.#rest.end();
      } catch (error) {
        if (!isUnavailable(error)) throw error;
        this.#rest.begin(now(), random());
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
      this.#announced();
    } catch (error) {
      await requireDatabases(this.#options, error);
      const [first] = markers;
      if (first === undefined) return;
      if (markers.length > 1) {
        const half = Math.ceil(markers.length / 2);
        await this.#announce(markers.slice(0, half));
        await this.#announce(markers.slice(half));
        return;
      }
      noteFailure(this.#options, markerJob(first), error);
    }
  }
}
