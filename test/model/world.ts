/**
 * The transactions of the stores, on the model's rows. Each function stands for statements of src/stores or for a method
 * of src/registry, which its comment names. What merges, what is visible and which stamp is next is asked of
 * `versions.ts` itself; test/stores/merge.test.ts shows that the SQL agrees with it.
 */
import {
  compareTags,
  isAlive,
  isVisible,
  mergeTags,
  nextStamp,
  NO_MANIFEST,
  type TagVersion,
  underRemoval,
} from '../../src/stores/versions.ts';
import type { Clocks } from './clocks.ts';
import type { MediaType } from '../../src/oci/media-type.ts';
import type { Mutation } from './mutations.ts';
import { claimed, type Life, mergeLives } from './types.ts';
import {
  CENTRAL,
  DIGESTS,
  type FeedEntry,
  HOST_NAMES,
  type HostIndex,
  type LifeSlots,
  type Markers,
  type Message,
  NO_LIVES,
  NO_MARKERS,
  NO_TAGS,
  type NodeIndex,
  type Pair,
  put,
  SLOTS,
  type Slot,
  slotOf,
  type Store,
  type TagSlots,
  type World,
} from './state.ts';

export interface Setting {
  readonly clocks: Clocks;
  /** The mistake to make; undefined for none. */
  readonly mutation: Mutation | undefined;
}

/** The wall clock of a host, as a stamp. */
export function wallClock({ clocks }: Setting, world: World, host: HostIndex): number {
  return clocks.stampAt(world.operations, host);
}

function removedLife(life: Life, removed: number): Life {
  return { ...life, ...underRemoval({ created: life.created, deleted: life.deleted }, removed) };
}

/** A manifest as a store's rows and its removal say together. */
export function lifeAt(store: Store, digest: Slot): Life {
  return removedLife(store.manifests[digest], store.removed);
}

/**
 * `mergeRemoval` of stores/deletion/removals.ts, and the sweep of maintenance/sweep.ts all at once: rows that it has yet to reach are judged
 * alike. A manifest's row goes; a tag's stays, hidden.
 */
export function mergeRemoval(setting: Setting, store: Store, version: number): Store {
  if (version <= store.removed) return store;
  const clock = Math.max(store.clock, version);
  if (setting.mutation === 'removal-once') {
    const left = (life: Life): Life => (life.created > 0 ? removedLife(life, version) : life);
    return { ...store, clock, manifests: [left(store.manifests[0]), left(store.manifests[1])] };
  }
  return sweep({ ...store, clock, removed: version });
}

function sweep(store: Store): Store {
  if (store.removed === 0) return store;
  const left = (life: Life): Life => (Math.max(life.created, life.deleted) <= store.removed ? NO_MANIFEST : life);
  return { ...store, manifests: [left(store.manifests[0]), left(store.manifests[1])] };
}

/** `mergeRows` of stores/merge.ts. `whole`: manifests come with their content; a life alone makes none. */
export function mergeRows(store: Store, tags: TagSlots, lives: LifeSlots, whole: boolean): Store {
  let { clock } = store;
  const mergeTag = (slot: Slot): TagVersion | undefined => {
    clock = Math.max(clock, tags[slot]?.version ?? 0);
    return mergeTags(store.tags[slot], tags[slot]);
  };
  const mergeLife = (slot: Slot): Life => {
    const [own, come] = [store.manifests[slot], lives[slot]];
    if (come === undefined) return own;
    clock = Math.max(clock, come.created, come.deleted);
    return mergeLives(own, whole || own.created > 0 ? come : { created: 0, deleted: come.deleted });
  };
  const mergedTags = [mergeTag(0), mergeTag(1)] as const;
  const manifests = [mergeLife(0), mergeLife(1)] as const;
  return sweep({ ...store, clock, tags: mergedTags, manifests });
}

/** `raiseClockTo` of stores/clock.ts: only if the store's next stamp might not be greater. */
export function raiseClockTo(setting: Setting, store: Store, seen: number, now: number): Store {
  const covered = setting.mutation === 'equal-stamp' ? seen <= now : seen < now;
  return covered || seen <= store.clock ? store : { ...store, clock: seen };
}

