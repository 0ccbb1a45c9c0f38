/**
 * The replication lag: the outbox entries that the nodes have yet to announce to central. An answer, or the lack of
 * one, is reused for g / 8, and callers at the same time share one query. Then the node is asked again.
 *
 * Invariant 5: a node may commit manifests on links whose bytes only central keeps. So nothing is collected while the
 * oldest outbox entry of any node is g / 2 old or older, or cannot be read:
 *
 * ```
 * renewed lease (2 g)
 *   ≥ least lease after a HEAD (1.75 g)
 *   ≥ oldest usable link (g) + greatest age of an outbox entry (g / 2) + time that a collection takes (g / 4)
 * ```
 *
 * A transaction that relies on an answer ends long before g / 4, since D1 ends every query after 30 seconds.
 */
import { versionOf } from '../../stores/clock.ts';
import { oldestOutboxEntry } from '../../stores/outbox-rows.ts';
import type { Store } from '../../stores/store.ts';
import { answerOf, Stopped } from '../stopped.ts';

interface Settings {
  readonly nodes: readonly Store[];
  readonly now: () => number;
  readonly graceMilliseconds: number;
}

/** A question to a node. Times are milliseconds since the epoch. */
interface Question {
  readonly at: number;
  /** When the node's oldest outbox entry was written; undefined if it has none. */
  readonly oldest: Promise<number | undefined>;
}

export class ReplicationLag {
  readonly #settings: Settings;
  readonly #asked = new Map<Store, Question>();

  constructor(settings: Settings) {
    this.#settings = settings;
  }

  /**
   * Checks that no node lags too far, so that collection may go on.
   * @throws Stopped if a node lags by g / 2 or more, or does not answer
   */
  async requireShort(): Promise<void> {
    const { nodes, graceMilliseconds } = this.#settings;
    const asked = nodes.map(async (node) => {
      const { at, oldest } = this.#ask(node);
      return { name: node.name, at, oldest: await oldest };
    });
    for (const { name, at, oldest } of await Promise.all(asked)) {
      if (oldest === undefined || oldest > at - graceMilliseconds / 2) continue;
      throw new Stopped(
        `${name} has pushes of ${new Date(oldest).toISOString()} that central has not heard of: ` +
          'nothing is collected until its queue has announced them, or the node is retired',
      );
    }
  }

  /**
   * Returns the version of the oldest change at a node that central has not heard of, or the greatest safe integer if
   * there is none. Later deletions must still be kept.
   *
   * No version is less than the time at which its entry was written, so the oldest entry gives the bound. A change made
   * after the question has a newer version, and forgotten deletions are at least g older than that. A change announced
   * after it only keeps deletions longer than necessary.
   * @throws Stopped if the node does not answer
   */
  async leastVersion(node: Store): Promise<number> {
    const oldest = await this.#ask(node).oldest;
    return oldest === undefined ? Number.MAX_SAFE_INTEGER : versionOf(oldest);
  }

  #ask(node: Store): Question {
    const { now, graceMilliseconds } = this.#settings;
    const at = now();
    const known = this.#asked.get(node);
    if (known !== undefined && at >= known.at && at < known.at + graceMilliseconds / 8) return known;
    const asked = { at, oldest: answerOf(`the database of ${node.name}`, oldestOutboxEntry(node.database)) };
    this.#asked.set(node, asked);
    return asked;
  }
}
