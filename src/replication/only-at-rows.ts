/**
 * The SQL that finds, at central, the blobs of live manifests that are at a node but not at central. First come blobs
 * that were never copied up, then blobs whose object at central is damaged and needs the node's copy for its repair.
 * Other nodes' locations make no difference, because those nodes may be retired as well.
 */
import type { Digest } from '../oci/digest.ts';
import type { OrganizationName } from '../oci/reference.ts';
import { type BoundStatement, sql } from '../stores/database.ts';
import { keyed, type ReadsAtMost } from '../stores/rows-read.ts';
import { isReferenced, LINKS_PER_BLOB } from '../stores/retention.ts';
import type { Store } from '../stores/store.ts';

type CentralDatabase = Pick<Store, 'name' | 'database'>;

/** The row after which a slice starts: that of a copy, or a damaged location. */
export type OnlyAtPosition =
  | { readonly organization: string; readonly size: number; readonly digest: string }
  | { readonly damaged: string; readonly at: string };

const START: OnlyAtPosition = { organization: '', size: 0, digest: '' };
const START_OF_DAMAGED: OnlyAtPosition = { damaged: '', at: '' };

/** The most rows that one statement looks at. */
const ROWS_PER_SLICE = 1000;

// ?1: the node's store. ?2: central's store. ?3: the other nodes' stores.
const ELSEWHERE = `EXISTS (SELECT 1 FROM json_each(?3) AS other
  CROSS JOIN locations o ON o.digest = slice.digest AND o.store = other.value AND o.damage IS NULL)`;
const reading: ReadsAtMost = (run) => keyed(run) + 2 * ROWS_PER_SLICE * (LINKS_PER_BLOB * 4 + 8 + run.keys);

const COPIES = `
  WITH slice AS MATERIALIZED (
    SELECT digest, copy_up_for AS organization, size FROM locations INDEXED BY locations_to_copy_up
    WHERE store = ?1 AND copy_up_for IS NOT NULL AND (copy_up_for, size, digest) > (?4, CAST(?5 AS INTEGER), ?6)
    ORDER BY copy_up_for, size, digest LIMIT ${ROWS_PER_SLICE})
  SELECT digest, ?1 AS at, organization, size, ${ELSEWHERE} AS elsewhere,
    ${isReferenced('slice.digest')} AND NOT EXISTS (SELECT 1 FROM locations c
      WHERE c.digest = slice.digest AND c.store = ?2 AND c.damage IS NULL) AS lacking
  FROM slice ORDER BY organization, size, digest`;
const DAMAGED = `
  WITH slice AS MATERIALIZED (
    SELECT digest, store FROM locations INDEXED BY locations_damaged
    WHERE damage IS NOT NULL AND (digest, store) > (?4, ?5) ORDER BY digest, store LIMIT ${ROWS_PER_SLICE})
  SELECT slice.digest, slice.store AS at, coalesce(l.size, 0) AS size, ${ELSEWHERE} AS elsewhere,
    coalesce((SELECT substr(k.repository, 1, instr(k.repository, '/') - 1) FROM links k
      WHERE k.digest = slice.digest LIMIT 1), '') AS organization,
    slice.store = ?2 AND l.digest IS NOT NULL AND ${isReferenced('slice.digest')} AS lacking
  FROM slice LEFT JOIN locations l
    ON l.digest = slice.digest AND l.store = ?1 AND l.damage IS NULL AND l.copy_up_for IS NULL
  ORDER BY slice.digest, slice.store`;
const SELECT_COPIES = sql<OnlyAtRow>`${COPIES}`.reading(reading);
const SELECT_DAMAGED = sql<OnlyAtRow>`${DAMAGED}`.reading(reading);
const SUM = (rows: string): string => `SELECT count(*) AS looked, coalesce(sum(lacking), 0) AS blobs,
  coalesce(sum(iif(lacking, size, 0)), 0) AS bytes FROM (${rows})`;
const SUM_COPIES = sql<SumRow>`${SUM(COPIES)}`.reading(reading);
const SUM_DAMAGED = sql<SumRow>`${SUM(DAMAGED)}`.reading(reading);

interface SumRow {
  /** The number of rows that were looked at. */
  readonly looked: number;
  readonly blobs: number;
  readonly bytes: number;
}