/** `commitManifest` of stores/manifests/manifest-commit.ts. Gives the stamp. */
export function commitManifest(
  setting: Setting,
  store: Store,
  host: HostIndex,
  now: number,
  digest: Slot,
  tag: Slot | undefined,
  mediaType: MediaType | undefined,
): [Store, number] {
  const stamp = nextStamp(now, store.clock);
  const tagStamp = setting.mutation === 'stamp-per-row' && tag !== undefined ? stamp + 1 : stamp;
  const known = store.manifests[digest];
  const claims = mediaType === undefined ? {} : claimed(setting.mutation, known, stamp, mediaType);
  const manifests = put(store.manifests, digest, { ...known, ...claims, created: stamp });
  const row = { digest: DIGESTS[digest], version: tagStamp, origin: HOST_NAMES[host] };
  const tags = tag === undefined ? store.tags : put(store.tags, tag, row);
  const markers: Markers =
    host === CENTRAL
      ? NO_MARKERS
      : {
          tags: tag === undefined ? store.markers.tags : put(store.markers.tags, tag, tagStamp),
          manifests: put(store.markers.manifests, digest, stamp),
        };
  return [{ ...store, clock: tagStamp, tags, manifests, markers }, tagStamp];
}

/** `deleteTag` of stores/deletion/deletions.ts, at central. `seen` is undefined for a client of central's. Undefined: nothing to delete. */
export function deleteTag(world: World, tag: Slot, now: number, seen: number | undefined): [World, number] | undefined {
  const central = world.stores[CENTRAL];
  const row = central.tags[tag];
  const visible = row?.digest != null && isVisible(row, lifeAt(central, slotOf(row.digest)));
  if (seen === undefined && !visible) return undefined;
  const version = nextStamp(now, central.clock, seen);
  const tags = put(central.tags, tag, { digest: null, version, origin: HOST_NAMES[CENTRAL] });
  return [withDeletion(world, { ...central, clock: version, tags }, { kind: 'tag', key: tag, version }), version];
}

/** `deleteManifests` of stores/deletion/deletions.ts, at central, of one manifest. */
export function deleteManifest(world: World, digest: Slot, now: number, seen: number | undefined): [World, number] | undefined {
  const central = world.stores[CENTRAL];
  if (seen === undefined && !isAlive(lifeAt(central, digest))) return undefined;
  const version = nextStamp(now, central.clock, seen);
  const manifests = put(central.manifests, digest, { ...central.manifests[digest], deleted: version });
  return [withDeletion(world, { ...central, clock: version, manifests }, { kind: 'manifest', key: digest, version }), version];
}

/**
 * `remove` of stores/deletion/removals.ts, at central: of the repository, or of its organization. It may be asked for where central
 * knows of nothing to remove.
 */
export function remove(setting: Setting, world: World, now: number, seen: number): [World, number] {
  const central = world.stores[CENTRAL];
  const version = nextStamp(now, central.clock, seen);
  if (setting.mutation !== 'removal-of-known') {
    const entry: FeedEntry = { kind: 'removal', key: 0, version };
    return [withDeletion(world, mergeRemoval(setting, central, version), entry), version];
  }
  const known = SLOTS.filter((digest) => isAlive(central.manifests[digest]));
  let next = withDeletion(world, { ...central, clock: version });
  for (const key of known) {
    const at = next.stores[CENTRAL];
    const manifests = put(at.manifests, key, { ...at.manifests[key], deleted: version });
    next = withDeletion(next, { ...at, manifests }, { kind: 'manifest', key, version });
  }
  return [next, version];
}

function withDeletion(world: World, central: Store, ...entries: FeedEntry[]): World {
  return { ...world, stores: [central, world.stores[1], world.stores[2]], feed: [...world.feed, ...entries] };
}

/** `greatestTagVersion` of stores/manifests/tag-history.ts. */
export function greatestTagVersion(store: Store, digest: Slot): number {
  return Math.max(0, ...store.tags.map((tag) => (tag?.digest === DIGESTS[digest] ? tag.version : 0)));
}

