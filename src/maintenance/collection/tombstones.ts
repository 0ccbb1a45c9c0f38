/** Forgetting deletions that everyone has heard of: central's first, then those of each node. See `tombstone-rows.ts`. */
import { stampOf } from '../../stores/clock.ts';
import { countMaintenance } from '../task-rows.ts';
import { forgetRemoval, knownRemovals, removalsAfter } from './forgotten-removals.ts';
import { leastStamp } from '../../stores/outbox-rows.ts';
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
import type { GcContext } from '../context.ts';
import { answerOf, goRound, type Slice } from '../round.ts';

const ROWS = 200;

interface Position extends TombstonePosition {
  readonly phase: 'manifests' | 'tags' | 'removals';
}

const START: Position = { phase: 'manifests', version: -1, repository: '', key: '' };

/** Forgets until rounds end, something stops them, or there is no more time. Can be killed anywhere, and repeated. */
export async function collectTombstones(context: GcContext): Promise<void> {
  const { central, nodes, graceMilliseconds } = context;
  const every = graceMilliseconds / 4;
  const changes = new WaitingChanges(context);
  await goRound(central, 'tombstones', every, context, async (position) => {
    const waiting = await Promise.all(nodes.map((node) => changes.least(node)));
    return forgetSlice(context, central, position, Math.min(...waiting, Number.MAX_SAFE_INTEGER));
  });
  const rounds = nodes.map((node) =>
    goRound(node, 'tombstones', every, context, async (position) =>
      forgetSlice(context, node, position, await changes.least(node)),
    ),
  );
  // A node that is away keeps none of the others waiting.
  await Promise.allSettled(rounds);
  await Promise.all(rounds);
}

/**
 * The oldest changes that central has not heard of: what was deleted after them is still asked for.
 *
 * Finding one reads all markers of its node, so it is good for g / 8. A change that is made meanwhile has a stamp of then,
 * and what is forgotten is older than that by g; one that is announced meanwhile keeps for longer what it might have needed.
 */
class WaitingChanges {
  readonly #context: GcContext;
  readonly #read = new Map<Store, { readonly at: number; readonly stamp: Promise<number> }>();

  constructor(context: GcContext) {
    this.#context = context;
  }

  /** The stamp of a node's oldest; the greatest number for none. @throws Stopped */
  async least(node: Store): Promise<number> {
    const { now, graceMilliseconds } = this.#context;
    const at = now();
    const read = this.#read.get(node);
    if (read !== undefined && at >= read.at && at < read.at + graceMilliseconds / 8) return read.stamp;
    const asked = answerOf(`the database of ${node.name}`, leastStamp(node.database));
    const stamp = asked.then((least) => least ?? Number.MAX_SAFE_INTEGER);
    this.#read.set(node, { at, stamp });
    return stamp;
  }
}

async function forgetSlice(context: GcContext, store: Store, position: string, before: number): Promise<Slice> {
  const from: Position = position === '' ? START : JSON.parse(position);
  const until = stampOf(context.now() - context.graceMilliseconds);
  if (from.phase === 'manifests') {
    const page = await manifestDeletions(store.database, from, until, ROWS);
    if (page.length > 0) await forgetManifests(context, store, page, before);
    const last = page.at(-1);
    if (page.length < ROWS || last === undefined) return { position: JSON.stringify({ ...START, phase: 'tags' }) };
    const next = { phase: 'manifests', version: last.deleted, repository: last.repository, key: last.digest };
    return { position: JSON.stringify(next) };
  }
  if (from.phase === 'removals') return forgetRemovals(context, store, from.key, until, before);
  const page = await tagTombstones(store.database, from, until, ROWS);
  if (page.length > 0) await forgetTagTombstones(context, store, page, before);
  const last = page.at(-1);
  if (page.length < ROWS || last === undefined) return { position: JSON.stringify({ ...START, phase: 'removals' }) };
  return { position: JSON.stringify({ phase: 'tags', version: last.version, repository: last.repository, key: last.name }) };
}

/** The first that is due, as far as one slice goes. Those that are not stay. */
async function forgetRemovals(
  { central, nodes }: GcContext,
  store: Store,
  last: string,
  until: number,
  before: number,
): Promise<Slice> {
  const isCentral = store === central;
  const followers = isCentral ? nodes.map(({ name }) => name) : [];
  const page = await removalsAfter(store.database, last, ROWS, until, before, followers);
  const names = page.filter(({ due }) => due === 1).map(({ name }) => name);
  const known = isCentral ? new Set() : await answerOf("central's database", knownRemovals(central.database, names));
  const removal = page.find(({ name, due }) => due === 1 && !known.has(name));
  if (removal === undefined) {
    const end = page.length < ROWS ? undefined : page.at(-1)?.name;
    return { position: end === undefined ? undefined : JSON.stringify({ ...START, phase: 'removals', key: end }) };
  }
  if (await forgetRemoval(store.database, removal)) await store.database.batch([countMaintenance('forgotten_deletions', 1)]);
  return { position: JSON.stringify({ ...START, phase: 'removals', key: last }) };
}

async function forgetManifests(
  { central, nodes, now }: GcContext,
  store: Store,
  page: readonly ManifestDeletion[],
  before: number,
): Promise<void> {
  const isCentral = store === central;
  const known = isCentral ? [] : await answerOf("central's database", knownDeletions(central.database, page));
  const stillKnown = new Set(known.map(({ repository, digest }) => `${repository}@${digest}`));
  const due = page.filter(({ repository, digest }) => !stillKnown.has(`${repository}@${digest}`));
  const results = await store.database.batch<object[]>([
    ...stripDeleted(page),
    ...deleteHiddenTags(due, central.name, isCentral, now()),
    ...forgetDeletions(due, isCentral ? nodes.map(({ name }) => name) : [], before),
    ...(isCentral ? [] : [forgetEmptyRepositories(page.map(({ repository }) => repository))]),
  ]);
  const forgotten = results.slice(isCentral ? -2 : -3, isCentral ? undefined : -1).flat().length;
  if (forgotten > 0) await store.database.batch([countMaintenance('forgotten_deletions', forgotten)]);
}

async function forgetTagTombstones(
  { central, nodes }: GcContext,
  store: Store,
  page: readonly TagTombstone[],
  before: number,
): Promise<void> {
  const isCentral = store === central;
  const known = isCentral ? [] : await answerOf("central's database", knownTags(central.database, page));
  const ofCentral = new Map(known.map((tag) => [nameOf(tag), tag.deleted === 1]));
  const due = page.filter((tag) => ofCentral.get(nameOf(tag)) !== true);
  const withHistory = due.filter((tag) => !ofCentral.has(nameOf(tag)));
  const [forgotten] = await store.database.batch<[object]>([
    ...forgetTags(due, isCentral ? nodes.map(({ name }) => name) : [], before, withHistory),
    ...(isCentral ? [] : [forgetEmptyRepositories(page.map(({ repository }) => repository))]),
  ]);
  if (forgotten.length > 0) await store.database.batch([countMaintenance('forgotten_deletions', forgotten.length)]);
}

function nameOf({ repository, name }: Pick<TagTombstone, 'repository' | 'name'>): string {
  return `${repository}:${name}`;
}
