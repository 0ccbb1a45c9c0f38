/**
 * Chooses the next blob to copy. It has no I/O: `bytes-lane.ts` finds the waiting blobs, asks here, and copies.
 *
 * Organizations take turns, with one blob per turn. Within an organization, copies up and copies down take turns. So a
 * push of many blobs, or of large ones, delays other organizations only by the copies that are already under way.
 */
import type { OrganizationName } from '../oci/reference.ts';

export interface QueuedBlob {
  readonly kind: 'copy up' | 'copy down';
  readonly organization: OrganizationName;
}

/**
 * The number of last turns that are remembered, of organizations and of their kinds of copies. A turn that is not
 * remembered was longer ago than all of these.
 */
const REMEMBERED = 2000;

export class FairQueue {
  /** The number of each one's last turn, least recent first. */
  readonly #last = new Map<string, number>();
  #count = 0;

  /**
   * Picks the next blob and records the turn. Organizations take turns, least recently served first, and so do the two
   * kinds of copies of an organization. Among equals, the first in `waiting` is next.
   */
  take<Item extends QueuedBlob>(waiting: readonly Item[]): Item | undefined {
    let next: Item | undefined;
    for (const item of waiting) if (next === undefined || this.#isBefore(item, next)) next = item;
    if (next === undefined) return undefined;
    this.#count++;
    for (const name of [next.organization, kindOf(next)]) {
      this.#last.delete(name);
      this.#last.set(name, this.#count);
    }
    for (const name of this.#last.keys()) {
      if (this.#last.size <= REMEMBERED) break;
      this.#last.delete(name);
    }
    return next;
  }

  /** Returns the organizations that wait, the one whose turn is next first. */
  order(waiting: readonly QueuedBlob[]): OrganizationName[] {
    const names = [...new Set(waiting.map(({ organization }) => organization))];
    return names.toSorted((a, b) => this.#lastOf(a) - this.#lastOf(b));
  }

  #isBefore(a: QueuedBlob, b: QueuedBlob): boolean {
    if (a.organization !== b.organization) return this.#lastOf(a.organization) < this.#lastOf(b.organization);
    return this.#lastOf(kindOf(a)) < this.#lastOf(kindOf(b));
  }

  #lastOf(name: string): number {
    return this.#last.get(name) ?? 0;
  }
}

function kindOf({ organization, kind }: QueuedBlob): string {
  return `${organization} ${kind}`;
}