/** `readMarked` of replication/announcement-rows.ts and the sending of it: rows as they are now, manifests' markers as they are now. */
export function readMarked(node: NodeIndex, store: Store, page: Markers): Message {
  const asked = (digest: Slot): boolean =>
    page.manifests[digest] > 0 || SLOTS.some((tag) => page.tags[tag] > 0 && store.tags[tag]?.digest === DIGESTS[digest]);
  const isSent = (digest: Slot): boolean =>
    asked(digest) && store.markers.manifests[digest] > 0 && isAlive(lifeAt(store, digest));
  const sentTag = (tag: Slot): TagVersion | undefined => (page.tags[tag] > 0 ? store.tags[tag] : undefined);
  const sent = (digest: Slot): Life | undefined => (isSent(digest) ? store.manifests[digest] : undefined);
  const done = (digest: Slot): number => (isSent(digest) ? store.markers.manifests[digest] : page.manifests[digest]);
  return {
    kind: 'request',
    node,
    tags: [sentTag(0), sentTag(1)],
    manifests: [sent(0), sent(1)],
    removed: 0,
    done: { tags: page.tags, manifests: [done(0), done(1)] },
    clock: 0,
    from: 0,
    to: 0,
  };
}

/** `announceTo` of replication/announcement-rows.ts: merges at central, answers the merged rows and central's clock. */
export function announceTo(central: Store, request: Message): [Store, Message] {
  const merged = mergeRows(central, request.tags, request.manifests, true);
  const tag = (slot: Slot): TagVersion | undefined => (request.tags[slot] === undefined ? undefined : merged.tags[slot]);
  const life = (slot: Slot): Life | undefined => (request.manifests[slot] === undefined ? undefined : merged.manifests[slot]);
  const reply: Message = {
    ...request,
    kind: 'reply',
    tags: [tag(0), tag(1)],
    manifests: [life(0), life(1)],
    clock: merged.clock,
  };
  return [merged, reply];
}

/** The last batch of `send` in replication/announce.ts: rows of the reply, central's clock, `deleteMarkers`. */
export function applyReply(setting: Setting, store: Store, { tags, manifests, done, clock }: Message): Store {
  const merged = mergeRows(store, tags, manifests, false);
  const left = (marker: number, announced: number): number =>
    marker === announced || (announced > 0 && setting.mutation === 'any-marker') ? 0 : marker;
  const markers: Markers = {
    tags: [left(store.markers.tags[0], done.tags[0]), left(store.markers.tags[1], done.tags[1])],
    manifests: [left(store.markers.manifests[0], done.manifests[0]), left(store.markers.manifests[1], done.manifests[1])],
  };
  return { ...merged, clock: Math.max(merged.clock, clock), markers };
}

/** `readFeed` of stores/change-log-rows.ts, and `latest` of replication/apply-changes.ts: of several deletions of a thing the last. */
export function readFeed(world: World, node: NodeIndex, limit: number): Message {
  const from = world.stores[node].position;
  const entries = world.feed.slice(from, from + limit);
  let [tags, manifests]: [TagSlots, LifeSlots] = [NO_TAGS, NO_LIVES];
  let removed = 0;
  for (const { kind, key, version } of entries) {
    if (kind === 'removal') removed = version;
    else if (kind === 'tag') tags = put(tags, key, { digest: null, version, origin: HOST_NAMES[CENTRAL] });
    else manifests = put(manifests, key, { created: 0, deleted: version });
  }
  return { kind: 'feed', node, tags, manifests, removed, done: NO_MARKERS, clock: 0, from, to: from + entries.length };
}

/** `applyFeed` of replication/apply-changes.ts: the position moves only from where the entries were read. */
export function applyFeed(setting: Setting, store: Store, { tags, manifests, removed, from, to }: Message): Store {
  const held = setting.mutation === 'feed-holders';
  const tag = (slot: Slot): TagVersion | undefined => (held && store.tags[slot] === undefined ? undefined : tags[slot]);
  const life = (slot: Slot): Life | undefined => (held && store.manifests[slot].created === 0 ? undefined : manifests[slot]);
  const merged = mergeRemoval(setting, mergeRows(store, [tag(0), tag(1)], [life(0), life(1)], false), removed);
  return store.position === from ? { ...merged, position: to } : merged;
}

/** What a read at a host says. */
export interface Answer {
  /** What the reference resolves to; undefined for a 404, and with central away for a 503. */
  readonly digest: Slot | undefined;
  /** The tag's row that was judged, if a tag was asked for. */
  readonly tag: TagVersion | undefined;
  readonly life: Life;
  /** The greatest version that the answer shows of another store. */
  readonly seen: number;
  /** Whose content is served. */
  readonly from: 'own' | 'central' | 'nobody';
}

