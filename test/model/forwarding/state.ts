/** The state of the model of forwarded pushes: the registry's store, the upstream, and what is under way. */
import type { Digest } from '../../../src/oci/digest.ts';
import type { Rows } from './rows.ts';

/** Two images that clients push here, and one that others push to the upstream. */
export const A = 'sha256:a' as Digest;
export const B = 'sha256:b' as Digest;
export const X = 'sha256:x' as Digest;

/** A push of the tag. Its id is its place, counted from 1, and the id of its row. */
export interface Push {
  readonly digest: Digest;
  readonly request: 'noted' | 'committed' | 'ended';
  /** The store's clock when it was noted. */
  readonly notedAt: number;
  /** The version of its commit; 0 if there is none yet. */
  readonly version: number;
  /** Why the push need not reach the upstream that the mirror has now; null if it still has to. */
  readonly end: null | 'reached' | 'settled before' | 'dropped with the tag';
  /** Whether a deletion that began after its request has deleted it. */
  readonly isDeleted: boolean;
}

export interface Write {
  readonly version: number;
  /** Null for a deletion of the tag. */
  readonly digest: Digest | null;
  readonly by: 'client' | 'mirror' | 'other mirror';
}

export interface Store {
  readonly clock: number;
  /** The tag's writes, the last one last. */
  readonly writes: readonly Write[];
  /** The version of the deletion of A; 0 for none. */
  readonly deletedA: number;
  readonly collected: readonly Digest[];
}

export interface Upstream {
  /** Counts the changes of the mirror. */
  readonly epoch: number;
  /** Counts the writes of the tag. */
  readonly writes: number;
  readonly tag: Digest | null;
  /** The version of the push that wrote the tag; null if somebody else did. */
  readonly by: number | null;
  readonly manifests: readonly Digest[];
  readonly blobs: readonly Digest[];
}

/** The upstream's tag, as it was after a number of writes. */
export type Seen = Pick<Upstream, 'tag' | 'writes'>;

/** The tag as the mirror knows it. */
export interface Known extends Seen {
  /** The store's clock when the mirror took note. */
  readonly notedAt: number;
}

/** The step of a push that is under way. */
export type Carrier =
  | { readonly id: number; readonly step: 'look'; readonly version: number | null }
  | ({ readonly step: 'copy'; readonly hasBlobs: boolean } & Carried)
  | ({ readonly step: 'put' | 'taken' } & Carried)
  | { readonly id: number; readonly step: 'verify'; readonly epoch: number; readonly seen: Seen };

interface Carried {
  readonly id: number;
  readonly version: number;
  /** That of the upstream when the step began. */
  readonly epoch: number;
}

export interface Deletion {
  readonly of: 'tag' | Digest;
  readonly step: 'begun' | 'taken' | 'here';
  /** The pushes whose requests had ended before it. */
  readonly before: readonly number[];
  /** The noted pushes that were found to be committed when it began, with their versions. */
  readonly committed: readonly (readonly [id: number, version: number])[];
  /** The upstream's writes once it has deleted the tag; 0 if it has not. */
  readonly writes: number;
}

export interface State {
  /** Counts two for each push, deletion, change of the mirror or write of others, and one for each question. */
  readonly effort: number;
  readonly pushes: readonly Push[];
  readonly rows: Rows;
  readonly store: Store;
  readonly upstream: Upstream;
  readonly known: Known | null;
  /** The image that is to be stored under the tag. */
  readonly due: Digest | null;
  /** A question about the tag under way, and what it has found. */
  readonly question: { readonly seen: Seen; readonly before: Digest | null; readonly isLatest: boolean } | null;
  /** A write of the mirror's own to the store, under way: a digest for the tag, or its removal if it has that one. */
  readonly storing: { readonly removes: boolean; readonly digest: Digest } | null;
  readonly carrier: Carrier | null;
  readonly deletion: Deletion | null;
  /** The upstream's writes when it last showed a change of this registry. */
  readonly own: number;
}

export const START: State = {
  effort: 0,
  pushes: [],
  rows: [],
  store: { clock: 0, writes: [], deletedA: 0, collected: [] },
  upstream: { epoch: 0, writes: 1, tag: X, by: null, manifests: [X], blobs: [X] },
  known: null,
  due: null,
  question: null,
  storing: null,
  carrier: null,
  deletion: null,
  own: 0,
};

export const MOST_EFFORT = 6;

export type To = (name: string, change: Partial<State>) => void;

/** Writes the tag in the store. */
export function written(store: Store, digest: Digest | null, by: Write['by']): Store {
  const version = store.clock + 1;
  const collected = store.collected.filter((each) => each !== digest);
  return { ...store, clock: version, writes: [...store.writes, { version, digest, by }], collected };
}

export function isAlive({ writes, deletedA }: Store, digest: Digest): boolean {
  const pushed = writes.findLast((write) => write.digest === digest)?.version ?? 0;
  return pushed > (digest === A ? deletedA : 0);
}

/** Returns the digest that the store shows for the tag; null for none. */
export function shownAt(store: Store): Digest | null {
  const digest = store.writes.at(-1)?.digest ?? null;
  return digest !== null && isAlive(store, digest) ? digest : null;
}

/** Writes the tag at the upstream. The same push again is no other write. */
export function moved(upstream: Upstream, digest: Digest | null, by: number | null): Upstream {
  const { manifests } = upstream;
  return {
    ...upstream,
    writes: upstream.tag === digest && upstream.by === by ? upstream.writes : upstream.writes + 1,
    tag: digest,
    by,
    manifests: digest === null || manifests.includes(digest) ? manifests : [...manifests, digest],
  };
}

export function withPush({ pushes }: Pick<State, 'pushes'>, id: number, change: Partial<Push>): State['pushes'] {
  return pushes.map((push, i) => (i === id - 1 ? { ...push, ...change } : push));
}

/** Notes what became of a commit, whichever row stands for it: two pushes of one image may be taken for each other. */
export function withEnd({ pushes }: Pick<State, 'pushes'>, version: number, end: Push['end']): State['pushes'] {
  return pushes.map((push) => (push.version === version ? { ...push, end } : push));
}

/** Returns the question under way after this registry has changed the tag at the upstream. */
export function outdated({ question }: State, mistake: string | undefined): State['question'] {
  return question && { ...question, isLatest: mistake === 'late-answer' && question.isLatest };
}

/** Returns the rows, and what is to be stored after a push was withdrawn. */
export function released({ rows, known, due }: State, left: Rows): Pick<State, 'rows' | 'due'> {
  return { rows: left, due: left.length < rows.length ? (known?.tag ?? due) : due };
}

/** Returns the rows. If one of these is gone, the tag is asked for again. */
export function forgotten(state: State, left: Rows, ids: readonly number[], mistake: string | undefined) {
  const isSame = ids.every((id) => left.some((row) => row.id === id));
  return isSame ? { rows: left } : { rows: left, known: null, question: outdated(state, mistake) };
}

/** Returns whether the mirror's Durable Object is deleting at the upstream. */
export function isDeleting({ deletion }: State): boolean {
  return deletion?.step === 'begun' || deletion?.step === 'taken';
}
