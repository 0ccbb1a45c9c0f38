/**
 * Compares the objects in a store's bucket with the rows that name them, in both directions, once a day.
 *
 * | object | row | what happens                                                                                      |
 * |--------|-----|---------------------------------------------------------------------------------------------------|
 * | no     | yes | the object is looked up once more by its key; if it is missing, its location is marked as damaged |
 * | yes    | no  | an orphan, once it is older than an hour; deleted when no database restore can name it again      |
 *
 * A slice lists a range of keys first and walks the rows of that range second. So an object that has just been written
 * is not in the list, and an object in the list had its row before the walk. A copy between stores that still waits for
 * its row can be taken for an orphan. That does no harm: an orphan's age counts from when it was first seen, every
 * round checks again, and an object that a row names by then is not deleted (`orphan-rows.ts`).
 */
import { DAY, HOUR, MINUTE } from '../../durations.ts';
import { logLine } from '../../log.ts';
import type { ListedObject } from '../../stores/bucket.ts';
import { beginDeleting, forgetOrphans, insertOrphans, orphansBetween } from './orphan-rows.ts';
import { namedKeys, type NamedKey, otherKeys } from './scrub-rows.ts';
import type { Store } from '../../stores/store.ts';
import type { MaintenanceContext } from '../context.ts';
import type { Task } from '../round.ts';
import { answerOf } from '../stopped.ts';
import { noteDamage } from './damage.ts';

/**
 * Keys of one slice, all held in memory. Only one store is compared at a time. Each slice walks all locations, so a few
 * large slices cost least.
 */
const KEYS_PER_SLICE = 100_000;

/** Requests to R2 about single objects in one slice. A whole run may make 10,000. */
const MISSING_PER_SLICE = 1000;

/** An object younger than this may belong to a request that has yet to write its row. */
const YOUNG_MILLISECONDS = HOUR;

const HEADS_AT_ONCE = 6;
/** R2 deletes at most this many keys in one call. As a list, they are far below the 2 MB of a D1 parameter. */
const KEYS_PER_STATEMENT = 1000;

export const comparison: Task = {
  name: 'comparison',
  at: 'every store',
  every: () => DAY,
  alone: 10 * MINUTE,
  async slice(context, store, { position }) {
    // All orphans are kept if the configuration does not collect.
    const keptMilliseconds = context.collects ? context.orphanMilliseconds : Infinity;
    const { end, orphans, deleted } = await compareSlice(context, store, position, context.now() - keptMilliseconds);
    if (orphans + deleted > 0) logLine({ comparison: store.name, orphans, deleted });
    return { position: end === '' ? undefined : end, counts: { orphans_found: orphans, orphans_deleted: deleted } };
  },
};

interface Compared {
  /** The last key of the slice; '' at the end of the round. */
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
  for (const keys of chunksOf(gone)) await store.database.batch(forgetOrphans(keys));
  return { end, orphans, deleted };
}

/** Lists objects after the key `after` until the slice is full or time runs out, but at least one page. */
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

/**
 * Marks locations whose object is missing as damaged, up to a limit. Returns where the slice ends, which is earlier if
 * there were more.
 */
async function noteMissing(
  context: MaintenanceContext,
  store: Store,
  missing: readonly NamedKey[],
  end: string,
): Promise<string> {
  const sorted = missing.toSorted((a, b) => (a.key < b.key ? -1 : 1));
  const asked = sorted.slice(0, MISSING_PER_SLICE);
  const gone: NamedKey[] = [];
  for (let i = 0; i < asked.length; i += HEADS_AT_ONCE) {
    await Promise.all(
      asked.slice(i, i + HEADS_AT_ONCE).map(async (row) => {
        if (!(await store.bucket.exists(row.key))) gone.push(row);
      }),
    );
  }
  if (gone.length > 0) await noteDamage(context, store, gone, 'missing');
  return asked.length < sorted.length ? (asked.at(-1)?.key ?? end) : end;
}

/** Records objects that no row names as orphans. Returns how many are new. */
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

/** Deletes orphans that are due: marks the rows, deletes the objects, then the rows. Returns how many it deleted. */
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
    await store.database.batch(forgetOrphans(keys));
    deleted += keys.length;
  }
  return deleted;
}

/**
 * Returns those of a node's keys that central's rows name. The node may not know them, if its database was restored to
 * a moment before they were written.
 */
async function namedAtCentral(
  { central }: MaintenanceContext,
  store: Store,
  keys: readonly string[],
): Promise<ReadonlySet<string>> {
  if (store === central) return new Set();
  return answerOf("central's database", namedAmong(central, store, new Set(keys)));
}

async function namedAmong(central: Store, store: Store, keys: ReadonlySet<string>): Promise<ReadonlySet<string>> {
  const named = new Set<string>();
  for await (const rows of namedKeys(central.database, store.name, '', '')) {
    for (const { key } of rows) if (keys.has(key)) named.add(key);
  }
  return named;
}

function chunksOf<Item>(items: readonly Item[]): Item[][] {
  return Array.from({ length: Math.ceil(items.length / KEYS_PER_STATEMENT) }, (_, i) =>
    items.slice(i * KEYS_PER_STATEMENT, (i + 1) * KEYS_PER_STATEMENT),
  );
}
