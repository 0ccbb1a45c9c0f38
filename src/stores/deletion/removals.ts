/**
 * Removals of repositories and organizations. A removal is a row that merges like the others: of two, the greater
 * version wins. Whatever was written under its name at a version that is not greater is dead at every store that has
 * merged the removal, whether the store has heard of it by then, hears of it later, or never does.
 *
 * Invariant 3: nothing deleted comes back.
 *
 * - The row hides everything at once. A reader judges a store's rows with the greatest removal that covers them
 *   ({@link removedVersion}), and merges the removals of two stores as it merges their rows.
 * - `sweep-rows.ts` then takes away in slices what the row hides. Until `swept` is 1, rows may still look alive.
 * - What arrives later is judged when it is merged: a manifest gets the removal's version as its `deleted_version`, a
 *   tag is
 *   not shown. So lists, usage and collection see only what is alive once the sweep is over.
 * - Links, pins and open uploads have no version. Those made until `dead_until`, by the store's own clock, are dead; a
 *   link
 *   that a live manifest needs is newer, or stays. Triggers make a link that is made after the removal newer than it.
 */
import { type OrganizationName, organizationOf, type RepositoryName } from '../../oci/reference.ts';
import { raiseClock, VERSIONS_PER_MILLISECOND } from '../clock.ts';
import { type BoundStatement, type Database, sql } from '../database.ts';
import { inFull, keyed, type ReadsAtMost } from '../rows-read.ts';
import { ofRepository } from '../organizations/usage-rows.ts';

/** What a removal is of. */
export type RemovedName = RepositoryName | OrganizationName;

export interface Removal {
  readonly name: RemovedName;
  /** A version. */
  readonly version: number;
}

const versionOf = (name: string): string => `coalesce((SELECT x.version FROM removals x WHERE x.name = ${name}), 0)`;

/** SQL for the version up to which everything in a repository is dead; 0 for none. Two rows at most are read. */
export function removedVersion(repository: string): string {
  return `max(${versionOf(repository)}, ${versionOf(ofRepository(repository))})`;
}

/** SQL that holds for a row of `manifests` that is alive, also where a sweep has yet to reach it. */
export function isAliveManifest(manifest: string): string {
  return `${manifest}.created_version > ${manifest}.deleted_version
    AND ${manifest}.created_version > ${removedVersion(`${manifest}.repository`)}`;
}

/**
 * SQL for the removal that hides a row of `manifests` whose own versions say that it is alive; 0 for none. A push, or a
 * merge, that brings the row to life again has to write it down as the row's deletion: nothing else says that what the
 * row had before is over.
 */
export function hiddenUntil(manifest: string): string {
  const removed = removedVersion(`${manifest}.repository`);
  return `iif(${manifest}.created_version > ${manifest}.deleted_version AND ${manifest}.created_version <= ${removed}, ${removed}, 0)`;
}

/** References to one digest that are looked at: beyond so many, one that a removal may hide counts as alive. */
const REFERENCES_PER_DIGEST = 100;

/** Of a statement that asks once for {@link liveReferencesTo}. */
export const readsReferences: ReadsAtMost = (run) => keyed(run) + 3 * REFERENCES_PER_DIGEST;

/**
 * SQL for the manifest, `by`, of a live reference to a digest in a repository; for `SELECT … FROM`, or within `EXISTS`.
 * No row where there is none. Until a sweep has taken them away, references that a removal hides lie before others.
 * @param kind SQL that references `r` have to fulfil besides
 */
export function liveReferencesTo(repository: string, digest: string, kind = 'true'): string {
  const references = `SELECT r.manifest FROM manifest_references r INDEXED BY manifest_references_by_digest
    WHERE r.repository = ${repository} AND r.digest = ${digest} AND r.live = 1 AND ${kind}`;
  return `(SELECT live.manifest AS by FROM (${references} LIMIT ${REFERENCES_PER_DIGEST}) AS live
      CROSS JOIN manifests i ON i.repository = ${repository} AND i.digest = live.manifest
      WHERE i.created_version > ${removedVersion(repository)}
    UNION ALL
    SELECT * FROM (${references} LIMIT 1 OFFSET ${REFERENCES_PER_DIGEST}))`;
}

