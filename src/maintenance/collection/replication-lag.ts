/**
 * What the nodes have yet to announce to central. Every answer is used for g / 8, then the nodes are asked again.
 *
 * Invariant 5: a node commits manifests on links that central keeps bytes for; so nothing is collected while the oldest
 * outbox entry of any node is g / 2 old or older, or cannot be read. Renewed lease (2 g) ≥ least lease after a HEAD
 * (1.75 g) ≥ oldest usable link (g) + greatest age of an outbox entry (g / 2) + time that a collection takes (g / 4).
 * The transaction that relies on an answer ends long before g / 4, since D1 ends every query after 30 seconds.
 */
import { leastVersion, oldestOutboxEntry } from '../../stores/outbox-rows.ts';
import type { Store } from '../../stores/store.ts';
import { answerOf, Stopped } from '../stopped.ts';

interface Nodes {
  readonly nodes: readonly Store[];
  readonly now: () => number;
  readonly graceMilliseconds: number;
}

export class ReplicationLag {
  readonly #of: Nodes;
  #shortAt: number | undefined;
  readonly #latest = new Map<Store, { readonly at: number; readonly version: number }>();

  constructor(of: Nodes) {
    this.#of = of;
  }

  /** Collection may go on: no node lags by g / 2, and all of them answer. @throws Stopped */
  async requireShort(): Promise<void> {
    const { nodes, now, graceMilliseconds } = this.#of;
    const at = now();
    if (this.#isFresh(this.#shortAt, at)) return;
    const asked = nodes.map(async ({ name, database }) => ({
      name,
      oldest: await answerOf(`the database of ${name}`, oldestOutboxEntry(database)),
    }));
    for (const { name, oldest } of await Promise.all(asked)) {
      if (oldest === undefined || oldest > at - graceMilliseconds / 2) continue;
      throw new Stopped(
        `${name} has pushes of ${new Date(oldest).toISOString()} that central has not heard of: nothing is collected before its queue has announced them, or the node is retired`,
      );
    }
    this.#shortAt = at;
  }

  /**
   * The version of the oldest change at a node that central has not heard of: what was deleted after it is still
   * needed. The greatest number if there is none.
   *
   * Finding one reads all outbox entries of its node. A change that is made after that has a version of then, and what
   * is forgotten is older than that by g; one that is announced meanwhile keeps for longer what it might have needed.
   * @throws Stopped
   */
  async leastVersion(node: Store): Promise<number> {
    const at = this.#of.now();
    const known = this.#latest.get(node);
    if (known !== undefined && this.#isFresh(known.at, at)) return known.version;
    const asked = answerOf(`the database of ${node.name}`, leastVersion(node.database));
    const version = (await asked) ?? Number.MAX_SAFE_INTEGER;
    this.#latest.set(node, { at, version });
    return version;
  }

  #isFresh(readAt: number | undefined, at: number): boolean {
    return readAt !== undefined && at >= readAt && at < readAt + this.#of.graceMilliseconds / 8;
  }
}
