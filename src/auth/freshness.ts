/**
 * Limits how old a node's copy of the control data may be. While central answers, the copy is seconds old. While
 * central is down, the node goes on using its copy for a day and then refuses every request, because a credential that
 * was revoked long ago must not work.
 */
import { DAY, MINUTE } from '../durations.ts';
import { isUnavailable, OciError } from '../oci/errors.ts';
import type { ControlData } from '../stores/organizations/control-data.ts';

/** The time for which a copy is usable, in milliseconds. */
const USABLE_MILLISECONDS = DAY;

/** The time between two checks of the copy's age by an isolate, in milliseconds. */
const LOOK_MILLISECONDS = MINUTE;

/** The most that the clock of the queue may be ahead of an isolate's, in milliseconds. */
const SKEW_MILLISECONDS = MINUTE;

interface Look {
  readonly at: number;
  /** When the node last read central's change log, in milliseconds since the epoch; undefined if never. */
  readonly appliedAt: number | undefined;
}

export class Freshness {
  readonly #looks = new Map<string, Look>();

  /**
   * Checks that the copy is usable. @throws OciError UNAVAILABLE if the node has not heard from central for too long
   */
  async require(
    store: string,
    control: ControlData,
    now: number,
    defer: (work: Promise<unknown>) => void,
  ): Promise<void> {
    const last = this.#looks.get(store);
    if (last !== undefined && isUsable(last, now)) {
      if (Math.abs(now - last.at) >= LOOK_MILLISECONDS) defer(this.#look(store, control, now).catch(() => undefined));
      return;
    }
    const look = await this.#look(store, control, now).catch((error: unknown) => {
      // If the node's own store is down, central's control data decides instead.
      if (isUnavailable(error)) return undefined;
      throw error;
    });
    if (look === undefined ? last === undefined : isUsable(look, now)) return;
    throw new OciError('UNAVAILABLE', {
      message:
        'this node has not heard from the central registry for too long to check credentials: ' +
        'try again later, or use the central registry',
      headers: { 'Retry-After': '30' },
    });
  }

  /** @throws OciError UNAVAILABLE */
  async #look(store: string, control: ControlData, now: number): Promise<Look> {
    const look = { at: now, appliedAt: await control.appliedAt(store) };
    this.#looks.set(store, look);
    return look;
  }
}

/** Returns whether the copy is usable. A time in the future comes from a clock set back since: the age is unknown. */
function isUsable({ appliedAt }: Look, now: number): boolean {
  return appliedAt !== undefined && appliedAt <= now + SKEW_MILLISECONDS && now - appliedAt < USABLE_MILLISECONDS;
}
