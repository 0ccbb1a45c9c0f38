/**
 * The replication lag: what the nodes have yet to announce to central. An answer is reused for g / 8, then the nodes
 * are asked again.
 *
 * Invariant 5: a node may commit manifests on links whose bytes only central keeps. So nothing is collected while the
 * oldest outbox entry of any node is g / 2 old or older, or cannot be read:
 *
 *     renewed lease (2 g) ≥ least lease after a HEAD (1.75 g)
 *       ≥ oldest usable link (g) + greatest age of an outbox entry (g / 2) + time that a collection takes (g / 4)
 *
 * A transaction that relies on an answer ends long before g / 4, since D1 ends every query after 30 seconds.
 */
import { leastVersion, oldestOutboxEntry } from '../../stores/outbox-rows.ts';
import type { Store } from '../../stores/store.ts';
import { answerOf, Stopped } from '../stopped.ts';

interface Settings {
  readonly nodes: readonly Store[];
  readonly now: () => number;
  readonly graceMilliseconds: number;
}

export class ReplicationLag {
  readonly #settings: Settings;
  #shortAt: number | undefined;
  readonly #latest = new Map<Store, { readonly at: number; readonly version: number }>();

  constructor(settings: Settings) {
    this.#settings = settings;
  }

  /**
   * Checks that no node lags too far, so that collection may go on.
   * @throws Stopped if a node lags by g / 2 or more, or does not answer
   */
  async requireShort(): Promise<void> {
    const { nodes, now, graceMilliseconds } = this.#settings;
    const at = now();
    if (this.#isFresh(this.#shortAt, at)) return;
    const asked = nodes.map(async ({ name, database }) => ({
      name,
      oldest: await answerOf(`the database of ${name}`, oldestOutboxEntry(database)),
    }));
    for (const { name, oldest } of await Promise.all(asked)) {
      if (oldest === undefined || oldest > at - graceMilliseconds / 2) continue;
      throw new Stopped(
        `${name} has pushes of ${new Date(oldest).toISOString()} that central has not heard of: ` +
          'nothing is collected until its queue has announced them, or the node is retired',
      );
    }
    this.#shortAt = at;
  }

  /**
   * Returns the version of the oldest change at a node that central has not heard of, or the greatest safe integer if
   * there is none. Later deletions must still be kept.
   *
   * One look reads all outbox entries of the node. A change made after it has a newer version, and forgotten deletions
   * are at least g older than that. A change announced after it only keeps deletions longer than necessary.
   * @throws Stopped if the node does not answer
   */
  async leastVersion(node: Store): Promise<number> {
    const at = this.#settings.now();
    const known = this.#latest.get(node);
    if (known !== undefined && this.#isFresh(known.at, at)) return known.version;
    const asked = answerOf(`the database of ${node.name}`, leastVersion(node.database));
    const version = (await asked) ?? Number.MAX_SAFE_INTEGER;
    this.#latest.set(node, { at, version });
    return version;
  }

  #isFresh(readAt: number | undefined, at: number): boolean {
    return readAt !== undefined && at >= readAt && at < readAt + this.#settings.graceMilliseconds / 8;
  }
}
