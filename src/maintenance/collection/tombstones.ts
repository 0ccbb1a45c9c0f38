/**
 * Forgets deletions that every store has applied: central's first, then each node's. See `tombstone-rows.ts`.
 */
import { versionOf } from '../../stores/clock.ts';
import { forgetRemoval, knownRemovals, removalsAfter } from './forgotten-removals.ts';
import type { Store } from '../../stores/store.ts';
import {
  deleteHiddenTags,
  forgetDeletions,
  forgetEmptyRepositories,
  forgetTags,
  knownDeletions,
  knownTags,
  type ManifestDeletion,
  manifestDeletions,
  stripDeleted,
  type TagTombstone,
  tagTombstones,
  type TombstonePosition,
} from './tombstone-rows.ts';
import type { MaintenanceContext } from '../context.ts';
import type { Slice, Task } from '../round.ts';
import { answerOf } from '../stopped.ts';

/** Rows that one slice looks at. */
const ROWS = 200;

interface Position extends TombstonePosition {
  readonly phase: 'manifests' | 'tags' | 'removals';
}

const START: Position = { phase: 'manifests', version: -1, repository: '', key: '' };

export const tombstones: Task = {
  name: 'tombstones',
  at: 'every store',
  every: ({ graceMilliseconds }) => graceMilliseconds / 4,
  async slice(context, store, { position }) {
    const from: Position = position === '' ? START : JSON.parse(position);
    const until = versionOf(context.now() - context.graceMilliseconds);
    const before = await leastVersionFor(context, store);
    switch (from.phase) {
      case 'manifests': {
        const page = await manifestDeletions(store.database, from, until, ROWS);
        const counts = {
          forgotten_deletions: page.length === 0 ? 0 : await forgetManifests(context, store, page, before),
        };
        const end = page
          .map(({ deleted: version, repository, digest: key }) => ({ version, repository, key }))
          .at(ROWS - 1);
        return { position: positionAt(end === undefined ? { phase: 'tags' } : { phase: 'manifests', ...end }), counts };
      }
      case 'tags': {
        const page = await tagTombstones(store.database, from, until, ROWS);
        const counts = {
          forgotten_deletions: page.length === 0 ? 0 : await forgetTagTombstones(context, store, page, before),
        };
        const end = page.map(({ version, repository, name: key }) => ({ version, repository, key })).at(ROWS - 1);
        return { position: positionAt(end === undefined ? { phase: 'removals' } : { phase: 'tags', ...end }), counts };
      }
      case 'removals':
        return forgetRemovals(context, store, from.key, until, before);
    }
  },
};

function positionAt(start: Partial<Position>): string {
  return JSON.stringify({ ...START, ...start });
}

/**
 * Returns the least version of the changes that may still be under way to a store: at central those of every node, at a
 * node its own.
 */
async function leastVersionFor({ central, nodes, lag }: MaintenanceContext, store: Store): Promise<number> {
  const from = store === central ? nodes : [store];
  return Math.min(...(await Promise.all(from.map((node) => lag.leastVersion(node)))), Number.MAX_SAFE_INTEGER);
}

/** Works on the first removal that is due, for one slice. Removals that are not due stay. */
async function forgetRemovals(
  { central, nodes }: MaintenanceContext,
  store: Store,
  last: string,
  until: number,
  before: number,
): Promise<Slice> {
  const isCentral = store === central;
  const nodeNames = isCentral ? nodes.map(({ name }) => name) : [];
  const page = await removalsAfter(store.database, last, ROWS, until, before, nodeNames);
  const names = page.filter(({ due }) => due === 1).map(({ name }) => name);
  const known = isCentral ? new Set() : await answerOf("central's database", knownRemovals(central.database, names));
  const removal = page.find(({ name, due }) => due === 1 && !known.has(name));
  if (removal === undefined) {
    const end = page.at(ROWS - 1)?.name;
    return { position: end === undefined ? undefined : positionAt({ phase: 'removals', key: end }) };
  }
  const isForgotten = await forgetRemoval(store.database, removal);
  return {
    position: positionAt({ phase: 'removals', key: last }),
    counts: { forgotten_deletions: isForgotten ? 1 : 0 },
  };
}

/** Returns how many deletions it forgot. */
async function forgetManifests(
  { central, nodes, now }: MaintenanceContext,
  store: Store,
  page: readonly ManifestDeletion[],
  before: number,
): Promise<number> {
  const isCentral = store === central;
  const known = isCentral ? [] : await answerOf("central's database", knownDeletions(central.database, page));
  const stillKnown = new Set(known.map(({ repository, digest }) => `${repository}@${digest}`));
  const due = page.filter(({ repository, digest }) => !stillKnown.has(`${repository}@${digest}`));
  const { forgotten } = await store.database.batch({
    strip: stripDeleted(page),
    hiddenTags: deleteHiddenTags(due, central.name, isCentral, now()),
    forgotten: forgetDeletions(due, isCentral ? nodes.map(({ name }) => name) : [], before),
    repositories: isCentral ? [] : [forgetEmptyRepositories(page.map(({ repository }) => repository))],
  });
  return forgotten.length;
}

/** Returns how many tombstones it forgot. */
async function forgetTagTombstones(
  { central, nodes }: MaintenanceContext,
  store: Store,
  page: readonly TagTombstone[],
  before: number,
): Promise<number> {
  const isCentral = store === central;
  const known = isCentral ? [] : await answerOf("central's database", knownTags(central.database, page));
  const isDeletedAtCentral = new Map(known.map((tag) => [nameOf(tag), tag.deleted === 1]));
  const due = page.filter((tag) => isDeletedAtCentral.get(nameOf(tag)) !== true);
  const withHistory = due.filter((tag) => !isDeletedAtCentral.has(nameOf(tag)));
  const { forgotten } = await store.database.batch({
    forgotten: forgetTags(due, isCentral ? nodes.map(({ name }) => name) : [], before, withHistory),
    repositories: isCentral ? [] : [forgetEmptyRepositories(page.map(({ repository }) => repository))],
  });
  return forgotten.length;
}

function nameOf({ repository, name }: Pick<TagTombstone, 'repository' | 'name'>): string {
  return `${repository}:${name}`;
}
