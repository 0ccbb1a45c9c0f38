/**
 * Compares the objects in a store's bucket with the rows that name them, in both directions, once a day.
 *
 * | object | row | what happens                                                                                      |
 * |--------|-----|---------------------------------------------------------------------------------------------------|
 * | no     | yes | the object is looked up once more by its key; if it is missing, its location is marked as damaged |
 * | yes    | no  | an orphan, once it is older than an hour; deleted when no database restore can name it again      |
 *
 * The task lists a range of keys first, and then walks the rows that may name one of them. So an object that has just
 * been written is not in the list, and an object in the list had its row before the walk. A copy between stores that
 * still waits for its row can be taken for an orphan. That does no harm: an orphan's age counts from when it was first
 * seen, every round checks again, and an object that a row names by then is not deleted (`orphan-rows.ts`).
 *
 * A large store's rows take several slices. Between slices, the position records which objects have a row, and each
 * slice lists the range again. Objects that were young when the walk began are left to the next round.
 */
import { DAY, HOUR, MINUTE } from '../../durations.ts';
import { logLine } from '../../log.ts';
import type { ListedObject } from '../../stores/bucket.ts';
import type { Store } from '../../stores/store.ts';
import type { MaintenanceContext } from '../context.ts';
import type { Slice, Task } from '../round.ts';
import { answerOf } from '../stopped.ts';
import { noteDamage } from './damage.ts';
import { KeySet } from './key-set.ts';
import { deleteLateParts } from './late-parts.ts';
import { type KeyRange, type NamedKey, namedLocations, otherKeys, type RowPosition } from './named-keys.ts';
import { beginDeleting, forgetOrphans, insertOrphans, orphansBetween } from './orphan-rows.ts';

/**
 * Keys of one range, all held in memory. Only one store is compared at a time. Each range walks all locations, so a few
 * large ones cost least.
 */
const KEYS_PER_RANGE = 50_000;

/** Pages of rows that one slice walks. */
const PAGES_PER_SLICE = 50;

/** Requests to R2 about missing objects in one slice. A whole run may make 10,000. */
const MISSING_PER_SLICE = 1000;

/** Orphans that one slice records, deletes or forgets. */
const CHANGES_PER_SLICE = 20_000;

/** An object younger than this may belong to a request that has yet to write its row. */
const YOUNG_MILLISECONDS = HOUR;

const HEADS_AT_ONCE = 6;
/** R2 deletes at most this many keys in one call. As a list, they are far below the 2 MB of a D1 parameter. */
const KEYS_PER_STATEMENT = 1000;

/**
 * The tables in the order of the walk. The other tables come both before and after the locations, so that no key that
 * moves between them is missed. Central's locations are walked only if an orphan of a node is due: if the node's
 * database was restored to an earlier moment, central alone may have the row that names the object.
 */
const WALK = [
  'uploads',
  'upload_chunks',
  'delete_queue',
  'locations',
  'uploads',
  'upload_chunks',
  'delete_queue',
  "central's locations",
] as const;
const AT_CENTRAL = WALK.length - 1;

/** The position between slices. */
interface Saved {
  /** The last key of the range before. */
  readonly after: string;
  /** Set while the rows of a range are walked. */
  readonly walk?: SavedWalk;
}

interface SavedWalk {
  readonly to: string;
  readonly began: number;
  readonly step: number;
  readonly from: RowPosition | undefined;
  readonly named: string;
  readonly namedAtCentral: string;
}

/** The walk of a range's rows. */
interface Walk {
  readonly range: KeyRange;
  /** When the range was first listed, in milliseconds since the epoch. */
  readonly began: number;
  /** An index into {@link WALK}. */
  step: number;
  /** The start of the next page; undefined for the first page of the step. */
  from: RowPosition | undefined;
  /** Holds no keys of missing objects, however many rows name one, because the position has to stay small. */
  readonly named: KeySet;
  readonly namedAtCentral: KeySet;
}

