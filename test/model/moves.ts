/**
 * The moves: a client's operation, a client's read, a step of a node's queue, or the arrival of a message that was
 * overtaken.
 */
import type { MediaType } from '../../src/oci/media-type.ts';
import { noteDeletion, notePush, noteRemoval, noteShown, simplify } from './observed.ts';
import { type Context, disturbed, type Visit, withStore } from './context.ts';
import { deliver } from './delivery.ts';
import { deletionSteps, startDeletion, startRemoval } from './deletion-steps.ts';
import { queueSteps, strays } from './queue-steps.ts';
import { keep, listAtNode, readAtNode } from './reads.ts';
import {
  CENTRAL,
  DIGESTS,
  HOST_NAMES,
  HOSTS,
  type HostIndex,
  NODES,
  type NodeIndex,
  SLOTS,
  type Slot,
  type Store,
  TAG_NAMES,
  type World,
} from './state.ts';
import { claimed, TYPES } from './types.ts';
import { commitManifest, deleteManifest, deleteTag, mergeRows, raiseClockTo, remove, wallClock } from './world.ts';

/** Visits every move from a world, always in the same order. */
export function eachMove(context: Context, world: World, visit: Visit): void {
  const simplified: Visit = (label, next) => {
    const clockOf = (host: HostIndex): number => wallClock(context, next, host);
    visit(label, simplify(next, [clockOf(0), clockOf(1), clockOf(2)]));
  };
  if (world.operations < context.limits.operations) operations(context, world, simplified);
  for (const node of NODES) {
    if (world.reads < context.limits.reads) reads(context, world, node, simplified);
    queueSteps(context, world, node, simplified);
  }
  deletionSteps(context, world, simplified);
  strays(context, world, simplified);
}

function operations(context: Context, before: World, visit: Visit): void {
  const { limits } = context;
  const world = { ...before, operations: before.operations + 1 };
  const tags = SLOTS.slice(0, limits.tags);
  const digests = SLOTS.slice(0, limits.manifests);
  for (const host of HOSTS) {
    for (const digest of digests) {
      for (const type of limits.types === undefined ? [undefined] : TYPES) {
        if (limits.byDigest) push(context, world, host, digest, undefined, type, visit);
        for (const tag of tags) push(context, world, host, digest, tag, type, visit);
      }
    }
    if (host === CENTRAL) {
      for (const tag of tags) deleteAtCentral(context, world, 'tag', tag, visit);
      for (const digest of digests) deleteAtCentral(context, world, 'manifest', digest, visit);
    } else {
      for (const tag of tags) startDeletion(context, world, host, 'tag', tag, visit);
      for (const digest of digests) startDeletion(context, world, host, 'manifest', digest, visit);
    }
    if (world.removals === limits.removals) continue;
    const removing = { ...world, removals: world.removals + 1 };
    if (host === CENTRAL) removeAtCentral(context, removing, visit);
    else startRemoval(context, removing, host, visit);
  }
}

function push(
  context: Context,
  world: World,
  host: HostIndex,
  digest: Slot,
  tag: Slot | undefined,
  type: MediaType | undefined,
  visit: Visit,
): void {
  const before = world.stores[host];
  const [store, version] = commitManifest(context, before, host, wallClock(context, world, host), digest, tag, type);
  // The observer follows the rules even under a mutation.
  const claims = type === undefined ? {} : claimed(undefined, before.manifests[digest], version, type);
  const observed = notePush(world.observed, host, version, digest, tag, claims);
  const asTag = tag === undefined ? '' : ` as ${TAG_NAMES[tag]}`;
  const withType = type === undefined ? '' : `, ${type}`;
  visit(
    () => `${HOST_NAMES[host]}: push ${DIGESTS[digest]}${asTag}${withType}, version ${version}`,
    withStore({ ...world, observed }, host, store),
  );
}

function deleteAtCentral(context: Context, world: World, kind: 'tag' | 'manifest', key: Slot, visit: Visit): void {
  const now = wallClock(context, world, CENTRAL);
  const deleted = (kind === 'tag' ? deleteTag : deleteManifest)(context, world, key, now, undefined);
  if (deleted === undefined) return;
  const [next, version] = deleted;
  const name = kind === 'tag' ? TAG_NAMES[key] : DIGESTS[key];
  visit(() => `central: delete ${name}, version ${version}`, {
    ...next,
    observed: noteDeletion(next.observed, kind, key, version),
  });
}

function removeAtCentral(context: Context, world: World, visit: Visit): void {
  const [next, version] = remove(context, world, wallClock(context, world, CENTRAL), 0);
  visit(() => `central: remove the repository, version ${version}`, {
    ...next,
    observed: noteRemoval(next.observed, version),
  });
}

/** Visits reads at a node that change its clock, what its clients have seen, or the rows that it keeps. */
function reads(context: Context, before: World, node: NodeIndex, visit: Visit): void {
  const { limits, mutation } = context;
  const world = { ...before, reads: before.reads + 1 };
  const [central, store] = [world.stores[CENTRAL], world.stores[node]];
  const now = wallClock(context, world, node);
  const show = (seen: number, raises: boolean): World | undefined => {
    const raised = raises ? raiseClockTo(context, store, seen, now) : store;
    if (raised === store && (seen <= store.clock || seen < now)) return undefined;
    return withStore({ ...world, observed: noteShown(world.observed, node, seen) }, node, raised);
  };
  for (const kind of ['tag', 'digest'] as const) {
    for (const key of SLOTS.slice(0, kind === 'tag' ? limits.tags : limits.manifests)) {
      const answer = readAtNode(context, store, central, kind, key);
      const next = show(answer.seen, answer.digest !== undefined || mutation !== 'quiet-404');
      const name = kind === 'tag' ? TAG_NAMES[key] : DIGESTS[key];
      const found = answer.digest === undefined ? 'not found' : DIGESTS[answer.digest];
      const label = (): string =>
        `${HOST_NAMES[node]}: read ${name}: ${found}, and the versions seen are at most ${answer.seen}`;
      const kept =
        answer.from === 'central' ? keep(node, central, answer, kind === 'tag' ? key : undefined) : undefined;
      if (kept !== undefined && !sameRows(mergeRows(store, kept.tags, kept.manifests, true), store)) {
        visit(() => `${label()}; the node keeps it`, deliver(context, next ?? world, kept));
        disturbed(context, next ?? world, kept, () => `${label()}; the rows that the node keeps are under way`, visit);
      } else if (next !== undefined) visit(label, next);
    }
  }
  const { listed, seen } = listAtNode(store, central);
  const next = show(seen, true);
  if (next === undefined) return;
  const names = TAG_NAMES.filter((_, slot) => listed[slot as Slot]);
  const found = names.join(', ') || 'nothing';
  visit(() => `${HOST_NAMES[node]}: list: ${found}, and the versions seen are at most ${seen}`, next);
}

function sameRows(a: Store, b: Store): boolean {
  return SLOTS.every(
    (slot) =>
      a.tags[slot] === b.tags[slot] &&
      a.manifests[slot].created === b.manifests[slot].created &&
      a.manifests[slot].deleted === b.manifests[slot].deleted &&
      a.manifests[slot].claims?.typed === b.manifests[slot].claims?.typed &&
      a.manifests[slot].claims?.typedOtherwise === b.manifests[slot].claims?.typedOtherwise,
  );
}
