/**
 * Fingerprints of states, of 64 bits. States that differ only by the names of tags and manifests, by the order of
 * messages, or by change log entries that nobody will read again have the same fingerprint. In one of 300,000 runs, two
 * of ten million states that differ in more have the same one by chance, and one of the two is not explored.
 */
import { versionOf } from '../../src/stores/manifests/manifest-type.ts';
import type { TagVersion } from '../../src/stores/versions.ts';
import type { Context } from './context.ts';
import type { Limits } from './limits.ts';
import {
  type Deletion,
  DIGESTS,
  HOST_NAMES,
  HOSTS,
  type LifecycleSlots,
  type OutboxEntries,
  type Message,
  type Pair,
  type Slot,
  type World,
} from './state.ts';
import { type Lifecycle, TYPES } from './types.ts';
import { wallClock } from './world.ts';

const KINDS = {
  request: 1,
  reply: 2,
  changeLog: 3,
  keep: 4,
  tag: 5,
  manifest: 6,
  ask: 7,
  decide: 8,
  take: 9,
  page: 10,
  removal: 11,
  replaced: 12,
};

/**
 * Ranks of versions. The next steps depend only on the order of versions and on gaps that later versions can fill. All
 * longer gaps are equivalent.
 */
class Ranks {
  readonly #latest: number[] = [];
  readonly #ranks: number[] = [];

  clear(): void {
    this.#latest.length = 0;
  }

