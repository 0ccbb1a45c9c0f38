/**
 * Sweeping: deleting the rows that a removal hides, in slices of few rows. A slice can be interrupted anywhere and
 * repeated, because the removal's position moves only after its transactions; two sweeps of one removal do no harm.
 *
 * Tags are hidden first, so that a list of visible tags always finds their manifests. Then manifests are deleted with
 * their documents and references. Links follow, because the references that remain show which blobs live manifests
 * name. Tags stay, hidden, for the tag's history, and are deleted together with the removal's row
 * (`maintenance/collection/tombstones.ts`). Every statement itself states which rows are dead, so content that was
 * pushed since the removal stays.
 */
import { HOUR } from '../../durations.ts';
import { type BoundStatement, type Database, type Sql, sql } from '../database.ts';
import { rangeOf, type RemovedName } from './removals.ts';
import { keyed, paged, type ReadsAtMost } from '../rows-read.ts';
import { SESSION_MILLISECONDS } from '../uploads/upload-reference.ts';

/** The most rows of one table that a slice examines. */
export const ROWS_PER_SLICE = 100;

/**
 * The most bytes of manifests in a slice, unless it takes only one. This also bounds the references that it deletes.
 */
const BYTES_PER_SLICE = 256 * 1024;

/**
 * Bounds a slice: a page, the rows that belong to each of its rows, and the rows that triggers read for each written
 * row.
 */
const slice: ReadsAtMost = (run) => keyed(run) + 24 * ROWS_PER_SLICE + 12 * (run.returned + run.written);

interface RemovalRow {
  readonly version: number;
  readonly dead_until: number;
  readonly position: string;
}

const SELECT_REMOVAL = sql`SELECT version, dead_until, position FROM removals WHERE name = ?1 AND swept = 0`;

// ?1 and ?2 are the row to start after, ?3 and ?4 the range of names, and ?5 the version or the time up to which rows
// are dead.
const AFTER = (key: string): string => `(repository, ${key}) > (max(?1, ?3), ?2) AND repository < ?4`;
const PAGE = (from: string, key: string): string =>
  `SELECT repository, ${key} FROM ${from} ${AFTER(key)} ORDER BY repository, ${key} LIMIT ${ROWS_PER_SLICE}`;
const END = (from: string, key: string): string =>
  `SELECT repository, ${key} AS key FROM ${from} ${AFTER(key)} ORDER BY repository, ${key}
    LIMIT 1 OFFSET ${ROWS_PER_SLICE - 1}`;

const MANIFESTS = `
  SELECT repository, digest, row_number() OVER rows AS place, sum(size) OVER rows AS bytes
  FROM (SELECT repository, digest, size FROM manifests WHERE ${AFTER('digest')}
    ORDER BY repository, digest LIMIT ${ROWS_PER_SLICE})
  WINDOW rows AS (ORDER BY repository, digest ROWS UNBOUNDED PRECEDING)`;
const IS_TAKEN = `(place = 1 OR bytes <= ${BYTES_PER_SLICE})`;
const DEAD_MANIFESTS = `
  SELECT m.repository, m.digest FROM (SELECT repository, digest FROM (${MANIFESTS}) WHERE ${IS_TAKEN}) AS page
  CROSS JOIN manifests m ON m.repository = page.repository AND m.digest = page.digest
  WHERE max(m.created_version, m.deleted_version) <= CAST(?5 AS INTEGER)`;
const SELECT_MANIFESTS = sql<
  Row & { taken: number }
>`SELECT repository, digest AS key, ${IS_TAKEN} AS taken FROM (${MANIFESTS}) ORDER BY place`.reading(slice);
const DELETE_CONTENTS = sql`DELETE FROM manifest_contents WHERE (repository, digest) IN (${DEAD_MANIFESTS})`.reading(
  slice,
);
const DELETE_MANIFESTS = sql`DELETE FROM manifests WHERE (repository, digest) IN (${DEAD_MANIFESTS})`.reading(slice);

const TAGS = ['tags WHERE', 'name'] as const;
const HIDE_TAGS = sql`
  UPDATE tags SET visible = 0 WHERE (repository, name) IN (${PAGE(...TAGS)})
    AND visible = 1 AND version <= CAST(?5 AS INTEGER)`.reading(slice);
const LINKS = ['links WHERE', 'digest'] as const;
const DELETE_LINKS = sql`
  DELETE FROM links WHERE (repository, digest) IN (${PAGE(...LINKS)}) AND created_at <= CAST(?5 AS INTEGER)
    AND NOT EXISTS (
      SELECT 1 FROM manifest_references r
      WHERE r.digest = links.digest AND r.repository = links.repository)`.reading(slice);