/** One store alone, as `StoredRegistry` answers, and `FederatedManifests` with central away. */
export function readAlone(store: Store, kind: 'tag' | 'digest', key: Slot): Answer {
  const tag = kind === 'tag' ? store.tags[key] : undefined;
  const digest = kind === 'digest' ? key : tag?.digest == null ? undefined : slotOf(tag.digest);
  const life = digest === undefined ? NO_MANIFEST : lifeAt(store, digest);
  const resolves = kind === 'tag' ? isVisible(tag, life) : isAlive(life);
  return { digest: resolves ? digest : undefined, tag, life, seen: 0, from: resolves ? 'own' : 'nobody' };
}

/** `#find` and `#judge` of registry/federated/manifests.ts: rows of the node and of central, merged first and judged after. */
export function readAtNode(setting: Setting, node: Store, central: Store, kind: 'tag' | 'digest', key: Slot): Answer {
  if (kind === 'digest' && isAlive(lifeAt(node, key))) return readAlone(node, kind, key);
  const missed = setting.mutation === 'tombstone-miss';
  const tagOf = (store: Store): TagVersion | undefined =>
    missed && store.tags[key]?.digest === null ? undefined : store.tags[key];
  const lifeOf = (store: Store, digest: Slot): Life =>
    missed && !isAlive(lifeAt(store, digest)) ? NO_MANIFEST : lifeAt(store, digest);
  const tag = kind === 'tag' ? mergeTags(tagOf(node), tagOf(central)) : undefined;
  const digest = kind === 'digest' ? key : tag?.digest == null ? undefined : slotOf(tag.digest);
  const life = digest === undefined ? NO_MANIFEST : mergeLives(lifeOf(node, digest), lifeOf(central, digest));
  const resolves = kind === 'tag' ? isVisible(tag, life) : isAlive(life);
  const farTag = kind === 'tag' ? (central.tags[key]?.version ?? 0) : 0;
  return {
    digest: resolves ? digest : undefined,
    tag,
    life,
    seen: Math.max(farTag, life.created, life.deleted, central.removed),
    from: !resolves || digest === undefined ? 'nobody' : isAlive(lifeAt(node, digest)) ? 'own' : 'central',
  };
}

/** `#keep` of registry/federated/manifests.ts: what a read found at central, on its way into the node's store. */
export function keep(node: NodeIndex, central: Store, answer: Answer, tag: Slot | undefined): Message {
  return {
    kind: 'keep',
    node,
    tags: tag === undefined ? NO_TAGS : put(NO_TAGS, tag, answer.tag),
    manifests: answer.digest === undefined ? NO_LIVES : put(NO_LIVES, answer.digest, central.manifests[answer.digest]),
    removed: 0,
    done: NO_MARKERS,
    clock: 0,
    from: 0,
    to: 0,
  };
}

/** `listTags` of stores/list-rows.ts: whether a store's own rows show a tag (`tags.visible`). */
function isListed(store: Store, tag: Slot): boolean {
  return readAlone(store, 'tag', tag).digest !== undefined;
}

/** `#visibleTags` of registry/federated/lists.ts: which tags a node lists, and the greatest version that this shows. */
export function listAtNode(node: Store, central: Store): { listed: Pair<boolean>; seen: number } {
  let seen = central.removed;
  const removed = Math.max(node.removed, central.removed);
  const isShown = (store: Store, name: Slot): boolean => isListed(store, name) && store.tags[name]!.version > removed;
  const judge = (name: Slot): boolean => {
    const [own, far] = [
      isShown(node, name) ? node.tags[name] : undefined,
      isShown(central, name) ? central.tags[name] : undefined,
    ];
    if (own === undefined && far === undefined) return false;
    seen = Math.max(seen, far?.version ?? 0);
    if (own !== undefined && far !== undefined && compareTags(own, far) === 0) return true;
    const tag = mergeTags(node.tags[name], central.tags[name]);
    seen = Math.max(seen, central.tags[name]?.version ?? 0);
    if (tag?.digest == null) return false;
    const life = lifeAt(central, slotOf(tag.digest));
    seen = Math.max(seen, life.created, life.deleted);
    return isVisible(tag, mergeLives(lifeAt(node, slotOf(tag.digest)), life));
  };
  return { listed: [judge(0), judge(1)], seen };
}
