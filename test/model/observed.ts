/** The notes of an observer who sees all hosts. No rule reads them; invariants.ts compares hosts with them. */
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
 * Notes that a host acknowledged a push. The observer requires the push to come after everything that the host's
 * clients were shown, whichever version the host chose.
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

/** Notes that central's transaction deleted a tag or a manifest. */
export function noteDeletion(observed: Observed, kind: 'tag' | 'manifest', key: Slot, version: number): Observed {
  const told = noteTold(observed, CENTRAL, kind, key, version);
  if (kind === 'manifest') {
    const lifecycle = mergeLifecycles(observed.manifests[key], { created: 0, deleted: version });
    return { ...told, manifests: put(observed.manifests, key, lifecycle) };
  }
  const row = { digest: null, version, origin: HOST_NAMES[CENTRAL] };
  return { ...told, tags: put(observed.tags, key, mergeTags(observed.tags[key], row)) };
}

/** Notes that central's transaction removed the repository: all its manifests are deleted, known to central or not. */
export function noteRemoval(observed: Observed, version: number): Observed {
  return SLOTS.reduce((noted, slot) => noteDeletion(noted, 'manifest', slot, version), observed);
}

/** Notes that a host was told of a deletion: it acknowledged it, or its position in the change log passed it. */
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

/** Notes that a host showed a client something of version `seen`. */
export function noteShown(observed: Observed, host: HostIndex, seen: number): Observed {
  return seen <= observed.shown[host] ? observed : { ...observed, shown: putHost(observed.shown, host, seen) };
}

/** Drops notes that follow from the stores' own rows, so that states do not differ by them. */
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

/** Returns the newest deletion of a tag that the store's own row implies: nothing older can show. */
function tombstoneOf(store: Store, tag: Slot): number {
  const row = store.tags[tag];
  if (row === undefined) return 0;
  return row.digest === null ? row.version : row.version - 1;
}

/** Whether every node has announced its whole outbox and has applied the whole change log. */
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