/** SQL that holds for a row of `links` that a sweep will not take away. Two rows at most are read. */
export function isAliveLink(link: string): string {
  const of = (name: string): string => `NOT EXISTS (SELECT 1 FROM removals x INDEXED BY removals_unswept
    WHERE x.swept = 0 AND x.name = ${name} AND x.dead_until >= ${link}.created_at)`;
  return `(${of(`${link}.repository`)} AND ${of(ofRepository(`${link}.repository`))})`;
}

/** From where to where the repositories of a name are, in byte order: `to` is not one of them. */
export function rangeOf(name: RemovedName): { readonly from: string; readonly to: string } {
  // "0" is the character after "/"; no name has a NUL.
  return name.includes('/') ? { from: name, to: `${name}\u0000` } : { from: `${name}/`, to: `${name}0` };
}

// What follows is of a removal that the store has not heard of, or not of one that is as late.
const IS_NEWS = 'NOT EXISTS (SELECT 1 FROM removals WHERE name = ?1 AND version >= CAST(?2 AS INTEGER))';
const HIDE_PUBLIC = sql`DELETE FROM public_repositories WHERE name >= ?3 AND name < ?4 AND ${IS_NEWS}`.reading(
  inFull(),
);
const FORGET_REPOSITORIES = sql`DELETE FROM repositories WHERE name >= ?3 AND name < ?4 AND ${IS_NEWS}`.reading(
  inFull(),
);
/** Changes of a node that are looked at: beyond so many, one may be later than the removal. */
const OUTBOX_ENTRIES_SEEN = 100;
const UNLIST_REPOSITORY = sql`
  UPDATE repositories SET listed = 0
  WHERE name = ?1 AND listed = 1 AND created_at <= CAST(?3 AS INTEGER) AND ${IS_NEWS} AND (
    SELECT count(*) < ${String(OUTBOX_ENTRIES_SEEN)} AND coalesce(max(version), 0) <= CAST(?2 AS INTEGER) FROM (
      SELECT version FROM outbox WHERE kind = 'manifest' AND repository = ?1
        LIMIT ${String(OUTBOX_ENTRIES_SEEN)}))`.reading((run) => keyed(run) + 2 * OUTBOX_ENTRIES_SEEN);
const MERGE_REMOVAL = sql`
  INSERT INTO removals (name, version, dead_until, swept, position)
  VALUES (?1, CAST(?2 AS INTEGER), CAST(?3 AS INTEGER), 0, '')
  ON CONFLICT (name) DO UPDATE SET version = excluded.version, dead_until = max(dead_until + 1, excluded.dead_until),
    swept = 0,
    position = '' WHERE removals.version < excluded.version`;

/**
 * At a node: up to when the links of a removed name are dead. What was pushed here to a repository since it was removed
 * stays; nobody can have pushed here for the next owner of an organization, whose credentials come after the removal.
 * @param recordedAt when central wrote the removal, by its clock, where that is known
 */
export function linksDeadUntil({ name, version }: Removal, now: number, recordedAt = 0): number {
  return name.includes('/') ? Math.min(now, Math.max(recordedAt, Math.floor(version / VERSIONS_PER_MILLISECOND))) : now;
}

/**
 * At a node: a removal that central has made. A repository that was pushed here since stays listed, unless that has
 * been announced: then central lists it, and here the sweep does. Of an organization nothing stays listed, because
 * nobody can have pushed for its next owner before this.
 * @param deadUntil milliseconds since the epoch
 */
