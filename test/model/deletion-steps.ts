/** The steps of a deletion at a node, as `FederatedDeletions` of registry/federated/deletions.ts takes them. */
import { isAlive, isVisible, mergeTags, nextVersion, NO_MANIFEST } from '../../src/stores/versions.ts';
import { type Context, disturb, type Visit, withStore } from './context.ts';
import { noteDeletion, noteRemoval, noteShown, noteTold } from './observed.ts';
import {
  CENTRAL,
  type Deletion,
  DIGESTS,
  HOST_NAMES,
  NO_LIFECYCLES,
  NO_TAGS,
  type NodeIndex,
  put,
  type Slot,
  SLOTS,
  slotOf,
  TAG_NAMES,
  type World,
} from './state.ts';
import { mergeLifecycles } from './types.ts';
import {
  deleteManifest,
  deleteTag,
  greatestTagVersion,
  lifecycleAt,
  mergeRemoval,
  mergeRows,
  raiseClockTo,
  remove,
  wallClock,
} from './world.ts';

/** Starts a deletion: the node reads its own store. */
export function startDeletion(
  context: Context,
  world: World,
  node: NodeIndex,
  kind: 'tag' | 'manifest',
  key: Slot,
  visit: Visit,
): void {
  const { mutation } = context;
  const [local, central] = [world.stores[node], world.stores[CENTRAL]];
  const knows = kind === 'tag' ? (local.tags[key] ?? central.tags[key]) !== undefined : isKnown(world, node, key);
  if (!knows) return;
  const localTag = kind === 'tag' ? local.tags[key] : undefined;
  const digest = kind === 'manifest' ? key : localTag?.digest == null ? undefined : slotOf(localTag.digest);
  const deletion: Deletion = {
    node,
    kind,
    key,
    next: 'ask',
    localTag,
    localLifecycle: digest === undefined ? NO_MANIFEST : lifecycleAt(local, digest),
    versions: kind === 'manifest' ? greatestTagVersion(local, key) : (localTag?.version ?? 0),
    takeTags: NO_TAGS,
    takeLifecycles: NO_LIFECYCLES,
    takeRemoval: 0,
  };
  const started = mutation === 'node-first' ? deleteHereFirst(context, world, deletion) : world;
  goOn(context, { world: started, deletion, said: `${nameOf(deletion)} begins` }, visit);
}

/** Starts a removal. Its version will exceed the node's clock, and so everything that the node's clients were shown. */
export function startRemoval(context: Context, world: World, node: NodeIndex, visit: Visit): void {
  const deletion: Deletion = {
    node,
    kind: 'removal',
    key: 0,
    next: 'decide',
    localTag: undefined,
    localLifecycle: NO_MANIFEST,
    versions: world.stores[node].clock,
    takeTags: NO_TAGS,
    takeLifecycles: NO_LIFECYCLES,
    takeRemoval: 0,
  };
  goOn(context, { world, deletion, said: `${nameOf(deletion)} begins` }, visit);
}

/** The outcome of a step. The deletion is undefined once it is over. */
interface Progress {
  readonly world: World;
  readonly deletion: Deletion | undefined;
  readonly said: string;
}

/** Takes all remaining steps at once, and also visits the worlds in which the deletion is overtaken before a step. */
function goOn(context: Context, progress: Progress, visit: Visit): void {
  for (let at = progress; ;) {
    const { world, deletion, said } = at;
    if (deletion === undefined) {
      visit(() => said, world);
      return;
    }
    const disturbed = disturb(context, world);
    if (disturbed !== undefined) {
      visit(() => `${said}, and is overtaken`, { ...disturbed, deletions: [...world.deletions, deletion] });
    }
    const next = step(context, world, deletion);
    at = { ...next, said: `${said}; ${next.said}` };
  }
}

function step(context: Context, world: World, deletion: Deletion): Progress {
  if (deletion.next === 'ask') return ask(context, world, deletion);
  return deletion.next === 'decide' ? decide(context, world, deletion) : take(context, world, deletion);
}

/** Lets deletions that were overtaken go on. */
export function deletionSteps(context: Context, world: World, visit: Visit): void {
  for (const deletion of world.deletions) {
    const without = { ...world, deletions: world.deletions.filter((other) => other !== deletion) };
    const next = step(context, without, deletion);
    goOn(context, { ...next, said: `${nameOf(deletion)} goes on: ${next.said}` }, visit);
  }
}

function isKnown({ stores }: World, node: NodeIndex, digest: Slot): boolean {
  return [stores[node], stores[CENTRAL]].some(({ manifests }) => manifests[digest].created > 0);
}

