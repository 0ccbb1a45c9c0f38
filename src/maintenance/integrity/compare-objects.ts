/**
 * Compares what lies in a store's bucket with what its rows name, in both directions, once a day.
 *
 * | object | row | what happens                                                                                           |
 * |--------|-----|--------------------------------------------------------------------------------------------------------|
 * | no     | yes | asked for by its key once more, then its location is damaged                                           |
 * | yes    | no  | an orphan, once it is older than an hour; deleted after as long as the database can be restored to     |
 *
 * A slice lists a range of keys and then walks the rows for it, in that order: an object that has just been written is
 * not in the list, and one that is in the list has had its row before the walk. That an object is an orphan can still
 * be wrong, of a copy between stores that waits for its row; nothing comes of it: an orphan's age counts from when it
 * was first seen, every round asks again, and who names it then (`orphan-rows.ts`) keeps it from being deleted.
 */
import { DAY, HOUR, MINUTE } from '../../durations.ts';
import { logLine } from '../../log.ts';
import type { ListedObject } from '../../stores/bucket.ts';
import { beginDeleting, forgetOrphans, insertOrphans, orphansBetween } from './orphan-rows.ts';
import { namedKeys, type NamedKey, otherKeys } from './scrub-rows.ts';
import type { Store } from '../../stores/store.ts';
import type { MaintenanceContext } from '../context.ts';
import type { Task } from '../round.ts';
import { noteDamage } from './damage.ts';

/**
 * Keys of one slice: what is held in memory at once, of one store, since one is compared at a time. Each slice walks
 * all locations, so few large ones cost least.
 */
const KEYS_PER_SLICE = 100_000;

/** Requests to R2 about single objects in one slice: all that a run may make are 10,000. */
const MISSING_PER_SLICE = 1000;

/** A younger object may be of a request that has yet to write its row. */
const YOUNG_MILLISECONDS = HOUR;

const HEADS_AT_ONCE = 6;
/** R2 deletes so many keys a call; as a list they are far from the 2 MB that D1 takes as a parameter. */
const KEYS_PER_STATEMENT = 1000;

export const comparison: Task = {
  name: 'comparison',
  at: 'every store',
  every: () => DAY,
  alone: 10 * MINUTE,
  async slice(context, store, { position }) {
    // Where the configuration does not collect, all orphans are kept.
    const keptMilliseconds = context.collects ? context.orphanMilliseconds : Infinity;
    const { end, orphans, deleted } = await compareSlice(context, store, position, context.now() - keptMilliseconds);
    if (orphans + deleted > 0) logLine({ comparison: store.name, orphans, deleted });
    return { position: end === '' ? undefined : end, counts: { orphans_found: orphans, orphans_deleted: deleted } };
  },
};

interface Compared {
  /** The last key of the slice; '' for the end of the round. */
  readonly end: string;
  readonly orphans: number;
  readonly deleted: number;
}

async function compareSlice(
  context: MaintenanceContext,
  store: Store,
  after: string,
  firstSeenBy: number,
): Promise<Compared> {
  const listed = await list(context, store, after);
  const others = new Set(await otherKeys(store.database, after, listed.end));
  const missing: NamedKey[] = [];
  for await (const rows of namedKeys(store.database, store.name, after, listed.end)) {
    for (const row of rows) {
      if (!listed.objects.has(row.key) && row.damage === null) missing.push(row);
      others.add(row.key);
    }
  }
  for (const key of await otherKeys(store.database, after, listed.end)) others.add(key);
  const end = await noteMissing(context, store, missing, listed.end);
  const unnamed = [...listed.objects.values()].filter(({ key }) => (end === '' || key <= end) && !others.has(key));
  const known = await orphansBetween(store.database, after, end);
  const orphans = await noteOrphans(context, store, unnamed, known);
  const here = new Set(unnamed.map(({ key }) => key));
  const due = [...known].flatMap(([key, firstSeen]) => (here.has(key) && firstSeen <= firstSeenBy ? [key] : []));
  const deleted = await deleteOrphans(context, store, due, firstSeenBy);
  const gone = [...known.keys()].filter((key) => !here.has(key));
  for (const keys of chunksOf(gone)) await store.database.batch([forgetOrphans(keys)]);
  return { end, orphans, deleted };
}

/** Objects from `after` on: as many as fit into a slice, and for as long as there is time, but always some. */
async function list(
  { mayGoOn }: MaintenanceContext,
  { bucket }: Store,
  after: string,
): Promise<{ readonly objects: ReadonlyMap<string, ListedObject>; readonly end: string }> {
  const objects = new Map<string, ListedObject>();
  for (let from = after; ;) {
    const page = await bucket.list(from);
    for (const object of page.objects) objects.set(object.key, object);
    const last = page.objects.at(-1)?.key;
    if (!page.more || last === undefined) return { objects, end: '' };
    if (objects.size >= KEYS_PER_SLICE || !mayGoOn()) return { objects, end: last };
    from = last;
  }
}

/** Marks locations whose object is not there; of very many, the first. Answers where the slice ends, then. */
async function noteMissing(
  context: MaintenanceContext,
  store: Store,
  missing: readonly NamedKey[],
  end: string,
): Promise<string> {
  const sorted = missing.toSorted((a, b) => (a.key < b.key ? -1 : 1));
  const asked = sorted.slice(0, MISSING_PER_SLICE);
  for (let i = 0; i < asked.length; i += HEADS_AT_ONCE) {
    await Promise.all(
      asked.slice(i, i + HEADS_AT_ONCE).map(async (row) => {
        if (!(await store.bucket.exists(row.key))) await noteDamage(context, store, row, 'missing');
      }),
    );
  }
  return asked.length < sorted.length ? (asked.at(-1)?.key ?? end) : end;
}

/** Answers how many are new. */
async function noteOrphans(
  { now }: MaintenanceContext,
  { database }: Store,
  unnamed: readonly ListedObject[],
  known: ReadonlyMap<string, number>,
): Promise<number> {
  const found = unnamed.filter(({ key, uploaded }) => uploaded <= now() - YOUNG_MILLISECONDS && !known.has(key));
  for (const orphans of chunksOf(found)) await database.batch([insertOrphans(orphans, now())]);
  return found.length;
}

/** First the mark, then the objects, then the rows. Answers how many. */
async function deleteOrphans(
  context: MaintenanceContext,
  store: Store,
  due: readonly string[],
  firstSeenBy: number,
): Promise<number> {
  if (due.length === 0) return 0;
  const kept = await namedAtCentral(context, store, due);
  let deleted = 0;
  for (const asked of chunksOf(due.filter((key) => !kept.has(key)))) {
    const keys = await beginDeleting(store.database, asked, firstSeenBy);
    await store.bucket.delete(keys);
    await store.database.batch([forgetOrphans(keys)]);
    deleted += keys.length;
  }
  return deleted;
}

/** Objects of a node that only central's rows name: its own database was restored to before they were written. */
async function namedAtCentral(
  { central }: MaintenanceContext,
  store: Store,
  keys: readonly string[],
): Promise<ReadonlySet<string>> {
  if (store === central) return new Set();
  const asked = new Set(keys);
  const named = new Set<string>();
  for await (const rows of namedKeys(central.database, store.name, '', '')) {
    for (const { key } of rows) if (asked.has(key)) named.add(key);
  }
  return named;
}

function chunksOf<Item>(items: readonly Item[]): Item[][] {
  return Array.from({ length: Math.ceil(items.length / KEYS_PER_STATEMENT) }, (_, i) =>
    items.slice(i * KEYS_PER_STATEMENT, (i + 1) * KEYS_PER_STATEMENT),
  );
}
