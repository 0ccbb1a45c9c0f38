/**
 * The transactions of the stores, on the model's rows. Each function stands for statements of src/stores or a method of
 * src/registry, which its comment names. `versions.ts` itself decides what merges, what is visible and which version is
 * next; test/stores/merge.test.ts proves that the SQL agrees with it.
 */
import {
  isAlive,
  isVisible,
  mergeTags,
  nextVersion,
  NO_MANIFEST,
  type TagVersion,
  underRemoval,
} from '../../src/stores/versions.ts';
import type { Clocks } from './clocks.ts';
import type { MediaType } from '../../src/oci/media-type.ts';
import type { Mutation } from './mutations.ts';
import { claimed, type Lifecycle, mergeLifecycles } from './types.ts';
import {
  CENTRAL,
  DIGESTS,
  type ChangeLogEntry,
  HOST_NAMES,
  type HostIndex,
  type LifecycleSlots,
  type OutboxEntries,
  type Message,
  NO_LIFECYCLES,
  NO_OUTBOX_ENTRIES,
  NO_TAGS,
  type NodeIndex,
  put,
  putHost,
  SLOTS,
  type Slot,
  slotOf,
  type Store,
  type TagSlots,
  type World,
} from './state.ts';

export interface Setting {
  readonly clocks: Clocks;
  /** The mistake to make; undefined if none. */
  readonly mutation: Mutation | undefined;
}

/** Returns a host's wall clock, as a version. */
export function wallClock({ clocks }: Setting, world: World, host: HostIndex): number {
  return clocks.versionAt(world.operations, host);
}

function removedLifecycle(lifecycle: Lifecycle, removed: number): Lifecycle {
  return { ...lifecycle, ...underRemoval({ created: lifecycle.created, deleted: lifecycle.deleted }, removed) };
}

/** Returns the lifecycle of a manifest, by a store's row and its removal together. */
export function lifecycleAt(store: Store, digest: Slot): Lifecycle {
  return removedLifecycle(store.manifests[digest], store.removed);
}

/**
 * `mergeRemoval` of stores/deletion/removals.ts, with the whole sweep of maintenance/sweep.ts at once, because the
 * stores judge a row that the sweep has not reached as if it had. A manifest's row is removed. A tag's row stays,
 * hidden.
 */
export function mergeRemoval(setting: Setting, store: Store, version: number): Store {
  if (version <= store.removed) return store;
  const clock = Math.max(store.clock, version);
  if (setting.mutation === 'removal-once') {
    const left = (lifecycle: Lifecycle): Lifecycle =>
      lifecycle.created > 0 ? removedLifecycle(lifecycle, version) : lifecycle;
    return { ...store, clock, manifests: [left(store.manifests[0]), left(store.manifests[1])] };
  }
  return sweep({ ...store, clock, removed: version });
}

function sweep(store: Store): Store {
  if (store.removed === 0) return store;
  const left = (lifecycle: Lifecycle): Lifecycle =>
    Math.max(lifecycle.created, lifecycle.deleted) <= store.removed ? NO_MANIFEST : lifecycle;
  return { ...store, manifests: [left(store.manifests[0]), left(store.manifests[1])] };
}

/**
 * `mergeRows` of stores/merge.ts. `whole`: manifests come with their content. Otherwise a lifecycle creates no
 * manifest.
 */
export function mergeRows(store: Store, tags: TagSlots, lifecycles: LifecycleSlots, whole: boolean): Store {
  let { clock } = store;
  const mergeTag = (slot: Slot): TagVersion | undefined => {
    clock = Math.max(clock, tags[slot]?.version ?? 0);
    return mergeTags(store.tags[slot], tags[slot]);
  };
  const mergeLifecycle = (slot: Slot): Lifecycle => {
    const [local, incoming] = [store.manifests[slot], lifecycles[slot]];
    if (incoming === undefined) return local;
    clock = Math.max(clock, incoming.created, incoming.deleted);
    const taken = whole || local.created > 0 ? incoming : { created: 0, deleted: incoming.deleted };
    return mergeLifecycles(local, taken);
  };
  const mergedTags = [mergeTag(0), mergeTag(1)] as const;
  const manifests = [mergeLifecycle(0), mergeLifecycle(1)] as const;
  return sweep({ ...store, clock, tags: mergedTags, manifests });
}