  note(version: number): void {
    let at = this.#latest.length;
    while (at > 0 && this.#latest[at - 1]! > version) at--;
    if (at > 0 && this.#latest[at - 1] === version) return;
    for (let i = this.#latest.length; i > at; i--) this.#latest[i] = this.#latest[i - 1]!;
    this.#latest[at] = version;
  }

  rank(longestGap: number): void {
    let [before, rank] = [0, 0];
    for (const [i, version] of this.#latest.entries()) {
      rank += Math.min(longestGap, version - before);
      before = version;
      this.#ranks[i] = rank;
    }
  }

  of(version: number): number {
    return this.#ranks[this.#latest.indexOf(version)]!;
  }
}

class Fingerprinter {
  readonly #ranks = new Ranks();
  #noting = false;
  #a = 0;
  #b = 0;
  /** 1 if the two slots are swapped, otherwise 0. */
  #tagSwap: 0 | 1 = 0;
  #manifestSwap: 0 | 1 = 0;
  #firstPosition = 0;
  /** Whether there is a second tag, manifest or type. If not, its slot is empty in every state. */
  readonly #twoTags: boolean;
  readonly #twoManifests: boolean;
  readonly #twoTypes: boolean;

  constructor({ tags, manifests, types }: Limits) {
    this.#twoTags = tags === 2;
    this.#twoTypes = types === 2;
    this.#twoManifests = manifests === 2;
  }

  /** Collects and ranks the versions of a world, for the following calls of `of`. */
  note(world: World, wallClocks: readonly number[], longestGap: number): void {
    this.#ranks.clear();
    this.#ranks.note(0);
    for (const now of wallClocks) this.#ranks.note(now);
    this.#noting = true;
    this.#world(world, wallClocks);
    this.#noting = false;
    this.#ranks.rank(longestGap);
  }

  of(world: World, wallClocks: readonly number[], tagSwap: 0 | 1, manifestSwap: 0 | 1): [number, number] {
    this.#tagSwap = tagSwap;
    this.#manifestSwap = manifestSwap;
    this.#a = 0x9e37_79b9;
    this.#b = 0x85eb_ca6b;
    this.#world(world, wallClocks);
    return [this.#a >>> 0, this.#b >>> 0];
  }

  #add(value: number): void {
    const a = Math.imul(this.#a ^ value, 0xcc9e_2d51);
    this.#a = (a ^ (a >>> 15)) + 0x1656_67b1;
    const b = Math.imul(this.#b + value, 0x1b87_3593) ^ (this.#b >>> 13);
    this.#b = Math.imul(b ^ (b >>> 16), 0x2c1b_3c6d);
  }

  #version(version: number): void {
    if (this.#noting) this.#ranks.note(version);
    else this.#add(this.#ranks.of(version));
  }

  #world(
    { operations, removals, reads, disturbances, stores, changeLog, astray, deletions, observed }: World,
    wallClocks: readonly number[],
  ): void {
    for (const now of wallClocks) this.#version(now);
    const earliest = Math.min(...wallClocks);
    this.#add(operations);
    this.#add(removals);
    this.#add(reads);
    this.#add(disturbances);
    const first = Math.min(stores[1].position, stores[2].position);
    this.#firstPosition = first;
    for (const host of HOSTS) {
      const { clock, tags, manifests, removed, outboxEntries, position } = stores[host];
      // A clock that is behind every wall clock makes no difference.
      this.#version(clock < (host === 0 ? earliest : wallClocks[host]!) ? 0 : clock);
      this.#tags(tags);
      this.#lifecycles(manifests);
      this.#version(removed);
      if (host !== 0) {
        this.#outboxEntries(outboxEntries);
        this.#add(position - first);
      }
      this.#ofManifests(observed.pushed[host]);
      this.#ofTags(observed.told[host].tags);
      this.#ofManifests(observed.told[host].manifests);
      this.#version(observed.shown[host]);
    }
    this.#tags(observed.tags);
    this.#lifecycles(observed.manifests);
    this.#add(changeLog.length - first);
    for (let position = first; position < changeLog.length; position++) {
      const entry = changeLog[position];
      if (entry === undefined) {
        this.#add(KINDS.replaced);
        continue;
      }
      const { kind, key, version } = entry;
      this.#add(KINDS[kind]);
      this.#add(this.#keyOf(kind, key));
      this.#version(version);
    }
    this.#unordered(astray, (message) => this.#message(message));
    this.#unordered(deletions, (deletion) => this.#deletion(deletion));
  }

  #unordered<Item>(items: readonly Item[], add: (item: Item) => void): void {
    const [a, b] = [this.#a, this.#b];
    let [sumA, sumB] = [items.length, items.length];
    for (const item of items) {
      this.#a = 0x27d4_eb2f;
      this.#b = 0x1656_67b1;
      add(item);
      sumA = (sumA + this.#a) | 0;
      sumB = (sumB + this.#b) | 0;
    }
    this.#a = a;
    this.#b = b;
    this.#add(sumA);
    this.#add(sumB);
  }

  #message({ kind, node, tags, manifests, removed, done, clock, from, to }: Message): void {
    this.#add(KINDS[kind]);
    this.#add(node);
    this.#tags(tags);
    this.#lifecycles(manifests);
    this.#version(removed);
    this.#outboxEntries(done);
    this.#version(clock);
    if (kind === 'changeLog') {
      this.#add(from - this.#firstPosition);
      this.#add(to - this.#firstPosition);
    }
  }

  #deletion({
    node,
    kind,
    key,
    next,
    localTag,
    localLifecycle,
    versions,
    takeTags,
    takeLifecycles,
    takeRemoval,
  }: Deletion): void {
    this.#add(node);
    this.#add(KINDS[kind]);
    this.#add(this.#keyOf(kind, key));
    this.#add(KINDS[next]);
    this.#tag(localTag);
    this.#lifecycle(localLifecycle);
    this.#version(versions);
    this.#tags(takeTags);
    this.#lifecycles(takeLifecycles);
    this.#version(takeRemoval);
  }

  #keyOf(kind: Deletion['kind'], key: Slot): number {
    if (kind === 'removal') return 0;
    return key ^ (kind === 'tag' ? this.#tagSwap : this.#manifestSwap);
  }

  #outboxEntries({ tags, manifests, carried }: OutboxEntries): void {
    this.#ofTags(tags);
    this.#ofManifests(manifests);
    this.#carried(carried[this.#manifestSwap]);
    if (this.#twoManifests) this.#carried(carried[(1 - this.#manifestSwap) as Slot]);
  }

  #carried(tag: Slot | undefined): void {
    this.#add(tag === undefined ? 0 : 1 + (tag ^ this.#tagSwap));
  }

  #ofTags(latest: Pair<number>): void {
    this.#version(latest[this.#tagSwap]);
    if (this.#twoTags) this.#version(latest[(1 - this.#tagSwap) as Slot]);
  }

  #ofManifests(latest: Pair<number>): void {
    this.#version(latest[this.#manifestSwap]);
    if (this.#twoManifests) this.#version(latest[(1 - this.#manifestSwap) as Slot]);
  }

  #tags(tags: Pair<TagVersion | undefined>): void {
    this.#tag(tags[this.#tagSwap]);
    if (this.#twoTags) this.#tag(tags[(1 - this.#tagSwap) as Slot]);
  }

  #tag(tag: TagVersion | undefined): void {
    if (tag === undefined) {
      this.#add(0);
      return;
    }
    this.#version(tag.version);
    this.#add(tag.digest === null ? 3 : 4 + ((tag.digest === DIGESTS[0] ? 0 : 1) ^ this.#manifestSwap));
    this.#add(tag.origin === HOST_NAMES[0] ? 0 : tag.origin === HOST_NAMES[1] ? 1 : 2);
  }

  #lifecycles(lifecycles: LifecycleSlots): void {
    this.#lifecycle(lifecycles[this.#manifestSwap]);
    if (this.#twoManifests) this.#lifecycle(lifecycles[(1 - this.#manifestSwap) as Slot]);
  }

  #lifecycle(lifecycle: Lifecycle | undefined): void {
    if (lifecycle === undefined) {
      this.#add(-1);
      return;
    }
    this.#version(lifecycle.created);
    this.#version(lifecycle.deleted);
    if (!this.#twoTypes) return;
    for (const claim of [lifecycle.claims?.typed ?? '', lifecycle.claims?.typedOtherwise ?? '']) {
      this.#version(versionOf(claim));
      this.#add(claim.includes(TYPES[0]) ? 1 : 0);
    }
  }
}

const fingerprinters = new WeakMap<Limits, Fingerprinter>();

function fingerprinterFor(limits: Limits): Fingerprinter {
  let fingerprinter = fingerprinters.get(limits);
  if (fingerprinter === undefined) fingerprinters.set(limits, (fingerprinter = new Fingerprinter(limits)));
  return fingerprinter;
}

/** Returns a world's fingerprint: the least over all ways to name tags and manifests. */
export function fingerprint(context: Context, world: World): [number, number] {
  const { limits } = context;
  const fingerprinter = fingerprinterFor(limits);
  const wallClocks = HOSTS.map((host) => wallClock(context, world, host));
  const versionsToCome = limits.operations - world.operations + world.deletions.length;
  fingerprinter.note(world, wallClocks, versionsToCome + 2);
  let least = fingerprinter.of(world, wallClocks, 0, 0);
  for (const tagSwap of limits.tags === 2 ? ([0, 1] as const) : ([0] as const)) {
    for (const manifestSwap of limits.manifests === 2 ? ([0, 1] as const) : ([0] as const)) {
      if (tagSwap + manifestSwap === 0) continue;
      const other = fingerprinter.of(world, wallClocks, tagSwap, manifestSwap);
      if (other[0] < least[0] || (other[0] === least[0] && other[1] < least[1])) least = other;
    }
  }
  return least;
}
