/**
 * Requests: pushes and deletions of clients, changes of the mirror, and writes of others at the upstream. A push is
 * that of `MirroredPushes.putManifest`, a deletion that of `MirroredDeletions.deleteManifest` and `Forwarder.delete`.
 */
import type { Digest } from '../../../src/oci/digest.ts';
import { versionOfCommit } from './forwarder.ts';
import { begunAgain, confirmed, deleted, noted, passed, type Row, withdrawn } from './rows.ts';
import {
  A,
  B,
  type Deletion,
  forgotten,
  MOST_EFFORT,
  moved,
  outdated,
  type Push,
  released,
  shownAt,
  type State,
  type To,
  withEnd,
  withPush,
  written,
  X,
} from './state.ts';

/** The images of the pushes, in their order. */
const PUSHED: readonly Digest[] = [A, B, A];

/** Begins whatever somebody may ask for. */
export function begin(state: State, mistake: string | undefined, to: To): void {
  const { pushes, rows, upstream, store, deletion } = state;
  const effort = state.effort + 2;
  if (effort > MOST_EFFORT) return;
  const digest = PUSHED[pushes.length];
  if (digest !== undefined) {
    const made = { digest, request: 'noted', notedAt: store.clock, version: 0, end: null, isDeleted: false } as const;
    const id = pushes.length + 1;
    to(`client: push ${digest}, noted as ${id}`, {
      effort,
      pushes: [...pushes, made],
      rows: noted(rows, id, digest),
    });
  }
  const blobs = [...new Set([...upstream.blobs, X])];
  to('somebody moves the tag at the upstream', { effort, upstream: moved({ ...upstream, blobs }, X, null) });
  if (upstream.tag !== null)
    to('somebody deletes the tag at the upstream', { effort, upstream: moved(upstream, null, null) });
  if (deletion === null && pushes.length > 0)
    for (const what of ['tag', A] as const)
      to(`client: delete ${what === 'tag' ? 'the tag' : what}`, { effort, ...deleting(state, what, mistake) });
  if (upstream.epoch === 0)
    to('an administrator sets another upstream', {
      effort,
      upstream: { epoch: 1, writes: 0, tag: null, by: null, manifests: [], blobs: [] },
      pushes: pushes.reduce((all, { version, end }) => {
        const waits = rows.some((row) => row.stage !== 'noted' && row.version === version);
        return end === 'reached' ? withEnd({ pushes: all }, version, waits ? null : 'settled before') : all;
      }, pushes),
      rows: begunAgain(rows),
      known: null,
      due: null,
      own: 0,
      question: state.question && { ...state.question, isLatest: false },
      deletion: deletion && { ...deletion, writes: 0 },
    });
}

/** Begins a deletion, as `Forwarder.delete` does. */
function deleting(state: State, of: Deletion['of'], mistake: string | undefined): Partial<State> {
  const open = state.rows.filter(({ stage, digest }) => stage === 'noted' && (of === 'tag' || digest === of));
  const found = open.map((row) => [row.id, versionOfCommit(state, row, mistake) ?? 0] as const);
  return {
    rows: mistake === 'drop-first' ? deleted(state.rows, of) : state.rows,
    deletion: {
      of,
      step: 'begun',
      before: state.pushes.flatMap(({ request }, i) => (request === 'ended' ? [i + 1] : [])),
      committed: mistake === 'unseen-commits' ? [] : found.filter(([, version]) => version > 0),
      writes: 0,
    },
  };
}

/** Goes on with a push. */
export function goOn(
  state: State,
  { digest, request, version }: Push,
  id: number,
  mistake: string | undefined,
  to: To,
): void {
  const { rows, store, storing } = state;
  const change = (other: Partial<Push>): Partial<State> => ({ pushes: withPush(state, id, other) });
  if (request === 'noted') {
    to(`push ${id}: refused`, { ...change({ request: 'ended' }), ...released(state, withdrawn(rows, id)) });
    to(`push ${id}: its request dies`, change({ request: 'ended' }));
    // A push waits for a write of the mirror's own that is under way.
    if (storing !== null) return;
    const next = written(store, digest, 'client');
    to(`push ${id}: commit`, { ...change({ request: 'committed', version: next.clock }), store: next });
    to(`push ${id}: commit, and the store's answer is lost`, {
      ...change({ request: 'ended', version: next.clock }),
      store: next,
      rows: mistake === 'withdrawn-when-unsure' ? withdrawn(rows, id) : rows,
    });
  }
  if (request === 'committed') {
    const after = confirmed(rows, id, version);
    to(`push ${id}: confirm`, {
      ...change({ request: 'ended' }),
      // The mistake does not tell noted pushes which version was confirmed.
      ...forgotten(state, mistake === 'forgotten-order' ? after.map(unversioned) : after, [id], mistake),
    });
    to(`push ${id}: its request dies after the commit`, change({ request: 'ended' }));
  }
}

function unversioned(row: Row): Row {
  return row.stage === 'noted' ? { ...row, version: 0 } : row;
}

/** Goes on with a deletion. */
export function remove(state: State, deletion: Deletion, mistake: string | undefined, to: To): void {
  const { upstream, store } = state;
  const isOf = (digest: Digest): boolean => deletion.of === 'tag' || deletion.of === digest;
  const step = (next: Deletion['step']): Deletion => ({ ...deletion, step: next });
  switch (deletion.step) {
    case 'begun': {
      to('the upstream refuses the deletion', { deletion: null });
      if (state.carrier?.step === 'put' && mistake !== 'deletion-meets-write') return;
      const hasTag = upstream.tag !== null && isOf(upstream.tag);
      const after = hasTag ? moved(upstream, null, null) : upstream;
      const taken = { ...step('taken'), writes: hasTag ? after.writes : 0 };
      const manifests = after.manifests.filter((digest) => digest !== deletion.of);
      return to('the upstream deletes', { deletion: taken, upstream: { ...after, manifests } });
    }
    case 'taken': {
      const { committed } = deletion;
      const rows = deleted(
        committed.reduce((all, [id, version]) => passed(all, id, version), state.rows),
        deletion.of,
      );
      const isKept = rows.length === state.rows.length && state.known?.tag != null && !isOf(state.known.tag);
      const versions = state.rows.flatMap(({ id, version }) => (rows.some((row) => row.id === id) ? [] : [version]));
      const gone = [...versions, ...committed.map(([, version]) => version)].filter((version) => version > 0);
      const isOpen = (version: number): boolean =>
        state.pushes.some((each) => each.version === version && each.end === null);
      const end = 'dropped with the tag' as const;
      return to('mirror: drop what is deleted', {
        rows,
        known: isKept ? state.known : null,
        pushes: gone.filter(isOpen).reduce((pushes, version) => withEnd({ pushes }, version, end), state.pushes),
        own: Math.max(state.own, deletion.writes),
        question: outdated(state, mistake),
        deletion: step('here'),
      });
    }
    case 'here': {
      to('the request of the deletion dies', { deletion: null });
      const clock = store.clock + 1;
      const pushes = deletion.before.reduce((all, id) => {
        const each = all[id - 1];
        return each !== undefined && each.version > 0 && isOf(each.digest)
          ? withPush({ pushes: all }, id, { isDeleted: true })
          : all;
      }, state.pushes);
      if (deletion.of !== 'tag')
        to('store: delete the manifest', { deletion: null, pushes, store: { ...store, clock, deletedA: clock } });
      else if (shownAt(store) === null) to('store: there is no such tag', { deletion: null, pushes });
      else to('store: delete the tag', { deletion: null, pushes, store: written(store, null, 'client') });
    }
  }
}
