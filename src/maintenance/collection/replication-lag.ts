/**
 * Whether central has heard of what the nodes promised. A node commits manifests on links that central keeps bytes for; so
 * nothing is collected while the oldest marker of any node is g / 2 old or older, or cannot be read.
 *
 * Invariant 5: renewed lease (2 g) ≥ least lease after a HEAD (1.75 g) ≥ oldest usable link (g) + greatest age of a marker
 * (g / 2) + time that a collection takes (g / 4). What was read is used for g / 8: the transaction that relies on it ends
 * long before g / 4, since D1 ends every query after 30 seconds.
 */
import { oldestMarker } from '../../stores/outbox-rows.ts';
import type { GcContext } from '../context.ts';
import { answerOf, Stopped } from '../round.ts';

export class HeardNodes {
  readonly #context: GcContext;
  #readAt: number | undefined;

  constructor(context: GcContext) {
    this.#context = context;
  }

  /** Reads the nodes' oldest markers, if that is too long ago. @throws Stopped */
  async require(): Promise<void> {
    const { nodes, now, graceMilliseconds } = this.#context;
    const at = now();
    if (this.#readAt !== undefined && at >= this.#readAt && at < this.#readAt + graceMilliseconds / 8) return;
    const asked = nodes.map(async ({ name, database }) => ({
      name,
      oldest: await answerOf(`the database of ${name}`, oldestMarker(database)),
    }));
    for (const { name, oldest } of await Promise.all(asked)) {
      if (oldest === undefined || oldest > at - graceMilliseconds / 2) continue;
      throw new Stopped(
        `${name} has pushes of ${new Date(oldest).toISOString()} that central has not heard of: nothing is collected before its queue has announced them, or the node is retired`,
      );
    }
    this.#readAt = at;
  }
}
