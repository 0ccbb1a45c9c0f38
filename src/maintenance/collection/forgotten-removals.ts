/**
 * Forgets the rows of removals. Like a tombstone, such a row is deleted once no older write can arrive any more. The
 * tags that it hides are deleted first, with their histories, since nothing else hides them.
 */
import { type BoundStatement, type Database, type Sql, sql } from '../../stores/database.ts';
import { rangeOf, type Removal, type RemovedName } from '../../stores/deletion/removals.ts';
import { keyed, paged, type ReadsAtMost } from '../../stores/rows-read.ts';
import { APPLIED_UNTIL, withEntries } from './tombstone-rows.ts';

/** Rows of one table that one slice looks at. */
const ROWS = 200;

const slice: ReadsAtMost = (run) => keyed(run) + 8 * ROWS + 12 * run.written;

const SELECT_REMOVALS = sql`
  SELECT name, version, position, swept = 1 AND version <= CAST(?3 AS INTEGER) AND version < CAST(?4 AS INTEGER)
    AND version < ${APPLIED_UNTIL('?5')} AS due
  FROM removals WHERE name > ?1 ORDER BY name LIMIT CAST(?2 AS INTEGER)`.reading(
  (run) => paged(2)(run) + withEntries(run),
);

interface ForgettableRemoval extends Removal {
  readonly position: string;
  /** 1 if nothing at this store, or on its way to it, still needs the removal. */
  readonly due: number;
}

/**
 * Returns a page of removals after `last`, in byte order.
 * @param until the newest version whose grace time is over
 * @param before removals of this version or a newer one stay
 * @param nodeNames stores whose positions in the change log count: the nodes' at central, none at a node
 */
export function removalsAfter(
  database: Database,
  last: string,
  limit: number,
  until: number,
  before: number,
  nodeNames: readonly string[],
): Promise<ForgettableRemoval[]> {
  return database.all<ForgettableRemoval>(SELECT_REMOVALS, last, limit, until, before, JSON.stringify(nodeNames));
}

const SELECT_KNOWN = sql`
  SELECT x.name FROM json_each(?1) AS asked CROSS JOIN removals x ON x.name = asked.value`;

/** Returns those of the removals that central still knows. */
export async function knownRemovals(
  central: Database,
  names: readonly RemovedName[],
): Promise<ReadonlySet<RemovedName>> {
  const rows = await central.all<{ name: RemovedName }>(SELECT_KNOWN, JSON.stringify(names));
  return new Set(rows.map(({ name }) => name));
}

/** The last row of a full page, where the next slice starts. */
interface End {
  readonly repository: string;
  readonly name: string;
  readonly version: number;
}

// ?1 to ?3: the row to start at. ?4 and ?5: the range of names. ?6: rows of this version or an older one are dead.
const TAGS = `FROM tags WHERE (repository, name) >= (max(?1, ?4), ?2) AND repository < ?5 ORDER BY repository, name`;
const HISTORY = `
  FROM tag_history WHERE (repository, name, version) >= (max(?1, ?4), ?2, CAST(?3 AS INTEGER)) AND repository < ?5
  ORDER BY repository, name, version`;
const END_OF_TAGS = sql<End>`SELECT repository, name, 0 AS version ${TAGS} LIMIT 1 OFFSET ${String(ROWS - 1)}`.reading(
  slice,
);
const END_OF_HISTORY = sql<End>`SELECT repository, name, version ${HISTORY} LIMIT 1 OFFSET ${String(ROWS - 1)}`.reading(
  slice,
);
const DELETE_TAGS = sql`
  DELETE FROM tags WHERE (repository, name) IN (SELECT repository, name ${TAGS} LIMIT ${String(ROWS)})
    AND version <= CAST(?6 AS INTEGER)`.reading(slice);
const DELETE_HISTORY = sql`
  DELETE FROM tag_history WHERE (repository, name, version, origin) IN (
    SELECT repository, name, version, origin ${HISTORY} LIMIT ${String(ROWS)})
      AND version <= CAST(?6 AS INTEGER)`.reading(slice);
const SAVE = sql`UPDATE removals SET position = ?3 WHERE name = ?1 AND version = CAST(?2 AS INTEGER) AND swept = 1`;
const FORGET = sql<{ name: RemovedName }>`
  DELETE FROM removals WHERE name = ?1 AND version = CAST(?2 AS INTEGER) AND swept = 1 RETURNING name`;

type Place = readonly [repository: string, name: string, version: number];

/** Does one slice of forgetting a removal that is due. Returns whether the removal is now forgotten. */
export async function forgetRemoval(
  database: Database,
  { name, version, position }: ForgettableRemoval,
): Promise<boolean> {
  const { from, to } = rangeOf(name);
  const [tags, history] = position === '' ? [FIRST, FIRST] : (JSON.parse(position) as [Place | null, Place | null]);
  const deletePage = async (place: Place | null, [end, deletes]: readonly [Sql<End>, Sql<never>]) => {
    if (place === null) return null;
    const range = [...place, from, to] as const;
    const { ends } = await database.batch({
      ends: [end, ...range],
      deletes: [deletes, ...range, version],
    });
    const [last] = ends;
    return last === undefined ? null : ([last.repository, last.name, last.version] as const);
  };
  const next = [
    await deletePage(tags, [END_OF_TAGS, DELETE_TAGS]),
    await deletePage(history, [END_OF_HISTORY, DELETE_HISTORY]),
  ];
  const statement: BoundStatement<{ name: RemovedName }> = next.every((place) => place === null)
    ? [FORGET, name, version]
    : [SAVE, name, version, JSON.stringify(next)];
  const { forgotten } = await database.batch({ forgotten: statement });
  return forgotten.length > 0;
}

const FIRST: Place = ['', '', 0];
