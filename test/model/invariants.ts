/** What has to hold in every state; each gives a sentence where it does not. */
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
import { type Answer, lifecycleAt, listAtNode, readAlone, readAtNode, type Setting } from './world.ts';

type Kind = 'tag' | 'digest';

/** Every read of a world, by host: with central, and without. */
function readAt(setting: Setting, { stores }: World, host: HostIndex, kind: Kind, key: Slot): Answer {
  const central = stores[CENTRAL];
  return host === CENTRAL ? readAlone(central, kind, key) : readAtNode(setting, stores[host], central, kind, key);
}

/** The first invariant that a world breaks. */
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
 * Read-your-writes: a push that nothing supersedes is read at the host that acknowledged it, with or without central.
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
  return `lost push: ${HOST_NAMES[host]} acknowledged ${nameOf('digest', expected)}, nothing supersedes it, and ${nameOf(kind, key)} is ${shown(got)} there`;
}

/**
 * No resurrection: what a host knows to be deleted, it does not serve; nor a tag that central, when asked, knows to be.
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

/** Convergence: once all is delivered, every host answers as one store would that all clients had used. */
function divergence({ observed }: World, host: HostIndex, kind: Kind, key: Slot, answer: Answer): string | undefined {
  const row = observed.tags[key];
  let expected: Slot | undefined;
  if (kind === 'digest') expected = isAlive(observed.manifests[key]) ? key : undefined;
  else if (row?.digest != null && isVisible(row, observed.manifests[slotOf(row.digest)])) expected = slotOf(row.digest);
  if (answer.digest === expected) return undefined;
  const due = expected === undefined ? 'gone' : `to be ${nameOf('digest', expected)}`;
  return `divergence: all is delivered, ${nameOf(kind, key)} is ${due}, and it is ${shown(answer)} at ${HOST_NAMES[host]}`;
}

/**
 * Once all is delivered, every host serves a manifest under one media type, by tag; by digest a node serves its own
 * row. Stores and observer agree on claims, which are made by the rule itself: what is looked for here is a store that
 * lacks one.
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
    : `wrong type: ${nameOf(kind, key)} is due as ${due}, and it is ${got} at ${HOST_NAMES[host]}`;
}

/** A list shows the tags that a read finds. */
function wrongList(setting: Setting, world: World, host: 1 | 2): string | undefined {
  const { listed } = listAtNode(world.stores[host], world.stores[CENTRAL]);
  for (const key of SLOTS) {
    const { digest } = readAtNode(setting, world.stores[host], world.stores[CENTRAL], 'tag', key);
    if (listed[key] !== (digest !== undefined)) {
      return `wrong list: ${HOST_NAMES[host]} ${listed[key] ? 'lists' : 'does not list'} ${TAG_NAMES[key]}, which is ${digest === undefined ? 'gone' : 'there'}`;
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