/**
 * `raiseClockTo` of stores/clock.ts: raises the clock only if the store's next version might otherwise not be greater
 * than `seen`.
 */
export function raiseClockTo(setting: Setting, store: Store, seen: number, now: number): Store {
  const covered = setting.mutation === 'equal-version' ? seen <= now : seen < now;
  return covered || seen <= store.clock ? store : { ...store, clock: seen };
}

/** `commitManifest` of stores/manifests/manifest-commit.ts. Also returns the version. */
export function commitManifest(
  setting: Setting,
  store: Store,
  host: HostIndex,
  now: number,
  digest: Slot,
  tag: Slot | undefined,
  mediaType: MediaType | undefined,
): [Store, number] {
  const version = nextVersion(now, store.clock);
  const tagVersion = setting.mutation === 'version-per-row' && tag !== undefined ? version + 1 : version;
  const known = store.manifests[digest];
  const claims = mediaType === undefined ? {} : claimed(setting.mutation, known, version, mediaType);
  const manifests = put(store.manifests, digest, { ...known, ...claims, created: version });
  const row = { digest: DIGESTS[digest], version: tagVersion, origin: HOST_NAMES[host] };
  const tags = tag === undefined ? store.tags : put(store.tags, tag, row);
  const outboxEntries =
    host === CENTRAL ? NO_OUTBOX_ENTRIES : withPush(store.outboxEntries, digest, version, tag, tagVersion);
  return [{ ...store, clock: tagVersion, tags, manifests, outboxEntries }, tagVersion];
}

/** Adds the entries of a push. The manifest's entry carries the tag, unless it already carries another. */
function withPush(
  { tags, manifests, carried }: OutboxEntries,
  digest: Slot,
  version: number,
  tag: Slot | undefined,
  tagVersion: number,
): OutboxEntries {
  const carries = carried[digest] ?? tag;
  return {
    tags: tag === undefined || carries === tag ? tags : put(tags, tag, tagVersion),
    manifests: put(manifests, digest, version),
    carried: put(carried, digest, carries),
  };
}

/**
 * `deleteTag` of stores/deletion/deletions.ts, at central. Returns undefined if there is nothing to delete.
 * @param seen the greatest version seen at a node; undefined for a client of central
 */
export function deleteTag(
  setting: Setting,
  world: World,
  tag: Slot,
  now: number,
  seen: number | undefined,
): [World, number] | undefined {
  const central = world.stores[CENTRAL];
  const row = central.tags[tag];
  const visible = row?.digest != null && isVisible(row, lifecycleAt(central, slotOf(row.digest)));
  if (seen === undefined && !visible) return undefined;
  const version = nextVersion(now, central.clock, seen);
  const tags = put(central.tags, tag, { digest: null, version, origin: HOST_NAMES[CENTRAL] });
  const entry: ChangeLogEntry = { kind: 'tag', key: tag, version };
  return [withDeletion(setting, world, { ...central, clock: version, tags }, entry), version];
}

/** `deleteManifest` of stores/deletion/deletions.ts, at central. */
export function deleteManifest(
  setting: Setting,
  world: World,
  digest: Slot,
  now: number,
  seen: number | undefined,
): [World, number] | undefined {
  const central = world.stores[CENTRAL];
  if (seen === undefined && !isAlive(lifecycleAt(central, digest))) return undefined;
  const version = nextVersion(now, central.clock, seen);
  const manifests = put(central.manifests, digest, { ...central.manifests[digest], deleted: version });
  const entry: ChangeLogEntry = { kind: 'manifest', key: digest, version };
  return [withDeletion(setting, world, { ...central, clock: version, manifests }, entry), version];
}

