/**
 * One tag of a mirror that forwards its pushes, at one registry, from a push until the upstream shows it. Requests and
 * the mirror's Durable Object can die between any two moves, and others write to the upstream. The rows of pushes are
 * those of `OutgoingState` itself.
 *
 * The promises: no committed push is lost. The upstream gets the pushes in the order of their commits, and no manifest
 * whose blobs it lacks. A deletion by a client stays. Content that waits is not collected. The mirror never falls
 * back behind its own changes, and in the end its store shows the upstream's tag.
 */
import type { SmallModel } from '../small-model.ts';
import { begin, goOn, remove } from './clients.ts';
import { carry, start } from './forwarder.ts';
import { ask, collect, keep, removeElsewhere } from './mirror.ts';
import { retried } from './rows.ts';
import { A, isAlive, isDeleting, shownAt, START, type State, type To } from './state.ts';

function moves(state: State, mistake: string | undefined): (readonly [string, State])[] {
  const reached: (readonly [string, State])[] = [];
  const to: To = (name, change) => void reached.push([name, { ...state, ...change }]);
  const { rows, carrier, deletion, question, storing } = state;
  begin(state, mistake, to);
  for (const [i, each] of state.pushes.entries()) goOn(state, each, i + 1, mistake, to);
  if (deletion !== null) remove(state, deletion, mistake, to);
  if (carrier === null) for (const row of rows) start(state, row, mistake, to);
  else carry(state, carrier, mistake, to);
  ask(state, to);
  keep(state, mistake, to);
  removeElsewhere(state, to);
  collect(state, mistake, to);
  if (rows.some(({ stage }) => stage === 'parked')) to('an administrator retries', { rows: retried(rows) });
  if (carrier !== null || question !== null || storing !== null || isDeleting(state))
    to('the Durable Object dies', {
      carrier: null,
      question: null,
      storing: null,
      deletion: isDeleting(state) ? null : deletion,
    });
  return reached;
}

function violation(state: State): string | undefined {
  const { upstream, known, own } = state;
  const lacking = upstream.manifests.find((digest) => !upstream.blobs.includes(digest));
  if (lacking !== undefined) return `broken image: the upstream has ${lacking}, and not its blobs`;
  const isShown = state.rows.every(({ stage }) => stage === 'noted');
  if (isShown && known !== null && known.writes < own)
    return 'fallen back: the mirror knows the tag as it was before its own change';
  return lost(state) ?? disordered(state) ?? unstored(state);
}

/** Returns a sentence if a push that was committed is gone, or cannot be carried any more. */
function lost({ pushes, rows, store }: State): string | undefined {
  for (const [i, { digest, version, end }] of pushes.entries()) {
    const isOver =
      version === 0 ||
      end !== null ||
      pushes.some((other) => other.version > version) ||
      store.writes.some((write) => write.version > version && write.digest === null && write.by === 'client') ||
      (isAlive(store, digest) ? false : store.deletedA > version);
    if (isOver) continue;
    const isWaiting = rows.some((row) => row.id === i + 1 || (row.stage !== 'noted' && row.version === version));
    if (!isWaiting) return `lost push: ${i + 1} was committed, and is not forwarded`;
    if (store.collected.includes(digest)) return `lost content: that of push ${i + 1}, which waits, was collected`;
  }
  return undefined;
}

function disordered({ upstream, pushes }: State): string | undefined {
  const by = pushes.findIndex(({ version }) => version === upstream.by);
  const written = pushes[by];
  if (written === undefined) return undefined;
  if (written.isDeleted) return `resurrection: push ${by + 1} was deleted, and the upstream has it`;
  const later = pushes.findIndex(({ version, end }) => version > written.version && end === 'reached');
  return later === -1 ? undefined : `disorder: the upstream has push ${by + 1} after push ${later + 1}`;
}

/** Once nothing is under way, the store means what the mirror knows. */
function unstored({
  rows,
  pushes,
  carrier,
  question,
  storing,
  deletion,
  due,
  known,
  store,
}: State): string | undefined {
  const isQuiet =
    rows.length === 0 &&
    pushes.every(({ request }) => request === 'ended') &&
    [carrier, question, storing, deletion, due].every((each) => each === null);
  const last = store.writes.at(-1);
  // A tag or image that a client or another mirror deleted may be missing here until a pull, although the upstream has
  // it again.
  const isGone = known?.tag === A && store.deletedA > 0 && !isAlive(store, A);
  const isDeleted = isGone || (last?.digest === null && last.by !== 'mirror');
  if (!isQuiet || isDeleted || known === null || known.tag === null || shownAt(store) === known.tag) return undefined;
  return `divergence: the tag is ${known.tag} at the upstream, and the store shows ${shownAt(store)}`;
}

export const FORWARDING: SmallModel<State> = {
  name: 'forwarded pushes',
  start: START,
  moves,
  violation,
  mistakes: {
    'look-at-tag': 'a push that counts as committed only while the tag still means it',
    'mirror-deletes': 'a push that is withdrawn because another mirror removed its tag',
    'forgotten-order': 'a push that is confirmed late, after a later push of its tag has settled',
    'withdrawn-when-unsure': 'a push that is forgotten because the store did not answer',
    'only-confirmed': 'a mirror that stores a tag although a push of it is noted',
    'settled-unstored': 'a push that settles, and the store is not told what the upstream shows',
    'late-answer': 'an answer of the upstream from before a push or a deletion, taken for the latest',
    'settled-anyway': 'a push that is taken for settled although it was deleted meanwhile',
    'former-upstream': 'a push that counts as taken although the mirror has another upstream now',
    'manifest-first': 'a manifest that is sent before its blobs',
    'unseen-commits': 'a deletion that leaves a committed push because nobody has confirmed it',
    'deletion-meets-write': 'a deletion at the upstream while a push is being written there',
    'drop-first': 'a deletion that drops pushes before the upstream has agreed',
    'collects-waiting': 'a collection of what waits for the upstream, and is not settled',
  },
};
