/** What an observer of all hosts notes down. No rule reads it; invariants.ts compares hosts with it. */
import { mergeTags } from '../../src/stores/versions.ts';
import {
  CENTRAL,
  DIGESTS,
  HOST_NAMES,
  HOSTS,
  type HostIndex,
  type Observed,
  put,
  putHost,
  SLOTS,
  type Slot,
  type Store,
  type Told,
  type World,
} from './state.ts';
import { lifecycleAt } from './world.ts';
import { type Lifecycle, mergeLifecycles } from './types.ts';

/**
 * A host acknowledged a push. Whatever version it took, the push comes after all that the host's clients were shown:
 * that is what the observer holds it to.
 */
export function notePush(
  observed: Observed,
  host: HostIndex,
  taken: number,
  digest: Slot,
  tag: Slot | undefined,
  claims: Pick<Lifecycle, 'claims'>,
): Observed {
  const version = Math.max(taken, observed.shown[host] + 1);
  const row = { digest: DIGESTS[digest], version, origin: HOST_NAMES[host] };
  const pushed = observed.pushed[host];
  return {
    ...observed,
    tags: tag === undefined ? observed.tags : put(observed.tags, tag, mergeTags(observed.tags[tag], row)),
    manifests: put(
      observed.manifests,
      digest,
      mergeLifecycles(observed.manifests[digest], { created: version, deleted: 0, ...claims }),
    ),
    pushed: putHost(observed.pushed, host, put(pushed, digest, Math.max(pushed[digest], version))),
  };
}

/** Central's transaction deleted something. */
export function noteDeletion(observed: Observed, kind: 'tag' | 'manifest', key: Slot, version: number): Observed {
  const told = noteTold(observed, CENTRAL, kind, key, version);
  if (kind === 'manifest') {
    const lifecycle = mergeLifecycles(observed.manifests[key], { created: 0, deleted: version });
    return { ...told, manifests: put(observed.manifests, key, lifecycle) };
  }
  const row = { digest: null, version, origin: HOST_NAMES[CENTRAL] };
  return { ...told, tags: put(observed.tags, key, mergeTags(observed.tags[key], row)) };
}

/** Central's transaction removed the repository: every manifest of it is deleted, heard of or not. */
export function noteRemoval(observed: Observed, version: number): Observed {
  return SLOTS.reduce((noted, slot) => noteDeletion(noted, 'manifest', slot, version), observed);
}

/** A host was told of a deletion: it acknowledged it, or its position in the change log passed it. */
export function noteTold(
  observed: Observed,
  host: HostIndex,
  kind: 'tag' | 'manifest',
  key: Slot,
  version: number,
): Observed {
  const told = observed.told[host];
  const heard: Told =
    kind === 'tag'
      ? { ...told, tags: put(told.tags, key, Math.max(told.tags[key], version)) }
      : { ...told, manifests: put(told.manifests, key, Math.max(told.manifests[key], version)) };
  return { ...observed, told: putHost(observed.told, host, heard) };
}

/** A host showed a client something of version `seen`. */
export function noteShown(observed: Observed, host: HostIndex, seen: number): Observed {
  return seen <= observed.shown[host] ? observed : { ...observed, shown: putHost(observed.shown, host, seen) };
}

/** Drops what follows from the stores' own rows, so that states do not differ by it. */
export function simplify(world: World, wallClocks: readonly [number, number, number]): World {
  let { observed } = world;
  for (const host of HOSTS) {
    const store = world.stores[host];
    const shown = observed.shown[host];
    if (shown > 0 && (shown <= store.clock || shown < wallClocks[host])) observed = forgetShown(observed, host);
    for (const slot of SLOTS) {
      const { tags, manifests } = observed.told[host];
      if (tags[slot] > 0 && tags[slot] <= tombstoneOf(store, slot)) observed = forgetTold(observed, host, 'tags', slot);
      if (manifests[slot] > 0 && manifests[slot] <= lifecycleAt(store, slot).deleted) {
        observed = forgetTold(observed, host, 'manifests', slot);
      }
      const pushed = observed.pushed[host][slot];
      if (pushed > 0 && pushed <= observed.manifests[slot].deleted) observed = forgetPushed(observed, host, slot);
    }
  }
  return observed === world.observed ? world : { ...world, observed };
}

function forgetShown(observed: Observed, host: HostIndex): Observed {
  return { ...observed, shown: putHost(observed.shown, host, 0) };
}

function forgetTold(observed: Observed, host: HostIndex, kind: keyof Told, slot: Slot): Observed {
  const told = observed.told[host];
  return { ...observed, told: putHost(observed.told, host, { ...told, [kind]: put(told[kind], slot, 0) }) };
}

function forgetPushed(observed: Observed, host: HostIndex, slot: Slot): Observed {
  return { ...observed, pushed: putHost(observed.pushed, host, put(observed.pushed[host], slot, 0)) };
}

/** A row that is at least as new as a deletion says itself that nothing older is there. */
function tombstoneOf(store: Store, tag: Slot): number {
  const row = store.tags[tag];
  if (row === undefined) return 0;
  return row.digest === null ? row.version : row.version - 1;
}

/** Whether every node has announced all that it marked, and has come to the end of the change log. */
export function isQuiet({ stores, changeLog }: World): boolean {
  return HOSTS.every((host) => {
    if (host === CENTRAL) return true;
    const { outboxEntries, position } = stores[host];
    return (
      position === changeLog.length &&
      SLOTS.every((slot) => outboxEntries.tags[slot] === 0 && outboxEntries.manifests[slot] === 0)
    );
  });
}
