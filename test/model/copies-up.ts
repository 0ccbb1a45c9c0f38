/**
 * One blob of one manifest, which is pushed at a node and at central: which copies up are due (`locations.copy_up_for`)
 * and which bytes may go. The moves stand for `announceTo`, `settle` and `forgetStoreSlice` of src/replication, and for
 * the collection, release and eviction of src/maintenance, after all leases have ended. A copy may be cut off anywhere.
 * The node's store is forgotten once its queue has ended and no change waits.
 */
import type { SmallModel } from './small-model.ts';

interface State {
  /** The number of deletions. */
  readonly deletions: number;
  readonly central: {
    /** Whether the manifest is alive. */
    readonly alive: boolean;
    /** Central's own location. */
    readonly own: boolean;
    /** The node's location, and whether it has to be copied up. */
    readonly ofNode: 'none' | 'due' | 'known';
  };
  readonly node: {
    readonly holds: boolean;
    /** The live push: how many deletions there were before it. */
    readonly pushed: number | null;
    readonly inOutbox: boolean;
  };
  /** The push of an announcement that is under way. It may arrive twice. */
  readonly sent: number | null;
  /** Whether the node's bytes are on their way to central. */
  readonly copying: boolean;
  /** Whether the node is retired and its store forgotten. */
  readonly forgotten: boolean;
}

type Moves = (readonly [string, State])[];

function moves(state: State, mistake: string | undefined): Moves {
  const { central, node, deletions, sent, copying } = state;
  const reached: Moves = [];
  const to = (name: string, change: Partial<State>): void => void reached.push([name, { ...state, ...change }]);

  to('central: push', { central: { ...central, alive: true, own: true } });
  if (central.alive && deletions < 2)
    to('central: delete', { deletions: deletions + 1, central: { ...central, alive: false } });
  if (!central.alive) to('central: collect', { central: { ...central, own: false, ofNode: 'none' } });
  if (state.forgotten) return reached;
  to('node: push', { node: { holds: true, pushed: deletions, inOutbox: true } });
  if (node.pushed !== null && node.pushed < deletions)
    to('node: apply the deletion', { node: { ...node, pushed: null, inOutbox: false } });
  if (node.inOutbox && sent === null) to('node: send an announcement', { sent: node.pushed });
  if (sent !== null) {
    const merged = { central: announced(central, sent === deletions) };
    to('central: merge the announcement', { ...merged, sent: null, node: { ...node, inOutbox: false } });
    to('central: merge the announcement, whose reply is lost', { ...merged, sent: null });
    to('central: merge the announcement, which will arrive again', { ...merged, node: { ...node, inOutbox: false } });
  }
  if (central.ofNode === 'due' && central.alive && !copying) {
    const begun = mistake === 'due-until-begun' ? { central: { ...central, ofNode: 'known' as const } } : {};
    if (central.own) to('find it settled', { central: settled(central) });
    else if (node.holds) to('begin to copy', { copying: true, ...begun });
  }
  if (copying) {
    to('settle', { copying: false, central: settled(central) });
    to('the copy is cut off', { copying: false });
  }
  if (sent === null && !copying && !node.inOutbox) {
    const isLost = central.alive && !central.own;
    if (!isLost || mistake === 'forget-unsettled')
      to("central: forget the node's store", { forgotten: true, central: { ...central, ofNode: 'none' } });
  }
  if (!central.alive && node.pushed === null)
    to('node: release', { node: { ...node, holds: false }, central: { ...central, ofNode: 'none' } });
  if (central.alive && !node.inOutbox && (central.own || mistake === 'evict-unsettled'))
    to('node: evict', { node: { ...node, holds: false, pushed: null }, central: { ...central, ofNode: 'none' } });
  return reached;
}

/** Merges an announcement. Without a live manifest, locations are not merged. */
function announced(central: State['central'], isLatest: boolean): State['central'] {
  if (!central.alive && !isLatest) return central;
  const { own, ofNode } = central;
  return { own, alive: true, ofNode: own && ofNode !== 'due' ? 'known' : 'due' };
}

function settled(central: State['central']): State['central'] {
  return { ...central, own: true, ofNode: central.ofNode === 'none' ? 'none' : 'known' };
}

function violation({ central, node, forgotten }: State): string | undefined {
  if (!central.alive) return undefined;
  if (!central.own && (forgotten || !node.holds))
    return 'lost bytes: a live manifest needs them, and no store has them';
  if (!central.own && central.ofNode !== 'due') return 'never settled: central lacks the bytes, and no copy is due';
  return undefined;
}

export const COPIES_UP: SmallModel<State> = {
  name: 'copies up',
  start: {
    deletions: 0,
    central: { alive: false, own: false, ofNode: 'none' },
    node: { holds: false, pushed: null, inOutbox: false },
    sent: null,
    copying: false,
    forgotten: false,
  },
  moves,
  violation,
  mistakes: {
    'due-until-begun': 'a copy that is due only until it begins',
    'evict-unsettled': 'a node that evicts bytes which central lacks',
    'forget-unsettled': 'a store that is forgotten although central lacks bytes of it',
  },
};
