/** Answers of hosts to reads of the model's rows. Each comment names the code that a function stands for. */
import { compareTags, isAlive, isVisible, mergeTags, NO_MANIFEST, type TagVersion } from '../../src/stores/versions.ts';
import {
  type Message,
  NO_LIFECYCLES,
  NO_OUTBOX_ENTRIES,
  NO_TAGS,
  type NodeIndex,
  type Pair,
  put,
  type Slot,
  slotOf,
  type Store,
} from './state.ts';
import { type Lifecycle, mergeLifecycles } from './types.ts';
import { lifecycleAt, type Setting } from './world.ts';

/** The answer to a read at a host. */
export interface Answer {
  /** The manifest that the reference resolves to; undefined for a 404, or a 503 if central is away. */
  readonly digest: Slot | undefined;
  /** The tag's row that was judged, if the read is by tag. */
  readonly tag: TagVersion | undefined;
  readonly lifecycle: Lifecycle;
  /** The greatest version of another store's rows that the answer shows. */
  readonly seen: number;
  /** The store whose content is served. */
  readonly from: 'local' | 'central' | 'nobody';
}

/** Reads one store alone, as `StoredRegistry` does, and `FederatedManifests` while central is away. */
export function readAlone(store: Store, kind: 'tag' | 'digest', key: Slot): Answer {
  const tag = kind === 'tag' ? store.tags[key] : undefined;
  const digest = kind === 'digest' ? key : tag?.digest == null ? undefined : slotOf(tag.digest);
  const lifecycle = digest === undefined ? NO_MANIFEST : lifecycleAt(store, digest);
  const resolves = kind === 'tag' ? isVisible(tag, lifecycle) : isAlive(lifecycle);
  return { digest: resolves ? digest : undefined, tag, lifecycle, seen: 0, from: resolves ? 'local' : 'nobody' };
}

/**
 * `#findWith` and `#resolveMerged` of registry/federated/manifests.ts: the rows of the node and of central are merged
 * first and then judged.
 */
export function readAtNode(setting: Setting, node: Store, central: Store, kind: 'tag' | 'digest', key: Slot): Answer {
  if (kind === 'digest' && isAlive(lifecycleAt(node, key))) return readAlone(node, kind, key);
  const missed = setting.mutation === 'tombstone-miss';
  const tagOf = (store: Store): TagVersion | undefined =>
    missed && store.tags[key]?.digest === null ? undefined : store.tags[key];
  const lifecycleOf = (store: Store, digest: Slot): Lifecycle =>
    missed && !isAlive(lifecycleAt(store, digest)) ? NO_MANIFEST : lifecycleAt(store, digest);
  const tag = kind === 'tag' ? mergeTags(tagOf(node), tagOf(central)) : undefined;
  const digest = kind === 'digest' ? key : tag?.digest == null ? undefined : slotOf(tag.digest);
  const lifecycle =
    digest === undefined ? NO_MANIFEST : mergeLifecycles(lifecycleOf(node, digest), lifecycleOf(central, digest));
  const resolves = kind === 'tag' ? isVisible(tag, lifecycle) : isAlive(lifecycle);
  const remoteTag = kind === 'tag' ? (central.tags[key]?.version ?? 0) : 0;
  return {
    digest: resolves ? digest : undefined,
    tag,
    lifecycle,
    seen: Math.max(remoteTag, lifecycle.created, lifecycle.deleted, central.removed),
    from: !resolves || digest === undefined ? 'nobody' : isAlive(lifecycleAt(node, digest)) ? 'local' : 'central',
  };
}

/** `#keep` of registry/federated/manifests.ts: puts the rows that a read found at central into the node's store. */
export function keep(node: NodeIndex, central: Store, answer: Answer, tag: Slot | undefined): Message {
  return {
    kind: 'keep',
    node,
    tags: tag === undefined ? NO_TAGS : put(NO_TAGS, tag, answer.tag),
    manifests:
      answer.digest === undefined ? NO_LIFECYCLES : put(NO_LIFECYCLES, answer.digest, central.manifests[answer.digest]),
    removed: 0,
    done: NO_OUTBOX_ENTRIES,
    clock: 0,
    from: 0,
    to: 0,
  };
}

/** `listTags` of stores/list-rows.ts: whether a store's rows show a tag (`tags.visible`). */
function isListed(store: Store, tag: Slot): boolean {
  return readAlone(store, 'tag', tag).digest !== undefined;
}

/**
 * `#visibleTags` of registry/federated/lists.ts: the tags that a node lists, and the greatest version that it shows.
 */
export function listAtNode(node: Store, central: Store): { listed: Pair<boolean>; seen: number } {
  let seen = central.removed;
  const removed = Math.max(node.removed, central.removed);
  const isShown = (store: Store, name: Slot): boolean => isListed(store, name) && store.tags[name]!.version > removed;
  const judge = (name: Slot): boolean => {
    const [local, remote] = [
      isShown(node, name) ? node.tags[name] : undefined,
      isShown(central, name) ? central.tags[name] : undefined,
    ];
    if (local === undefined && remote === undefined) return false;
    seen = Math.max(seen, remote?.version ?? 0);
    if (local !== undefined && remote !== undefined && compareTags(local, remote) === 0) return true;
    const tag = mergeTags(node.tags[name], central.tags[name]);
    seen = Math.max(seen, central.tags[name]?.version ?? 0);
    if (tag?.digest == null) return false;
    const lifecycle = lifecycleAt(central, slotOf(tag.digest));
    seen = Math.max(seen, lifecycle.created, lifecycle.deleted);
    return isVisible(tag, mergeLifecycles(lifecycleAt(node, slotOf(tag.digest)), lifecycle));
  };
  return { listed: [judge(0), judge(1)], seen };
}