const PINS = ['pins WHERE', 'reference'] as const;
const DELETE_PINS = sql`
  DELETE FROM pins WHERE (repository, reference) IN (${PAGE(...PINS)}) AND created_at <= CAST(?5 AS INTEGER)`.reading(
  slice,
);
// Finds sessions by the hour in which they expire. A session that was open when the removal was made expires in one of
// these hours. ?1 is the hour to start with, and ?2 the repository and id to start after. The objects of a session are
// deleted once it has expired.
const HOURS = `(WITH RECURSIVE hours (hour) AS (
  SELECT max(CAST(?1 AS INTEGER), CAST(?5 AS INTEGER) / ${HOUR}) UNION ALL
  SELECT hour + 1 FROM hours WHERE hour < (CAST(?5 AS INTEGER) + ${SESSION_MILLISECONDS}) / ${HOUR})
  SELECT hour FROM hours)`;
const UPLOADS = `FROM ${HOURS} AS h CROSS JOIN uploads u ON u.hour = h.hour AND u.repository < ?4
    AND (u.repository, u.id) > (iif(h.hour = CAST(?1 AS INTEGER), max(?3, substr(?2, 1, length(?2) - 37)), ?3),
      iif(h.hour = CAST(?1 AS INTEGER), substr(?2, -36), ''))
  ORDER BY h.hour, u.repository, u.id`;
const END_OF_UPLOADS = sql<Row>`
  SELECT CAST(u.hour AS TEXT) AS repository, u.repository || ' ' || u.id AS key ${UPLOADS}
    LIMIT 1 OFFSET ${String(ROWS_PER_SLICE - 1)}`.reading(slice);
const CANCEL_UPLOADS = sql`
  UPDATE uploads SET state = 'cancelled'
  WHERE (hour, repository, id) IN (SELECT u.hour, u.repository, u.id ${UPLOADS} LIMIT ${String(ROWS_PER_SLICE)})
    AND state = 'open' AND expires_at - ${String(SESSION_MILLISECONDS)} <= CAST(?5 AS INTEGER)`.reading(slice);

// A single lower bound, at which the index starts. No name has a control character, so `?1 || char(1)` comes right
// after ?1; ?2 is empty here.
const NAMES = 'FROM repositories WHERE name >= max(?1 || ?2 || char(1), ?3) AND name < ?4 ORDER BY name';
const PAGE_OF_NAMES = `SELECT name ${NAMES} LIMIT ${ROWS_PER_SLICE}`;
const IS_EMPTY = `NOT EXISTS (
  SELECT 1 FROM manifests INDEXED BY manifests_live WHERE repository = repositories.name
    AND created_version > deleted_version)`;
const DELETE_REPOSITORIES = sql`
  DELETE FROM repositories WHERE name IN (${PAGE_OF_NAMES}) AND created_at <= CAST(?5 AS INTEGER)
    AND ${IS_EMPTY}`.reading(slice);
// A removal may also have unlisted a repository that still holds something alive.
const LIST_REPOSITORIES = sql`
  UPDATE repositories SET listed = 1 - listed WHERE name IN (${PAGE_OF_NAMES}) AND listed = ${IS_EMPTY}`.reading(slice);

interface Swept {
  readonly table: string;
  /** Selects the last row of a full page. */
  readonly end: Sql<Row>;
  /** Whether it has `dead_until` as its last parameter. */
  readonly isEndDated?: boolean;
  /** Each with its last parameter, a column of the removal: rows up to that version or time are dead. */
  readonly statements: readonly (readonly [Sql<never>, dead?: 'version' | 'dead_until'])[];
}

/** The tags, which come before the manifests, and the tables that come after them, in any order. */
const OTHERS: readonly Swept[] = [
  { table: 'tags', end: sql<Row>`${END(...TAGS)}`.reading(slice), statements: [[HIDE_TAGS, 'version']] },
  { table: 'links', end: sql<Row>`${END(...LINKS)}`.reading(slice), statements: [[DELETE_LINKS, 'dead_until']] },
  { table: 'pins', end: sql<Row>`${END(...PINS)}`.reading(slice), statements: [[DELETE_PINS, 'dead_until']] },
  { table: 'uploads', end: END_OF_UPLOADS, isEndDated: true, statements: [[CANCEL_UPLOADS, 'dead_until']] },
  {
    table: 'repositories',
    end: sql<Row>`SELECT name AS repository, '' AS key ${NAMES} LIMIT 1 OFFSET ${String(ROWS_PER_SLICE - 1)}`.reading(
      slice,
    ),
    statements: [[LIST_REPOSITORIES], [DELETE_REPOSITORIES, 'dead_until']],
  },
];

