/**
 * The state of the model: central, two nodes, and the messages between them. States are values: a move makes a new one,
 * which shares all unchanged parts with the old one. Tags and manifests are slots of fixed arrays, so that two states
 * that differ only by names count as one.
 */
import type { Digest } from '../../src/oci/digest.ts';
import type { TagVersion } from '../../src/stores/versions.ts';
import type { Lifecycle } from './types.ts';

export const CENTRAL = 0;
export const HOSTS = [0, 1, 2] as const;
export const NODES = [1, 2] as const;
export const SLOTS = [0, 1] as const;
export type HostIndex = (typeof HOSTS)[number];
export type NodeIndex = (typeof NODES)[number];
export type Slot = (typeof SLOTS)[number];

export const HOST_NAMES = ['central', 'node1', 'node2'] as const;
export const TAG_NAMES = ['t', 'u'] as const;
export const DIGESTS = ['M' as Digest, 'N' as Digest] as const;

export function slotOf(digest: Digest): Slot {
  return digest === DIGESTS[0] ? 0 : 1;
}

/** One value for each of two tags or manifests. */
export type Pair<Value> = readonly [Value, Value];

export type TagSlots = Pair<TagVersion | undefined>;
export type LifecycleSlots = Pair<Lifecycle | undefined>;
export const NO_TAGS: TagSlots = [undefined, undefined];
export const NO_LIFECYCLES: LifecycleSlots = [undefined, undefined];

export function put<Value>(pair: Pair<Value>, slot: Slot, value: Value): Pair<Value> {
  return slot === 0 ? [value, pair[1]] : [pair[0], value];
}

/** The versions of outbox entries; 0 if there is none. */
export interface OutboxEntries {
  readonly tags: Pair<number>;
  readonly manifests: Pair<number>;
  /** The tag that a manifest's entry stands for as well; undefined for none. */
  readonly carried: Pair<Slot | undefined>;
}

export const NO_OUTBOX_ENTRIES: OutboxEntries = { tags: [0, 0], manifests: [0, 0], carried: [undefined, undefined] };

export interface Store {
  readonly clock: number;
  readonly tags: TagSlots;
  readonly manifests: Pair<Lifecycle>;
  /** The greatest version of a removal of the repository or of its organization; 0 if there is none. */
  readonly removed: number;
  readonly outboxEntries: OutboxEntries;
  /** At a node: the position of the last change log entry that it has applied. */
  readonly position: number;
}

export interface ChangeLogEntry {
  /** A removal covers everything, so its key means nothing. */
  readonly kind: 'tag' | 'manifest' | 'removal';
  readonly key: Slot;
  readonly version: number;
}

/**
 * Something under way while other things happen: outbox entries that a queue has read (`page`), a request, its reply,
 * entries of the change log, or rows that a node's read found at central and keeps in the node's store.
 */
export interface Message {
  readonly kind: 'page' | 'request' | 'reply' | 'changeLog' | 'keep';
  readonly node: NodeIndex;
  readonly tags: TagSlots;
  readonly manifests: LifecycleSlots;
  /** The version of a removal in these change log entries; 0 if there is none. */
  readonly removed: number;
  /** Outbox entries that were read. They are deleted when the reply is applied. */
  readonly done: OutboxEntries;
  /** Central's clock, in a reply; otherwise 0. */
  readonly clock: number;
  /** Positions of the change log. */
  readonly from: number;
  readonly to: number;
}

/** A deletion or a removal at a node that was overtaken between its steps. It may go on at any time, or never. */
export interface Deletion {
  readonly node: NodeIndex;
  readonly kind: 'tag' | 'manifest' | 'removal';
  readonly key: Slot;
  /** The next step: reading central, central's transaction, or merging the outcome at the node. */
  readonly next: 'ask' | 'decide' | 'take';
  readonly localTag: TagVersion | undefined;
  readonly localLifecycle: Lifecycle;
  /** The greatest version that the deletion must exceed. */
  readonly versions: number;
  readonly takeTags: TagSlots;
  readonly takeLifecycles: LifecycleSlots;
  readonly takeRemoval: number;
}

/** The knowledge of an observer who sees every host at once. Invariants compare hosts with it; no rule reads it. */
export interface Observed {
  /** Every write of a tag, merged. */
  readonly tags: TagSlots;
  /** Every write and deletion of a manifest, merged. */
  readonly manifests: Pair<Lifecycle>;
  /** By host: the greatest version of each manifest's pushes that it acknowledged. */
  readonly pushed: readonly [Pair<number>, Pair<number>, Pair<number>];
  /** By host: the greatest version that its clients were shown; 0 if its clock covers it. */
  readonly shown: readonly [number, number, number];
  /** By host: the greatest versions of deletions that it was told of; 0 if its rows say so. */
  readonly told: readonly [Told, Told, Told];
}

export interface Told {
  readonly tags: Pair<number>;
  readonly manifests: Pair<number>;
}

export interface World {
  /** Operations so far. `removals` counts those of them that are removals. */
  readonly operations: number;
  readonly removals: number;
  /** Reads so far that changed something. */
  readonly reads: number;
  /** The number of times that something was overtaken, repeated, lost or delayed so far. */
  readonly disturbances: number;
  readonly stores: readonly [Store, Store, Store];
  /** By position, from 1 on; undefined where a later entry has replaced one. */
  readonly changeLog: readonly (ChangeLogEntry | undefined)[];
  /** Messages that may arrive at any time, or never. */
  readonly astray: readonly Message[];
  readonly deletions: readonly Deletion[];
  readonly observed: Observed;
}

const EMPTY_STORE: Store = {
  clock: 0,
  tags: NO_TAGS,
  manifests: [
    { created: 0, deleted: 0 },
    { created: 0, deleted: 0 },
  ],
  removed: 0,
  outboxEntries: NO_OUTBOX_ENTRIES,
  position: 0,
};

const NOTHING_TOLD: Told = { tags: [0, 0], manifests: [0, 0] };

export const START: World = {
  operations: 0,
  removals: 0,
  reads: 0,
  disturbances: 0,
  stores: [EMPTY_STORE, EMPTY_STORE, EMPTY_STORE],
  changeLog: [],
  astray: [],
  deletions: [],
  observed: {
    tags: NO_TAGS,
    manifests: EMPTY_STORE.manifests,
    pushed: [
      [0, 0],
      [0, 0],
      [0, 0],
    ],
    shown: [0, 0, 0],
    told: [NOTHING_TOLD, NOTHING_TOLD, NOTHING_TOLD],
  },
};

/** Returns the values of all hosts with that of one host replaced. */
export function putHost<Value>(
  values: readonly [Value, Value, Value],
  host: HostIndex,
  value: Value,
): readonly [Value, Value, Value] {
  if (host === 0) return [value, values[1], values[2]];
  return host === 1 ? [values[0], value, values[2]] : [values[0], values[1], value];
}