export function mergeRemoval({ name, version }: Removal, deadUntil: number): BoundStatement[] {
  const { from, to } = rangeOf(name);
  return [
    [HIDE_PUBLIC, name, version, from, to],
    name.includes('/') ? [UNLIST_REPOSITORY, name, version, deadUntil] : [FORGET_REPOSITORIES, name, version, from, to],
    [MERGE_REMOVAL, name, version, deadUntil],
    raiseClock(version),
  ];
}

const IF_COMMITTED = 'EXISTS (SELECT 1 FROM clock WHERE clock.id = 1 AND clock.commit_id = ?1)';
const REMOVE_PUBLIC = sql`DELETE FROM public_repositories WHERE name >= ?2 AND name < ?3 AND ${IF_COMMITTED}`.reading(
  inFull(),
);
const REMOVE_REPOSITORIES = sql`DELETE FROM repositories WHERE name >= ?2 AND name < ?3 AND ${IF_COMMITTED}`.reading(
  inFull(),
);
const WRITE_REMOVAL = sql`
  INSERT INTO removals (name, version, dead_until, swept, position)
  SELECT ?2, clock.version, CAST(?3 AS INTEGER), 0, '' FROM clock WHERE clock.id = 1 AND clock.commit_id = ?1
  ON CONFLICT (name) DO UPDATE SET version = excluded.version, dead_until = max(dead_until + 1, excluded.dead_until),
    swept = 0, position = ''`;
const CHANGE_LOG_REMOVAL = sql`
  INSERT INTO change_log (kind, name, key, version, recorded_at)
  SELECT 'repository', ?2, '', clock.version, CAST(?3 AS INTEGER) FROM clock WHERE clock.id = 1
    AND clock.commit_id = ?1`;

/**
 * At central, in a batch that took a version under `commitId`: hides all that is under the name, and tells the nodes,
 * by one entry. Besides that one row, it writes only the names of the repositories.
 * @param now milliseconds since the epoch
 */
export function writeRemoval(name: RemovedName, commitId: string, now: number): BoundStatement[] {
  const { from, to } = rangeOf(name);
  return [
    [WRITE_REMOVAL, commitId, name, now],
    [CHANGE_LOG_REMOVAL, commitId, name, now],
    [REMOVE_PUBLIC, commitId, from, to],
    [REMOVE_REPOSITORIES, commitId, from, to],
  ];
}

const SELECT_REMOVALS = sql`
  SELECT name, version FROM removals WHERE name IN (?1, ?2)`;

/**
 * Up to which versions everything in a repository is dead: by its own removal, and by its organization's; 0 for none.
 */
export interface RemovedUntil {
  readonly repository: number;
  readonly organization: number;
}

export async function removedUntil(database: Database, repository: RepositoryName): Promise<RemovedUntil> {
  const removals = await database.all<Removal>(SELECT_REMOVALS, repository, organizationOf(repository));
  const of = (name: RemovedName): number =>
    Math.max(0, ...removals.filter((each) => each.name === name).map(({ version }) => version));
  return { repository: of(repository), organization: of(organizationOf(repository)) };
}

const SELECT_REMOVED = sql`SELECT ${removedVersion('?1')} AS removed`;

/** The greatest version of a removal that covers a repository; 0 for none. */
export async function removedBefore(database: Database, repository: RepositoryName): Promise<number> {
  return (await database.first<{ removed: number }>(SELECT_REMOVED, repository))?.removed ?? 0;
}

const SELECT_KNOWN = sql`
  SELECT clock.version AS clock, EXISTS (SELECT 1 FROM repositories WHERE name = ?1) AS known FROM clock
    WHERE clock.id = 1`;

/** At a node: whether it knows a repository, and its clock, which nothing that it holds is later than. */
export async function knownRepository(
  node: Database,
  repository: RepositoryName,
): Promise<{ readonly exists: boolean; readonly clock: number }> {
  const row = await node.first<{ clock: number; known: number }>(SELECT_KNOWN, repository);
  return { exists: row?.known === 1, clock: row?.clock ?? 0 };
}
