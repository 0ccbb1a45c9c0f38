/**
 * Repositories of a store with their last push and pull, which the store keeps by the hour. A page reads one range of
 * an index. An organization's repositories by last push are read through a window, because no column tells which of
 * them the caller may pull.
 */
import { type OrganizationName, organizationOf, type RepositoryName } from '../../oci/reference.ts';
import { type Database, sql } from '../../stores/database.ts';
import { bytesIn, selectMeasured } from '../../stores/organizations/largest-repositories-rows.ts';
import { keyed, paged } from '../../stores/rows-read.ts';
import type { NameRange } from '../../stores/name-ranges.ts';

/** The most tags of a repository that are counted. */
export const MOST_TAGS_COUNTED = 100;

export interface RepositoryRow {
  readonly name: RepositoryName;
  readonly public: boolean;
  /** The hour of the last push, or of the creation, in milliseconds since the epoch. */
  readonly pushedAt: number;
  /** The hour of the last pull from this store; 0 for none. */
  readonly pulledAt: number;
  /** At most {@link MOST_TAGS_COUNTED}. */
  readonly tags: number;
  /** Bytes of its distinct blobs when they were last added up; null if it was not among the largest then. */
  readonly bytes: number | null;
}

interface PushedRow {
  readonly name: RepositoryName;
  readonly pushedAt: number;
  readonly public: number;
}

/** The repository after which a page by last push starts. */
export type PushPosition = Pick<RepositoryRow, 'name' | 'pushedAt'>;

const IS_PUBLIC = '(r.name IN (SELECT p.name FROM public_repositories p WHERE p.name = r.name)) AS public';

const SELECT_PUSHED = sql<PushedRow>`
  SELECT r.name, r.pushed_at AS pushedAt, ${IS_PUBLIC} FROM repositories r INDEXED BY repositories_pushed
  WHERE substr(r.name, 1, instr(r.name, '/')) = ?1 AND r.listed = 1
    AND (r.pushed_at, r.name) < (CAST(?2 AS INTEGER), ?3)
  ORDER BY r.pushed_at DESC, r.name DESC LIMIT CAST(?4 AS INTEGER)`.reading(paged(4, 4));

/** Returns the next repositories of an organization, the last pushed first, with the last names first in an hour. */
export async function repositoriesByPush(
  database: Database,
  organization: OrganizationName,
  after: PushPosition,
  limit: number,
): Promise<(PushPosition & { readonly public: boolean })[]> {
  const found = await database.all(SELECT_PUSHED, `${organization}/`, after.pushedAt, after.name, limit);
  return found.map(({ name, pushedAt, public: isPublic }) => ({ name, pushedAt, public: isPublic === 1 }));
}

const SELECT_PUBLIC_WITHIN = sql<{ name: RepositoryName }>`
  SELECT name FROM public_repositories INDEXED BY public_repositories_listed
  WHERE listed = 1 AND name >= ?1 AND name < ?2 AND name > ?3 ORDER BY name LIMIT CAST(?4 AS INTEGER)`.reading(
  paged(4),
);

/** Returns the public repositories of a range after a name, in byte order. */
export async function publicWithin(
  database: Database,
  { from, to }: NameRange,
  after: string,
  limit: number,
): Promise<RepositoryName[]> {
  return (await database.all(SELECT_PUBLIC_WITHIN, from, to, after, limit)).map(({ name }) => name);
}

const SELECT_NAMED = sql<Omit<RepositoryRow, 'public' | 'bytes'> & { public: number }>`
  SELECT r.name, r.pushed_at AS pushedAt, r.last_pull AS pulledAt, ${IS_PUBLIC},
    (SELECT count(*) FROM (SELECT 1 FROM tags t INDEXED BY tags_visible WHERE t.repository = r.name AND t.visible = 1
      LIMIT ${String(MOST_TAGS_COUNTED)})) AS tags
  FROM json_each(?1) AS asked CROSS JOIN repositories r ON r.name = asked.value`.reading(
  (run) => keyed(run) + 3 * MOST_TAGS_COUNTED * run.keys,
);

/** Returns the rows of the repositories that the store has. */
export async function repositoriesNamed(
  database: Database,
  names: readonly RepositoryName[],
): Promise<ReadonlyMap<RepositoryName, RepositoryRow>> {
  const { rows, measured } = await database.batch(
    { rows: [SELECT_NAMED, JSON.stringify(names)], measured: selectMeasured(names.map(organizationOf)) },
    { again: true },
  );
  const bytes = bytesIn(measured);
  return new Map(
    rows.map((row) => [row.name, { ...row, public: row.public === 1, bytes: bytes.get(row.name) ?? null }]),
  );
}

const SELECT_PULLED = sql<{ name: RepositoryName; pulledAt: number }>`
  SELECT r.name, r.last_pull AS pulledAt FROM json_each(?1) AS asked CROSS JOIN repositories r ON r.name = asked.value`;

/** Returns the hour of the last pull from the store, by repository. */
export async function lastPulls(
  database: Database,
  names: readonly RepositoryName[],
): Promise<ReadonlyMap<RepositoryName, number>> {
  const rows = await database.all(SELECT_PULLED, JSON.stringify(names));
  return new Map(rows.map(({ name, pulledAt }) => [name, pulledAt]));
}
