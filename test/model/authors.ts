/**
 * The authors of one tag's writes, at central and a node: who pushed or deleted it, or nobody if maintenance ended it
 * with its deleted manifest. The moves stand for `commitManifest`, `deleteTag`, `deleteHiddenTags`, `mergeRows`,
 * `announceTo` and `applyChangeLog`. Both clocks count from 0, so central and the node give equal versions.
 *
 * A write has one author wherever it is, as a tag's row or in its history, whoever carried it there. Maintenance at a
 * node can write the same tombstone as a deletion at central; then the stores agree once the node has heard of it.
 */
import type { Digest } from '../../src/oci/digest.ts';
import { type AuthoredTag as Write, compareTags, mergeTags } from '../../src/stores/versions.ts';
import type { SmallModel } from './small-model.ts';

const IMAGE = 'M' as Digest;
/** The author of changes that no caller requested. */
const BERTH = '';
/** The author of every push, and the author of every deletion. */
const [PUSHER, DELETER] = ['alice', 'bob'] as const;
const MOST_WRITES = 4;

interface Store {
  readonly clock: number;
  readonly tag: Write | null;
  readonly history: readonly Write[];
}

interface State {
  /** Every write, as it was written. */
  readonly written: readonly Write[];
  readonly central: Store;
  readonly node: Store;
  readonly inOutbox: boolean;
  /** An announcement under way, which may arrive twice, and central's reply. */
  readonly sent: Write | null;
  readonly reply: Write | null;
  /** Tombstones that the node has yet to apply. */
  readonly changeLog: readonly Write[];
}

type Moves = (readonly [string, State])[];
type To = (name: string, change: Partial<State>) => void;

function moves(state: State, mistake: string | undefined): Moves {
  const reached: Moves = [];
  const to = (name: string, change: Partial<State>): void => void reached.push([name, { ...state, ...change }]);
  if (state.written.length < MOST_WRITES)
    for (const name of ['central', 'node'] as const) writeAt(state, name, mistake, to);
  carry(state, mistake, to);
  return reached;
}

/** Pushes and deletions at a host. Its tag is deleted through central, or its tombstone made by maintenance. */
function writeAt(state: State, name: 'central' | 'node', mistake: string | undefined, to: To): void {
  const { central, node, written, changeLog } = state;
  const store = state[name];
  const push: Write = { digest: IMAGE, version: store.clock + 1, origin: name, author: PUSHER };
  const pushed = { written: [...written, push], inOutbox: state.inOutbox || name === 'node' };
  to(`${name}: push`, { ...pushed, [name]: replace(store, push, mistake) });
  if (store.tag?.digest !== IMAGE) return;

  const entry = (deletion: Write): Write =>
    mistake === 'log-without-author' ? { ...deletion, author: BERTH } : deletion;
  const atCentral = (deletion: Write): Partial<State> => ({
    written: [...written, deletion],
    central: replace(central, deletion, mistake),
    changeLog: [...changeLog, entry(deletion)],
  });
  const version = Math.max(central.clock, store.tag.version) + 1;
  const deletion: Write = { digest: null, version, origin: 'central', author: DELETER };
  to(`${name}: delete, but nothing after central's step`, atCentral(deletion));
  if (name === 'node') to('node: delete', { ...atCentral(deletion), node: merge(node, deletion, mistake) });

  const hidden: Write = { digest: null, version: store.tag.version, origin: 'central', author: BERTH };
  const atNode = { written: [...written, hidden], node: replace(node, hidden, mistake) };
  to(`${name}: maintenance ends a hidden tag`, name === 'central' ? atCentral(hidden) : atNode);
}

/** Announcements, their replies and the change log. */
function carry(state: State, mistake: string | undefined, to: To): void {
  const { central, node, sent, reply, changeLog } = state;
  if (state.inOutbox && sent === null) to('node: send an announcement', { sent: node.tag });
  if (sent !== null) {
    const merged = merge(central, sent, mistake);
    to('central: merge the announcement', { central: merged, sent: null, reply: merged.tag });
    to('central: merge the announcement, which will arrive again', { central: merged, reply: merged.tag });
  }
  if (reply !== null) {
    const stays = node.tag?.origin === 'node' && compareTags(node.tag, reply) > 0;
    to('node: merge the reply', { node: merge(node, reply, mistake), reply: null, inOutbox: stays });
    to('node: the reply is lost', { reply: null });
  }
  const [entry, ...later] = changeLog;
  if (entry !== undefined)
    to('node: apply an entry of the change log', { node: merge(node, entry, mistake), changeLog: later });
}

/** Writes a tag, and keeps what it replaces. */
function replace({ clock, tag, history }: Store, write: Write, mistake: string | undefined): Store {
  const kept = tag === null ? [] : [mistake === 'author-of-replacer' ? { ...tag, author: write.author } : tag];
  return { clock: Math.max(clock, write.version), tag: write, history: withEntries(history, kept) };
}

/** `mergeRows`: the greater of two writes wins, and the other one goes to the history, unless both are the same. */
function merge(store: Store, carried: Write, mistake: string | undefined): Store {
  const incoming = mistake === 'author-of-applier' ? { ...carried, author: BERTH } : carried;
  const { clock, tag, history } = store;
  const next = { ...store, clock: Math.max(clock, incoming.version) };
  if (tag === null) return { ...next, tag: incoming };
  if (isSame(tag, incoming)) {
    return mistake === 'equals-ignore-author' ? next : { ...next, tag: mergeTags(tag, incoming) ?? tag };
  }
  const [winner, loser] = compareTags(tag, incoming) > 0 ? [tag, incoming] : [incoming, tag];
  return { ...next, tag: winner, history: withEntries(history, [loser]) };
}

/** A history keeps the first entry of each write. */
function withEntries(history: readonly Write[], entries: readonly Write[]): readonly Write[] {
  return [...history, ...entries.filter((entry) => !history.some((known) => isSame(known, entry)))];
}

function isSame(a: Write, b: Write): boolean {
  return a.version === b.version && a.origin === b.origin && a.digest === b.digest;
}

function violation({ written, central, node, sent, reply, changeLog }: State): string | undefined {
  for (const [name, { tag, history }] of [['central', central] as const, ['node', node] as const]) {
    for (const entry of [...(tag === null ? [] : [tag]), ...history]) {
      const authors = written.filter((write) => isSame(write, entry)).map(({ author }) => author);
      if (!authors.includes(entry.author))
        return `wrong author: ${name} has "${entry.author}" for a write of "${authors.join('" or "')}"`;
    }
  }
  const isDelivered = sent === null && reply === null && changeLog.length === 0;
  if (isDelivered && central.tag && node.tag && isSame(central.tag, node.tag) && central.tag.author !== node.tag.author)
    return `divergence: one write is of "${central.tag.author}" at central and of "${node.tag.author}" at the node`;
  return undefined;
}

const EMPTY: Store = { clock: 0, tag: null, history: [] };

export const AUTHORS: SmallModel<State> = {
  name: 'authors of writes',
  start: { written: [], central: EMPTY, node: EMPTY, inOutbox: false, sent: null, reply: null, changeLog: [] },
  moves,
  violation,
  mistakes: {
    'author-of-applier': 'a merge that names the one who applies a write, not its author',
    'author-of-replacer': 'a history that names the author of the write that replaced an entry',
    'log-without-author': 'a change log that does not say who deleted a tag',
    'equals-ignore-author': 'a merge that ignores the authors of equal writes',
  },
};