/**
 * `writeRemoval` of stores/deletion/removals.ts, at central, of the repository or its organization. It does not matter
 * whether central knows of anything to remove.
 */
export function remove(setting: Setting, world: World, now: number, seen: number): [World, number] {
  const central = world.stores[CENTRAL];
  const version = nextVersion(now, central.clock, seen);
  if (setting.mutation !== 'removal-of-known') {
    const entry: ChangeLogEntry = { kind: 'removal', key: 0, version };
    return [withDeletion(setting, world, mergeRemoval(setting, central, version), entry), version];
  }
  const known = SLOTS.filter((digest) => isAlive(central.manifests[digest]));
  let next: World = { ...world, stores: putHost(world.stores, CENTRAL, { ...central, clock: version }) };
  for (const key of known) {
    const at = next.stores[CENTRAL];
    const manifests = put(at.manifests, key, { ...at.manifests[key], deleted: version });
    next = withDeletion(setting, next, { ...at, manifests }, { kind: 'manifest', key, version });
  }
  return [next, version];
}

/** Adds an entry. An entry for a tag or manifest replaces the earlier entry for it, but at a new position. */
function withDeletion({ mutation }: Setting, world: World, central: Store, entry: ChangeLogEntry): World {
  const isReplaced = (other: ChangeLogEntry | undefined): boolean =>
    entry.kind !== 'removal' && other?.kind === entry.kind && other.key === entry.key;
  const earlier = world.changeLog.findIndex(isReplaced);
  const changeLog =
    mutation === 'replaced-in-place' && earlier >= 0
      ? world.changeLog.with(earlier, entry)
      : [...world.changeLog.map((other) => (isReplaced(other) ? undefined : other)), entry];
  return { ...world, stores: putHost(world.stores, CENTRAL, central), changeLog };
}

/** `selectGreatestTagVersion` of stores/manifests/tag-history.ts. */
export function greatestTagVersion(store: Store, digest: Slot): number {
  return Math.max(0, ...store.tags.map((tag) => (tag?.digest === DIGESTS[digest] ? tag.version : 0)));
}

/**
 * `readToAnnounce` of replication/announcement-rows.ts, and sending its result: the rows and the manifests' outbox
 * entries as they are now.
 */
export function readToAnnounce(setting: Setting, node: NodeIndex, store: Store, page: OutboxEntries): Message {
  const asked = (digest: Slot): boolean =>
    page.manifests[digest] > 0 ||
    SLOTS.some((tag) => page.tags[tag] > 0 && store.tags[tag]?.digest === DIGESTS[digest]);
  const isSent = (digest: Slot): boolean =>
    asked(digest) && store.outboxEntries.manifests[digest] > 0 && isAlive(lifecycleAt(store, digest));
  const carries = (digest: Slot, tag: Slot): boolean =>
    (isSent(digest) || (page.manifests[digest] > 0 && setting.mutation !== 'dead-carrier')) &&
    store.outboxEntries.carried[digest] === tag &&
    store.tags[tag]?.digest === DIGESTS[digest];
  const sentTag = (tag: Slot): TagVersion | undefined =>
    page.tags[tag] > 0 || SLOTS.some((digest) => carries(digest, tag)) ? store.tags[tag] : undefined;
  const sent = (digest: Slot): Lifecycle | undefined => (isSent(digest) ? store.manifests[digest] : undefined);
  const done = (digest: Slot): number =>
    isSent(digest) ? store.outboxEntries.manifests[digest] : page.manifests[digest];
  return {
    kind: 'request',
    node,
    tags: [sentTag(0), sentTag(1)],
    manifests: [sent(0), sent(1)],
    removed: 0,
    done: { ...page, manifests: [done(0), done(1)] },
    clock: 0,
    from: 0,
    to: 0,
  };
}

/**
 * `announceTo` of replication/announcement-rows.ts: merges at central, and replies with the merged rows and the clock.
 */
