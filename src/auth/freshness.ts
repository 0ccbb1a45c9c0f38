/**
 * How old a node's copy of the control data may be. It is seconds old while central answers; while central does not, a
 * node goes on deciding by it for a day, and then decides nothing: a credential that was revoked long ago must not be
 * good.
 */
import { DAY, MINUTE } from '../durations.ts';
import { isUnavailable, OciError } from '../oci/errors.ts';
import type { ControlData } from '../stores/organizations/control-data.ts';

/** For how long a copy is usable, in milliseconds. */
export const USABLE_MILLISECONDS = DAY;

/** How often an isolate looks, in milliseconds. */
const LOOK_MILLISECONDS = MINUTE;

/** How far the clock of the queue may be ahead of an isolate's, in milliseconds. */
const SKEW_MILLISECONDS = MINUTE;

interface Look {
  readonly at: number;
  /** When the node last heard central's change log, in milliseconds since the epoch. */
  readonly appliedAt: number | undefined;
}

export class Freshness {
  readonly #looks = new Map<string, Look>();

  /** @throws OciError UNAVAILABLE where a node has not heard of central for too long, or never */
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
      // The store itself is away: then nothing is decided by it, but by central's.
      if (isUnavailable(error)) return undefined;
      throw error;
    });
    if (look === undefined ? last === undefined : isUsable(look, now)) return;
    throw new OciError('UNAVAILABLE', {
      message: 'this node has not heard from the central registry for too long to know who may do what',
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

/** A time that lies ahead was written by a clock that has been set back since: how old the copy is, is not known. */
function isUsable({ appliedAt }: Look, now: number): boolean {
  return appliedAt !== undefined && appliedAt <= now + SKEW_MILLISECONDS && now - appliedAt < USABLE_MILLISECONDS;
}