export const comparison: Task = {
  name: 'comparison',
  at: 'every store',
  every: () => DAY,
  alone: 10 * MINUTE,
  async slice(context, store, { position }) {
    const saved: Saved = position === '' ? { after: '' } : JSON.parse(position);
    if (position === '') await deleteLateParts(context, store);
    const { objects, to } = await list(context, store, saved.after, saved.walk?.to);
    const walk = begin(saved, to, context.now());
    if (!(await walkRows(context, store, walk, objects))) return { position: savedAs(walk) };
    return settle(context, store, walk, objects);
  },
};

function begin({ after, walk }: Saved, to: string, now: number): Walk {
  return {
    range: { after, to },
    began: walk?.began ?? now,
    step: walk?.step ?? 0,
    from: walk?.from,
    named: KeySet.of(walk?.named),
    namedAtCentral: KeySet.of(walk?.namedAtCentral),
  };
}

function savedAs({ range: { after, to }, ...walk }: Walk): string {
  return JSON.stringify({ after, walk: { to, ...walk } });
}

type Objects = ReadonlyMap<string, ListedObject>;

/**
 * Lists objects after the key `after`.
 * @param to the end of the range; undefined for a range that ends when it is full or time runs out, after at least one
 *   page
 */
async function list(
  { mayGoOn }: MaintenanceContext,
  { bucket }: Store,
  after: string,
  to: string | undefined,
): Promise<{ readonly objects: Objects; readonly to: string }> {
  const objects = new Map<string, ListedObject>();
  for (let from = after; ;) {
    const page = await bucket.list(from);
    for (const object of page.objects) if (!to || object.key <= to) objects.set(object.key, object);
    const last = page.objects.at(-1)?.key;
    if (!page.more || last === undefined) return { objects, to: to ?? '' };
    if (to ? last >= to : to === undefined && (objects.size >= KEYS_PER_RANGE || !mayGoOn()))
      return { objects, to: to ?? last };
    from = last;
  }
}

/** Walks rows from where the walk has stopped. Returns whether it has walked them all. */
async function walkRows(context: MaintenanceContext, store: Store, walk: Walk, objects: Objects): Promise<boolean> {
  let lookUps = MISSING_PER_SLICE;
  for (let pages = 0; pages < PAGES_PER_SLICE; pages++) {
    const table = WALK[walk.step];
    if (table === undefined) return true;
    lookUps -= await walkPage(context, store, table, walk, objects, lookUps);
    if (lookUps === 0) return false;
    if (walk.from === undefined) {
      walk.step++;
      if (walk.step === AT_CENTRAL && !(await needsCentral(context, store, walk, objects))) return true;
    } else if (!context.mayGoOn()) return false;
  }
  return false;
}

/** Walks one page, up to the `lookUps`th missing object. Returns how many missing objects it looked up. */
async function walkPage(
  context: MaintenanceContext,
  store: Store,
  table: (typeof WALK)[number],
  walk: Walk,
  objects: Objects,
  lookUps: number,
): Promise<number> {
  const { range, named, from } = walk;
  switch (table) {
    case 'locations': {
      const { rows, next } = await namedLocations(store.database, store.name, range, String(from?.[0] ?? ''));
      for (const { key } of rows) if (objects.has(key)) named.add(key);
      const missing = rows.filter(({ key, damage }) => damage === null && !objects.has(key));
      const asked = missing.slice(0, lookUps);
      await noteMissing(context, store, asked);
      walk.from = positionOf(asked.length < lookUps ? next : asked.at(-1)?.digest);
      return asked.length;
    }
    case "central's locations": {
      const { database } = context.central;
      const page = namedLocations(database, store.name, range, String(from?.[0] ?? ''));
      const { rows, next } = await answerOf("central's database", page);
      for (const { key } of rows) if (objects.has(key)) walk.namedAtCentral.add(key);
      walk.from = positionOf(next);
      return 0;
    }
    default: {
      const { keys, next } = await otherKeys(store.database, table, from);
      for (const key of keys) if (objects.has(key)) named.add(key);
      walk.from = next;
      return 0;
    }
  }
}

function positionOf(digest: string | undefined): RowPosition | undefined {
  return digest === undefined ? undefined : [digest, '', ''];
}

