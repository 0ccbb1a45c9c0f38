/**
 * A node's links to a blob, some of them on central's word, while the repository is removed and pushed again:
 * `stores/promised-links.ts`, `stores/deletion/removals.ts` and `sweep-rows.ts`. Central's yes can arrive at any time.
 *
 * Every move takes one tick, and all clocks are equal. If the node's clock is ahead of central's, a link stays if the
 * node asked for it less than that lead before a removal; so the model leaves skewed clocks out.
 */
import type { RepositoryName } from '../../src/oci/reference.ts';
import { linksDeadUntil } from '../../src/stores/deletion/removals.ts';
import { VERSIONS_PER_MILLISECOND } from '../../src/stores/clock.ts';
import type { SmallModel } from './small-model.ts';

const REPOSITORY = 'a/b' as RepositoryName;
const TICKS = 9;

/** A link, or central's yes to one. */
interface Link {
  /** When it was made, or asked for. */
  readonly at: number;
  /** The number of removals that central had made then. */
  readonly removals: number;
}

interface State {
  readonly now: number;
  readonly central: { readonly linked: boolean; readonly removedAt: readonly number[] };
  readonly node: {
    readonly link: Link | null;
    /** The number of central's removals that it has merged. */
    readonly merged: number;
    readonly deadUntil: number;
    readonly swept: boolean;
  };
  /** Central's yes, under way. */
  readonly yes: Link | null;
}

type Moves = (readonly [string, State])[];

function moves(state: State, mistake: string | undefined): Moves {
  if (state.now === TICKS) return [];
  const now = state.now + 1;
  const { central, node, yes } = state;
  const reached: Moves = [];
  const to = (name: string, change: Partial<State>): void => void reached.push([name, { ...state, now, ...change }]);

  if (!central.linked) to('central: push', { central: { ...central, linked: true } });
  if (central.removedAt.length < 2)
    to('central: remove', { central: { linked: false, removedAt: [...central.removedAt, now] } });
  if (central.linked && yes === null)
    to('node: ask central, which says yes', { yes: { at: now, removals: central.removedAt.length } });
  to('node: push', { node: { ...node, link: { at: now, removals: central.removedAt.length } } });
  if (yes !== null) {
    const at = mistake === 'dated-late' ? now : yes.at;
    const isLate = node.deadUntil >= at && mistake !== 'late-link';
    to('node: the yes arrives', { yes: null, node: isLate ? node : { ...node, link: { ...yes, at } } });
    to('node: the yes is lost', { yes: null });
  }
  const recordedAt = central.removedAt[node.merged];
  if (recordedAt !== undefined) {
    const removal = { name: REPOSITORY, version: recordedAt * VERSIONS_PER_MILLISECOND };
    const deadUntil = Math.max(node.deadUntil + 1, linksDeadUntil(removal, now, recordedAt));
    to('node: merge a removal', { node: { ...node, merged: node.merged + 1, deadUntil, swept: false } });
  }
  if (!node.swept) {
    const left = node.link !== null && node.link.at > node.deadUntil ? node.link : null;
    to('node: sweep', { node: { ...node, swept: true, link: left } });
  }
  return reached;
}

function violation({ node: { link, merged, deadUntil, swept } }: State): string | undefined {
  const isAlive = link !== null && (swept || link.at > deadUntil);
  if (!isAlive || link.removals >= merged) return undefined;
  return `resurrection: the node has a link from before a removal that it has merged (${merged})`;
}

export const PROMISED_LINKS: SmallModel<State> = {
  name: 'links on the word of central',
  start: {
    now: 0,
    central: { linked: true, removedAt: [] },
    node: { link: null, merged: 0, deadUntil: 0, swept: true },
    yes: null,
  },
  moves,
  violation,
  mistakes: {
    'late-link': 'a late yes writes a link whatever was removed since',
    'dated-late': 'a link has the time at which the yes arrives',
  },
};
