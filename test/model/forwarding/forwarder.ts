/** The forwarder, one step at a time: `Forwarder` of src/mirror, and `versionOfCommit` and `wasDeleted`. */
import { announced, confirmed, dropped, parked, type Row, settled, withdrawn } from './rows.ts';
import {
  type Carrier,
  isAlive,
  isDeleting,
  forgotten,
  moved,
  outdated,
  released,
  type State,
  type To,
  withEnd,
} from './state.ts';

/** The version of a commit that a mistake takes for the latest. */
const LATEST = -1;

/** Begins a step of a push. */
export function start(state: State, row: Row, mistake: string | undefined, to: To): void {
  const { store, rows, upstream } = state;
  const { id, digest, stage, version } = row;
  const { epoch, tag, writes } = upstream;
  // The mirror looks after ten minutes, and no request takes that long.
  if (stage === 'noted' && state.pushes[id - 1]?.request === 'ended') {
    const carrier = { id, step: 'look', version: versionOfCommit(state, row, mistake) ?? null } as const;
    to(`forwarder: read whether push ${id} was committed`, { carrier });
  }
  if (stage === 'pending') {
    const last = store.writes.at(-1);
    const isDeleted = last?.digest === null && last.by === 'client' && last.version > version;
    if (isDeleted || !isAlive(store, digest))
      to(`forwarder: drop push ${id}, which was deleted`, forgotten(state, dropped(rows, id), [id], mistake));
    else to(`forwarder: begin to copy push ${id}`, { carrier: { id, version, step: 'copy', epoch, hasBlobs: false } });
  }
  if (stage === 'announced') {
    const carrier = { id, step: 'verify', epoch, seen: { tag, writes } } as const;
    to(`forwarder: read whether the upstream shows push ${id}`, { carrier });
  }
}

/** Goes on with the step that is under way. */
export function carry(state: State, carrier: Carrier, mistake: string | undefined, to: To): void {
  const { rows, upstream } = state;
  const { id } = carrier;
  if (carrier.step === 'look') {
    const row = rows.find((each) => each.id === id && each.stage === 'noted');
    const change = row === undefined ? {} : judged(state, row, carrier.version, mistake);
    return to(`forwarder: judge push ${id}`, { ...change, carrier: null });
  }
  const { epoch } = carrier;
  const isHere = epoch === upstream.epoch;
  const counts = isHere || mistake === 'former-upstream';
  const push = state.pushes[id - 1];
  if (push === undefined) return;
  switch (carrier.step) {
    case 'copy': {
      const { hasBlobs } = carrier;
      if (!hasBlobs) {
        const blobs = isHere ? [...new Set([...upstream.blobs, push.digest])] : upstream.blobs;
        to(`forwarder: copy the blobs of push ${id}`, {
          carrier: { ...carrier, hasBlobs: true },
          upstream: { ...upstream, blobs },
        });
        to(`the upstream refuses push ${id}`, { carrier: null, ...(counts && { rows: parked(rows, id) }) });
      }
      if (!hasBlobs && mistake !== 'manifest-first') return;
      const isWanted = rows.some((row) => row.id === id) && !isDeleting(state);
      if (isWanted)
        to(`forwarder: send the manifest of push ${id}`, {
          carrier: { id, version: carrier.version, step: 'put', epoch },
        });
      else to(`forwarder: hold push ${id}`, { carrier: null });
      return;
    }
    case 'put': {
      const taken: Partial<State> = isHere
        ? {
            upstream: moved(upstream, push.digest, carrier.version),
            pushes: withEnd(state, carrier.version, 'reached'),
          }
        : {};
      return to(`the upstream takes push ${id}`, { ...taken, carrier: { ...carrier, step: 'taken' } });
    }
    case 'taken':
      return to(`forwarder: announce push ${id}`, { carrier: null, ...(counts && { rows: announced(rows, id) }) });
    case 'verify': {
      const { seen } = carrier;
      if (!counts || (!rows.some((row) => row.id === id) && mistake !== 'settled-anyway'))
        return to(`forwarder: leave push ${id}`, { carrier: null });
      if (seen.tag === null)
        return to(`forwarder: park push ${id}, which is not shown`, { carrier: null, rows: parked(rows, id) });
      to(`forwarder: settle push ${id}`, {
        carrier: null,
        rows: settled(rows, id),
        known: { ...seen, notedAt: state.store.clock },
        due: mistake === 'settled-unstored' ? state.due : seen.tag,
        own: Math.max(state.own, seen.writes),
        question: outdated(state, mistake),
      });
    }
  }
}

/** Finds the version of a push's commit. */
export function versionOfCommit(
  { store, pushes }: State,
  { id, digest }: Row,
  mistake: string | undefined,
): number | undefined {
  if (mistake === 'look-at-tag') return store.writes.at(-1)?.digest === digest ? LATEST : undefined;
  const notedAt = pushes[id - 1]?.notedAt ?? 0;
  const last = store.writes.findLast(
    (write) =>
      (write.digest === null && (write.by === 'client' || mistake === 'mirror-deletes')) ||
      (write.digest === digest && write.version > notedAt),
  );
  return last === undefined || last.digest === null ? undefined : last.version;
}

/** Decides about a noted push. @param version of its commit; null if there is none */
function judged(state: State, { id }: Row, version: number | null, mistake: string | undefined): Partial<State> {
  if (version === null) return released(state, withdrawn(state.rows, id));
  const others = state.rows.filter((row) => row.id !== id).map((row) => row.version);
  const found = version === LATEST ? Math.max(...others, 0) + 1 : version;
  return forgotten(state, confirmed(state.rows, id, found), [id], mistake);
}
