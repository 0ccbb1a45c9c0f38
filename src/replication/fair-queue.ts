/**
 * Whose turn it is among the blobs that wait to be moved. Pure: `bytes-lane.ts` looks what waits, asks here, and moves
 * it.
 *
 * Organizations take turns, a blob each, and within one its copies and its fetches do: so what a push of many blobs, or
 * of large ones, keeps waiting is at most what is being moved already.
 */
import type { OrganizationName } from '../oci/reference.ts';

export interface QueuedBlob {
  readonly kind: 'copy up' | 'copy down';
  readonly organization: OrganizationName;
}

/** Organizations, and kinds of theirs, whose last turn is remembered. Of others it was longer ago than of all these. */
const REMEMBERED = 2000;

export class FairQueue {
  /** When each had its last turn, counted in turns; the longest ago first. */
  readonly #last = new Map<string, number>();
  #count = 0;

  /**
   * The one whose turn it is, which is then counted as had: of the organization whose last turn was longest ago, of the
   * kind of which the same is true there. Of several, the first as they are given.
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