interface OnlyAtRow extends Omit<LackingBlob, 'position'> {
  /** The store of the row that was looked at. */
  readonly at: string;
  /** 1 if central lacks the blob and needs it. */
  readonly lacking: number;
}

/** A blob that is at a node but not at central. */
interface LackingBlob {
  readonly digest: Digest;
  readonly organization: OrganizationName;
  /** Bytes. */
  readonly size: number;
  /** 1 if one of the other nodes has it. */
  readonly elsewhere: number;
  readonly position: OnlyAtPosition;
}

/** Finds the blobs in slices of the rows that it looks at. */
async function* slicesOnlyAt(
  { database, name }: CentralDatabase,
  store: string,
  others: readonly string[],
  after: OnlyAtPosition,
): AsyncGenerator<LackingBlob[]> {
  const asked = [store, name, JSON.stringify(others)] as const;
  for (let from: OnlyAtPosition | undefined = after; from !== undefined;) {
    const isDamaged: boolean = 'damaged' in from;
    const rows: OnlyAtRow[] =
      'damaged' in from
        ? await database.all(SELECT_DAMAGED, ...asked, from.damaged, from.at)
        : await database.all(SELECT_COPIES, ...asked, from.organization, from.size, from.digest);
    const positionOf = ({ digest, at, organization, size }: OnlyAtRow): OnlyAtPosition =>
      isDamaged ? { damaged: digest, at } : { organization, size, digest };
    yield rows.flatMap((row): LackingBlob[] => {
      const { digest, organization, size, elsewhere, lacking } = row;
      return lacking === 0 ? [] : [{ digest, organization, size, elsewhere, position: positionOf(row) }];
    });
    const last = rows.length < ROWS_PER_SLICE ? undefined : rows.at(-1);
    from = last === undefined ? (isDamaged ? undefined : START_OF_DAMAGED) : positionOf(last);
  }
}

/** Counts the blobs of live manifests that are at a node but not at central, and their bytes. */
export async function onlyAt(
  central: CentralDatabase,
  store: string,
): Promise<{ readonly blobs: number; readonly bytes: number }> {
  let [blobs, bytes] = [0, 0];
  for await (const slice of slicesOnlyAt(central, store, [], START)) {
    blobs += slice.length;
    bytes += slice.reduce((sum, { size }) => sum + size, 0);
  }
  return { blobs, bytes };
}

/** The count of {@link glanceOnlyAt} for one store. */
export interface OnlyAtGlance {
  readonly blobs: number;
  readonly bytes: number;
  /** Whether all blobs were counted. */
  readonly isWhole: boolean;
}

/** Counts the blobs of {@link onlyAt} in the first slices, for several stores in one round trip. */
export async function glanceOnlyAt(
  { database, name }: CentralDatabase,
  stores: readonly string[],
): Promise<ReadonlyMap<string, OnlyAtGlance>> {
  const none = JSON.stringify([]);
  const { copies, damaged } = await database.batch(
    {
      copies: stores.map((store): BoundStatement<SumRow> => [SUM_COPIES, store, name, none, '', 0, '']),
      damaged: stores.map((store): BoundStatement<SumRow> => [SUM_DAMAGED, store, name, none, '', '']),
    },
    { again: true },
  );
  return new Map(
    stores.map((store, i) => {
      const parts = [copies[i], damaged[i]].flatMap((part) => part ?? []);
      const total = (of: keyof SumRow): number => parts.reduce((all, part) => all + part[of], 0);
      const isWhole = parts.every(({ looked }) => looked < ROWS_PER_SLICE);
      return [store, { blobs: total('blobs'), bytes: total('bytes'), isWhole }];
    }),
  );
}

/**
 * Lists the blobs that {@link onlyAt} counts.
 * @param others the stores of the other nodes
 * @param after the position of the last blob of the previous page; undefined for the first page
 */
export async function listOnlyAt(
  central: CentralDatabase,
  store: string,
  others: readonly string[],
  after: OnlyAtPosition | undefined,
  limit: number,
): Promise<LackingBlob[]> {
  const blobs: LackingBlob[] = [];
  for await (const slice of slicesOnlyAt(central, store, others, after ?? START)) {
    blobs.push(...slice);
    if (blobs.length >= limit) break;
  }
  return blobs.slice(0, limit);
}
