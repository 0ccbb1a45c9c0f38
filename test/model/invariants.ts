/** The invariants of every state. Each function returns a sentence if its invariant is broken. */
import { isAlive, isVisible } from '../../src/stores/versions.ts';
import { isQuiet } from './observed.ts';
import {
  CENTRAL,
  DIGESTS,
  HOST_NAMES,
  HOSTS,
  type HostIndex,
  SLOTS,
  type Slot,
  slotOf,
  TAG_NAMES,
  type World,
} from './state.ts';
import { servedType } from './types.ts';
import { type Answer, listAtNode, readAlone, readAtNode } from './reads.ts';
import { lifecycleAt, type Setting } from './world.ts';

type Kind = 'tag' | 'digest';

/** Reads a reference at a host. A node asks central too. */
function readAt(setting: Setting, { stores }: World, host: HostIndex, kind: Kind, key: Slot): Answer {
  const central = stores[CENTRAL];
  return host === CENTRAL ? readAlone(central, kind, key) : readAtNode(setting, stores[host], central, kind, key);
}

/** Returns the first invariant that a world breaks, as a sentence. */
export function violation(setting: Setting, world: World): string | undefined {
  const quiet = isQuiet(world);
  for (const host of HOSTS) {
    for (const key of SLOTS) {
      for (const kind of ['tag', 'digest'] as const) {
        const with_ = readAt(setting, world, host, kind, key);
        const without = readAlone(world.stores[host], kind, key);
        const broken =
          lostPush(world, host, kind, key, with_, without) ??
          resurrection(world, host, kind, key, with_, without) ??
          (quiet
            ? (divergence(world, host, kind, key, with_) ?? wrongType(setting, world, host, kind, key, with_))
            : undefined);
        if (broken !== undefined) return broken;
      }
    }
    const broken = host === CENTRAL ? undefined : wrongList(setting, world, host);
    if (broken !== undefined) return broken;
  }
  return undefined;
}

/**
 * Read-your-writes: a push that nothing supersedes can be read at the host that acknowledged it, with or without
 * central.
 */
function lostPush(
  { observed }: World,
  host: HostIndex,
  kind: Kind,
  key: Slot,
  withCentral: Answer,
  without: Answer,
): string | undefined {
  const row = kind === 'tag' ? observed.tags[key] : undefined;
  let expected: Slot | undefined;
  if (kind === 'digest') {
    if (observed.pushed[host][key] > observed.manifests[key].deleted) expected = key;
  } else if (row?.digest != null && row.origin === HOST_NAMES[host]) {
    const digest = slotOf(row.digest);
    if (isVisible(row, observed.manifests[digest])) expected = digest;
  }
  if (expected === undefined || (withCentral.digest === expected && without.digest === expected)) return undefined;
  const got = withCentral.digest === expected ? without : withCentral;
  const pushed = nameOf('digest', expected);
  return (
    `lost push: ${HOST_NAMES[host]} acknowledged ${pushed}, nothing supersedes it, ` +
    `and ${nameOf(kind, key)} is ${shown(got)} there`
  );
}

/**
 * No resurrection: a host serves nothing that it knows to be deleted, and no tag that central, if asked, knows to be
 * deleted.
 */
function resurrection(
  { observed, stores }: World,
  host: HostIndex,
  kind: Kind,
  key: Slot,
  withCentral: Answer,
  without: Answer,
): string | undefined {
  const knows = (who: HostIndex, { digest, tag, lifecycle }: Answer): boolean => {
    if (digest === undefined) return false;
    const told = observed.told[who];
    const manifest = Math.max(told.manifests[digest], lifecycleAt(stores[who], digest).deleted);
    if (kind === 'digest') return lifecycle.created <= manifest;
    const row = stores[who].tags[key];
    const tombstone = row?.digest === null ? row.version : 0;
    return tag !== undefined && tag.version <= Math.max(told.tags[key], tombstone, manifest);
  };
  const isBack =
    knows(host, without) ||
    knows(host, withCentral) ||
    (kind === 'tag' && host !== CENTRAL && knows(CENTRAL, withCentral));
  return isBack ? `resurrection: ${nameOf(kind, key)} was deleted, and ${HOST_NAMES[host]} serves it` : undefined;
}

/** Convergence: once everything is delivered, every host answers as if all clients had used a single store. */
function divergence({ observed }: World, host: HostIndex, kind: Kind, key: Slot, answer: Answer): string | undefined {
  const row = observed.tags[key];
  let expected: Slot | undefined;
  if (kind === 'digest') expected = isAlive(observed.manifests[key]) ? key : undefined;
  else if (row?.digest != null && isVisible(row, observed.manifests[slotOf(row.digest)])) expected = slotOf(row.digest);
  if (answer.digest === expected) return undefined;
  const due = expected === undefined ? 'not found' : nameOf('digest', expected);
  return (
    `divergence: everything is delivered, and ${nameOf(kind, key)} is ${shown(answer)} at ${HOST_NAMES[host]}, ` +
    `instead of ${due}`
  );
}

/**
 * Once everything is delivered, every host serves a manifest by tag under the same media type. By digest, a node serves
 * its own row. The observer makes claims by the rule under test, so this check finds stores that lack a claim.
 */
function wrongType(
  { mutation }: Setting,
  { observed }: World,
  host: HostIndex,
  kind: Kind,
  key: Slot,
  { digest, lifecycle }: Answer,
): string | undefined {
  if (digest === undefined || (kind === 'digest' && host !== CENTRAL)) return undefined;
  const [due, got] = [servedType(undefined, observed.manifests[digest]), servedType(mutation, lifecycle)];
  return due === got
    ? undefined
    : `wrong type: ${nameOf(kind, key)} is ${got} at ${HOST_NAMES[host]}, instead of ${due}`;
}

/** A list shows exactly the tags that a read finds. */
function wrongList(setting: Setting, world: World, host: 1 | 2): string | undefined {
  const { listed } = listAtNode(world.stores[host], world.stores[CENTRAL]);
  for (const key of SLOTS) {
    const { digest } = readAtNode(setting, world.stores[host], world.stores[CENTRAL], 'tag', key);
    if (listed[key] !== (digest !== undefined)) {
      const does = listed[key] ? 'lists' : 'does not list';
      const is = digest === undefined ? 'is not found' : 'can be read';
      return `wrong list: ${HOST_NAMES[host]} ${does} ${TAG_NAMES[key]}, which ${is}`;
    }
  }
  return undefined;
}

function nameOf(kind: Kind, key: Slot): string {
  return kind === 'tag' ? TAG_NAMES[key] : DIGESTS[key];
}

function shown({ digest }: Answer): string {
  return digest === undefined ? 'not found' : DIGESTS[digest];
}