const SAVE = sql`
  UPDATE removals SET position = ?3, swept = CAST(?4 AS INTEGER)
  WHERE name = ?1 AND version = CAST(?2 AS INTEGER) AND swept = 0`;

/** The row of each table after which the next slice starts. A table without one is finished. */
type Position = Readonly<Record<string, readonly [repository: string, key: string]>>;

const START: Position = Object.fromEntries(
  ['manifests', ...OTHERS.map(({ table }) => table)].map((table) => [table, ['', '']] as const),
);

interface Row {
  readonly repository: string;
  readonly key: string;
}

/** Does one slice of the sweep of a removal. Returns whether there is more to do. */
export async function sweepSlice(database: Database, name: RemovedName): Promise<boolean> {
  const removal = await database.first<RemovalRow>(SELECT_REMOVAL, name);
  if (removal === undefined) return false;
  const from: Position = removal.position === '' ? START : (JSON.parse(removal.position) as Position);
  const position = await sweepFrom(database, name, removal, from);
  const isSwept = Object.keys(position).length === 0;
  await database.run(SAVE, name, removal.version, isSwept ? '' : JSON.stringify(position), isSwept ? 1 : 0);
  return !isSwept;
}

/** Sweeps one slice, and returns where the next one starts. */
async function sweepFrom(
  database: Database,
  name: RemovedName,
  removal: RemovalRow,
  from: Position,
): Promise<Position> {
  const { tags, manifests, ...others } = from;
  const shown = tags === undefined ? {} : await sweepOthers(database, name, removal, { tags });
  if (shown['tags'] !== undefined) return { ...from, ...shown };
  const next = manifests === undefined ? undefined : await sweepManifests(database, name, removal, manifests);
  return next === undefined ? sweepOthers(database, name, removal, others) : { ...others, manifests: next };
}

/** Sweeps one slice of the manifests. Returns the row after which the next one starts; undefined if that was all. */
async function sweepManifests(
  database: Database,
  name: RemovedName,
  { version }: RemovalRow,
  place: Position[string],
): Promise<Position[string] | undefined> {
  const { from, to } = rangeOf(name);
  const parameters = [...place, from, to, version] as const;
  const { page } = await database.batch({
    page: [SELECT_MANIFESTS, ...place, from, to],
    contents: [DELETE_CONTENTS, ...parameters],
    manifests: [DELETE_MANIFESTS, ...parameters],
  });
  const taken = page.filter((row) => row.taken === 1);
  const last = taken.at(-1);
  return page.length < ROWS_PER_SLICE && taken.length === page.length ? undefined : last && [last.repository, last.key];
}

/** Sweeps one slice of each given table. Returns where the next one starts in those that are not finished. */
async function sweepOthers(
  database: Database,
  name: RemovedName,
  removal: RemovalRow,
  places: Position,
): Promise<Position> {
  const { from, to } = rangeOf(name);
  const slices = OTHERS.flatMap(({ table, end, isEndDated = false, statements }) => {
    const place = places[table];
    // A repository's uploads continue: they will be committed after the removal.
    if (place === undefined || (table === 'uploads' && name.includes('/'))) return [];
    const range = [...place, from, to] as const;
    const writes = statements.map(([statement, dead]): BoundStatement =>
      dead === undefined ? [statement, ...range] : [statement, ...range, removal[dead]],
    );
    const ofEnd = isEndDated ? [...range, removal.dead_until] : range;
    return [[table, { end: [end, ...ofEnd], writes }] as const];
  });
  const byTable = await database.batch(Object.fromEntries(slices));
  const next = Object.entries(byTable).flatMap(([table, { end }]) =>
    end.map(({ repository, key }) => [table, [repository, key]] as const),
  );
  return Object.fromEntries(next);
}

const SELECT_UNSWEPT = sql`
  SELECT name FROM removals INDEXED BY removals_unswept WHERE swept = 0 AND name > ?1 ORDER BY name
    LIMIT CAST(?2 AS INTEGER)`.reading(paged(2));

/** Returns the names of removals that have yet to be swept, after `last`, in byte order. */
export async function unsweptRemovals(database: Database, last: string, limit: number): Promise<RemovedName[]> {
  return (await database.all<{ name: RemovedName }>(SELECT_UNSWEPT, last, limit)).map(({ name }) => name);
}