export function announceTo(central: Store, request: Message): [Store, Message] {
  const merged = mergeRows(central, request.tags, request.manifests, true);
  const tag = (slot: Slot): TagVersion | undefined =>
    request.tags[slot] === undefined ? undefined : merged.tags[slot];
  const lifecycle = (slot: Slot): Lifecycle | undefined =>
    request.manifests[slot] === undefined ? undefined : merged.manifests[slot];
  const reply: Message = {
    ...request,
    kind: 'reply',
    tags: [tag(0), tag(1)],
    manifests: [lifecycle(0), lifecycle(1)],
    clock: merged.clock,
  };
  return [merged, reply];
}

/** The last batch of `send` in replication/announce.ts: the reply's rows, central's clock, `deleteOutboxEntries`. */
export function applyReply(setting: Setting, store: Store, { tags, manifests, done, clock }: Message): Store {
  const merged = mergeRows(store, tags, manifests, false);
  const left = (outboxEntry: number, announced: number): number =>
    outboxEntry === announced || (announced > 0 && setting.mutation === 'any-outbox-entry') ? 0 : outboxEntry;
  const before = store.outboxEntries;
  const leftManifests = [
    left(before.manifests[0], done.manifests[0]),
    left(before.manifests[1], done.manifests[1]),
  ] as const;
  const outboxEntries: OutboxEntries = {
    tags: [left(before.tags[0], done.tags[0]), left(before.tags[1], done.tags[1])],
    manifests: leftManifests,
    carried: [
      leftManifests[0] === 0 ? undefined : before.carried[0],
      leftManifests[1] === 0 ? undefined : before.carried[1],
    ],
  };
  return { ...merged, clock: Math.max(merged.clock, clock), outboxEntries };
}

/**
 * `SELECT_CHANGE_LOG` of stores/change-log-rows.ts: the entries after a position, without those that a later entry has
 * replaced.
 */
export function entriesAfter({ changeLog }: World, from: number): (ChangeLogEntry & { readonly position: number })[] {
  return changeLog.flatMap((entry, i) => (entry === undefined || i < from ? [] : [{ ...entry, position: i + 1 }]));
}

/**
 * `readChangeLog` of stores/change-log-rows.ts, and `latest` of replication/apply-changes.ts: the last of several
 * deletions of the same tag or manifest counts.
 */
export function readChangeLog(world: World, node: NodeIndex, limit: number): Message {
  const from = world.stores[node].position;
  const entries = entriesAfter(world, from).slice(0, limit);
  let [tags, manifests]: [TagSlots, LifecycleSlots] = [NO_TAGS, NO_LIFECYCLES];
  let removed = 0;
  for (const { kind, key, version } of entries) {
    if (kind === 'removal') removed = version;
    else if (kind === 'tag') tags = put(tags, key, { digest: null, version, origin: HOST_NAMES[CENTRAL] });
    else manifests = put(manifests, key, { created: 0, deleted: version });
  }
  return {
    kind: 'changeLog',
    node,
    tags,
    manifests,
    removed,
    done: NO_OUTBOX_ENTRIES,
    clock: 0,
    from,
    to: entries.at(-1)?.position ?? from,
  };
}

/**
 * `applyChangeLog` of replication/apply-changes.ts. The position advances only if it is still the one from which the
 * entries were read.
 */
export function applyChangeLog(setting: Setting, store: Store, { tags, manifests, removed, from, to }: Message): Store {
  const held = setting.mutation === 'change-log-holders';
  const tag = (slot: Slot): TagVersion | undefined => (held && store.tags[slot] === undefined ? undefined : tags[slot]);
  const lifecycle = (slot: Slot): Lifecycle | undefined =>
    held && store.manifests[slot].created === 0 ? undefined : manifests[slot];
  const merged = mergeRemoval(
    setting,
    mergeRows(store, [tag(0), tag(1)], [lifecycle(0), lifecycle(1)], false),
    removed,
  );
  return store.position === from ? { ...merged, position: to } : merged;
}
