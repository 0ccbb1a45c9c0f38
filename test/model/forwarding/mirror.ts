/** The rest of the mirror: questions about the tag, and what it stores of the answers; and collection. */
import { A, B, isAlive, MOST_EFFORT, shownAt, type State, type To, written } from './state.ts';

/** Asks the upstream for the tag, as `tag` of the Durable Object does once `ttl_seconds` are over. */
export function ask(state: State, to: To): void {
  const { rows, upstream, known, question, store } = state;
  const { tag, writes } = upstream;
  if (question === null) {
    if (state.effort < MOST_EFFORT && rows.every(({ stage }) => stage === 'noted'))
      to('mirror: ask for the tag', {
        effort: state.effort + 1,
        question: { seen: { tag, writes }, before: known?.tag ?? null, isLatest: true },
      });
    return;
  }
  const { seen, before, isLatest } = question;
  if (!isLatest) return to('mirror: leave an answer that is outdated', { question: null });
  const removes = seen.tag === null && before !== null && rows.length === 0 && state.storing === null;
  to('mirror: note the answer', {
    question: null,
    known: { ...seen, notedAt: store.clock },
    due: seen.tag !== null && seen.tag !== before ? seen.tag : state.due,
    ...(removes && { storing: { removes: true, digest: before } }),
  });
}

/** Stores an image under the tag, as `ImageStore` does. */
export function keep(state: State, mistake: string | undefined, to: To): void {
  const { rows, known, due, store, storing } = state;
  if (storing !== null) {
    const { removes, digest } = storing;
    if (!removes)
      to('mirror: store the tag', {
        storing: null,
        due: due === digest ? null : due,
        store: written(store, digest, 'mirror'),
      });
    else if (shownAt(store) === digest)
      to('mirror: remove the tag', { storing: null, store: written(store, null, 'mirror') });
    else to('mirror: find that the tag has moved', { storing: null });
    return;
  }
  if (due === null) return;
  const [shown, last] = [shownAt(store), store.writes.at(-1)];
  const isWritten =
    shown === due || (shown !== null && last?.by !== 'mirror' && (last?.version ?? 0) > (known?.notedAt ?? 0));
  const holds = mistake === 'only-confirmed' ? rows.some(({ stage }) => stage !== 'noted') : rows.length > 0;
  if (known?.tag !== due || isWritten || holds) to('mirror: find that the tag is not to be stored', { due: null });
  else to('mirror: begin to store the tag', { storing: { removes: false, digest: due } });
}

/** Removes the tag as the mirror of another store does, which knows nothing of the pushes that are noted here. */
export function removeElsewhere(state: State, to: To): void {
  const { store, upstream } = state;
  if (state.effort < MOST_EFFORT && upstream.tag === null && shownAt(store) !== null)
    to('another mirror: remove the tag', { effort: state.effort + 1, store: written(store, null, 'other mirror') });
}

/** Collects what nothing needs. */
export function collect({ store, rows }: State, mistake: string | undefined, to: To): void {
  for (const digest of [A, B]) {
    const isThere = store.writes.some((write) => write.digest === digest) && !store.collected.includes(digest);
    const isTaken = mistake === 'collects-waiting' && rows.some((row) => row.digest === digest);
    if (isThere && (isTaken || !isAlive(store, digest)))
      to(`store: collect ${digest}`, { store: { ...store, collected: [...store.collected, digest] } });
  }
}