/** Reads central, to see whether there is anything to delete. */
function ask(context: Context, world: World, deletion: Deletion): Progress {
  const { node, kind, key, localTag, localLifecycle } = deletion;
  const central = world.stores[CENTRAL];
  const remoteTag = kind === 'tag' ? central.tags[key] : undefined;
  const winner = mergeTags(localTag, remoteTag);
  const digest = kind === 'manifest' ? key : winner?.digest == null ? undefined : slotOf(winner.digest);
  const remoteLifecycle = digest === undefined ? NO_MANIFEST : lifecycleAt(central, digest);
  const nodeKnows = kind === 'manifest' || winner?.digest === localTag?.digest;
  const merged = mergeLifecycles(nodeKnows ? localLifecycle : NO_MANIFEST, remoteLifecycle);
  const isThere = kind === 'tag' ? isVisible(winner, merged) : isAlive(merged);
  if (isThere) {
    const versions =
      kind === 'tag'
        ? Math.max(deletion.versions, winner?.version ?? 0)
        : Math.max(deletion.versions, localLifecycle.created, localLifecycle.deleted);
    return { world, deletion: { ...deletion, next: 'decide', versions }, said: 'it is there' };
  }
  const isHere = kind === 'tag' ? isVisible(localTag, localLifecycle) : isAlive(localLifecycle);
  if (!isHere) {
    const seen = Math.max(remoteTag?.version ?? 0, remoteLifecycle.created, remoteLifecycle.deleted, central.removed);
    const raised =
      context.mutation === 'quiet-404'
        ? world.stores[node]
        : raiseClockTo(context, world.stores[node], seen, wallClock(context, world, node));
    const shown = withStore({ ...world, observed: noteShown(world.observed, node, seen) }, node, raised);
    return { world: shown, deletion: undefined, said: `it is not found, and the versions seen are at most ${seen}` };
  }
  // Central had already done its half.
  const local = kind === 'manifest' ? key : localTag?.digest == null ? undefined : slotOf(localTag.digest);
  const deleted = local === undefined ? 0 : lifecycleAt(central, local).deleted;
  const taken: Deletion = {
    ...deletion,
    next: 'take',
    versions: kind === 'tag' ? Math.max(deletion.versions, winner?.version ?? 0) : deleted,
    takeTags: kind === 'tag' ? put(NO_TAGS, key, remoteTag) : NO_TAGS,
    takeLifecycles: local === undefined ? NO_LIFECYCLES : put(NO_LIFECYCLES, local, { created: 0, deleted }),
  };
  return { world, deletion: taken, said: 'central had already done it' };
}

/** Runs central's transaction. */
function decide(context: Context, world: World, deletion: Deletion): Progress {
  const { kind, key, versions } = deletion;
  if (kind === 'removal') {
    const [next, version] = remove(context, world, wallClock(context, world, CENTRAL), versions);
    return {
      world: { ...next, observed: noteRemoval(next.observed, version) },
      deletion: { ...deletion, next: 'take', versions: version, takeRemoval: version },
      said: `central has removed it, version ${version}`,
    };
  }
  const deleted = (kind === 'tag' ? deleteTag : deleteManifest)(
    context,
    world,
    key,
    wallClock(context, world, CENTRAL),
    versions,
  );
  if (deleted === undefined) throw new Error('central must delete anything that a node has seen');
  const [next, version] = deleted;
  const row = { digest: null, version, origin: HOST_NAMES[CENTRAL] };
  return {
    world: { ...next, observed: noteDeletion(next.observed, kind, key, version) },
    deletion: {
      ...deletion,
      next: 'take',
      versions: version,
      takeTags: kind === 'tag' ? put(NO_TAGS, key, row) : NO_TAGS,
      takeLifecycles: kind === 'tag' ? NO_LIFECYCLES : put(NO_LIFECYCLES, key, { created: 0, deleted: version }),
    },
    said: `central has deleted it, version ${version}`,
  };
}

/** Merges the outcome into the node's store, and answers the client. */
function take(context: Context, world: World, deletion: Deletion): Progress {
  const { node, kind, key, versions, takeTags, takeLifecycles, takeRemoval } = deletion;
  const store = mergeRemoval(context, mergeRows(world.stores[node], takeTags, takeLifecycles, false), takeRemoval);
  const observed =
    kind === 'removal'
      ? SLOTS.reduce((noted, slot) => noteTold(noted, node, 'manifest', slot, versions), world.observed)
      : noteTold(world.observed, node, kind, key, versions);
  return { world: withStore({ ...world, observed }, node, store), deletion: undefined, said: 'it is acknowledged' };
}

/** Makes the mistake `node-first`: the node writes its own tombstone before it asks central. */
function deleteHereFirst(context: Context, world: World, { node, kind, key }: Deletion): World {
  const store = world.stores[node];
  const version = nextVersion(wallClock(context, world, node), store.clock);
  const row = { digest: null, version, origin: HOST_NAMES[node] };
  const deleted =
    kind === 'tag'
      ? { tags: put(store.tags, key, row) }
      : { manifests: put(store.manifests, key, { ...store.manifests[key], deleted: version }) };
  return withStore(world, node, { ...store, ...deleted, clock: version });
}

function nameOf({ node, kind, key }: Deletion): string {
  if (kind === 'removal') return `${HOST_NAMES[node]}: the removal of the repository`;
  return `${HOST_NAMES[node]}: the deletion of ${kind === 'tag' ? TAG_NAMES[key] : DIGESTS[key]}`;
}