/** Marks locations whose object is missing as damaged. */
async function noteMissing(context: MaintenanceContext, store: Store, asked: readonly NamedKey[]): Promise<void> {
  const gone: NamedKey[] = [];
  for (let i = 0; i < asked.length; i += HEADS_AT_ONCE) {
    await Promise.all(
      asked.slice(i, i + HEADS_AT_ONCE).map(async (row) => {
        if (!(await store.bucket.exists(row.key))) gone.push(row);
      }),
    );
  }
  if (gone.length > 0) await noteDamage(context, store, gone, 'missing');
}

type Change = readonly [key: string, what: 'record' | 'delete' | 'forget'];

/** Returns the changes to the orphans of a range, by key, and the key up to which they are complete. */
async function changesOf(
  context: MaintenanceContext,
  { database }: Store,
  { range, began, named, namedAtCentral }: Walk,
  objects: Objects,
): Promise<{ readonly changes: readonly Change[]; readonly end: string }> {
  const firstSeenBy = dueBefore(context, began);
  const { orphans: known, end } = await orphansBetween(database, range, KEYS_PER_RANGE);
  const changes: Change[] = [];
  for (const { key, uploaded } of objects.values()) {
    // A young object may have been missing when the walk met its row.
    if ((end !== '' && key > end) || named.has(key) || uploaded > began - YOUNG_MILLISECONDS) continue;
    const firstSeen = known.get(key);
    if (firstSeen === undefined) changes.push([key, 'record']);
    else if (firstSeen <= firstSeenBy && !namedAtCentral.has(key)) changes.push([key, 'delete']);
  }
  for (const key of known.keys()) if (named.has(key) || !objects.has(key)) changes.push([key, 'forget']);
  return { changes: changes.toSorted(([a], [b]) => (a < b ? -1 : 1)), end };
}

/**
 * Returns the time by which an orphan must have been first seen, to be deleted now. Without collection, all are kept.
 * @param began when the walk began: central may not have been asked about an orphan that became due later
 */
function dueBefore({ collects, orphanMilliseconds }: MaintenanceContext, began: number): number {
  return began - (collects ? orphanMilliseconds : Infinity);
}

async function needsCentral(context: MaintenanceContext, store: Store, walk: Walk, objects: Objects): Promise<boolean> {
  if (store === context.central) return false;
  const { changes } = await changesOf(context, store, walk, objects);
  return changes.some(([, what]) => what === 'delete');
}

/** Records, deletes and forgets the orphans of a range whose rows have all been walked. */
async function settle(context: MaintenanceContext, store: Store, walk: Walk, objects: Objects): Promise<Slice> {
  const { database, bucket } = store;
  const all = await changesOf(context, store, walk, objects);
  const changes = all.changes.slice(0, CHANGES_PER_SLICE);
  const end = changes.length < all.changes.length ? (changes.at(-1)?.[0] ?? all.end) : all.end;
  const keysTo = (asked: Change[1]) => changes.flatMap(([key, what]) => (what === asked ? [key] : []));
  const found = keysTo('record');
  for (const keys of chunksOf(found)) {
    const orphans = keys.flatMap((key) => objects.get(key) ?? []);
    await database.batch([insertOrphans(orphans, context.now())]);
  }
  let deleted = 0;
  for (const keys of chunksOf(keysTo('delete'))) {
    const begun = await beginDeleting(database, keys, dueBefore(context, walk.began));
    await bucket.delete(begun);
    await database.batch(forgetOrphans(begun));
    deleted += begun.length;
  }
  for (const keys of chunksOf(keysTo('forget'))) await database.batch(forgetOrphans(keys));
  if (found.length + deleted > 0) logLine({ comparison: store.name, orphans: found.length, deleted });
  return {
    position: end === '' ? undefined : JSON.stringify({ after: end }),
    counts: { orphans_found: found.length, orphans_deleted: deleted },
  };
}

function chunksOf<Item>(items: readonly Item[]): Item[][] {
  return Array.from({ length: Math.ceil(items.length / KEYS_PER_STATEMENT) }, (_, i) =>
    items.slice(i * KEYS_PER_STATEMENT, (i + 1) * KEYS_PER_STATEMENT),
  );
}
