/**
 * Removals of repositories and organizations. A removal is a row that merges like the others: of two, the greater
 * version wins. Everything that was written under the name at that version or an earlier one is dead at every store
 * that has merged the removal. It does not matter whether the store received the write before the removal, receives it
 * later, or never does.
 *
 * Invariant 3: nothing deleted comes back.
 *
 * - The row hides everything at once. A reader judges a store's rows by the greatest removal that covers them
 *   ({@link removedVersion}), and merges the removals of two stores just as it merges their rows.
 * - `sweep-rows.ts` then deletes the hidden rows in slices. Until `swept` is 1, rows may still look alive.
 * - Rows that arrive later are judged when they are merged: a manifest gets the removal's version as its
 *   `deleted_version`, and a tag stays hidden. So once the sweep is over, lists, usage and collection see only live
 *   rows.
 * - Links, pins and open uploads have no version. Those made until `dead_until`, by the store's own clock, are dead.
 *   Triggers make a link that is created after the removal newer than it, and a link that a live manifest needs is
 *   renewed or kept.
 */
import { type OrganizationName, organizationOf, type RepositoryName } from '../../oci/reference.ts';
import { raiseClock, VERSIONS_PER_MILLISECOND } from '../clock.ts';
import { type BoundStatement, type Database, sql } from '../database.ts';
import { inFull, keyed, type ReadsAtMost } from '../rows-read.ts';
import { ofRepository } from '../organizations/usage-rows.ts';

/** The name that a removal is for. */
export type RemovedName = RepositoryName | OrganizationName;

export interface Removal {
  readonly name: RemovedName;
  /** A version. */
  readonly version: number;
}

const versionOf = (name: string): string => `coalesce((SELECT x.version FROM removals x WHERE x.name = ${name}), 0)`;

/** SQL for the version up to which everything in a repository is dead; 0 for none. Reads at most two rows. */
export function removedVersion(repository: string): string {
  return `max(${versionOf(repository)}, ${versionOf(ofRepository(repository))})`;
}

/** SQL that holds for a row of `manifests` that is alive, even if a sweep has yet to reach the row. */
export function isAliveManifest(manifest: string): string {
  return `${manifest}.created_version > ${manifest}.deleted_version
    AND ${manifest}.created_version > ${removedVersion(`${manifest}.repository`)}`;
}

/**
 * SQL for the version of the removal that hides a row of `manifests` whose own versions say that it is alive; 0 for
 * none. A push or merge that revives the row must record this version as the row's deletion. Otherwise nothing would
 * say that the row's earlier tags and media types are dead.
 */
export function hiddenUntil(manifest: string): string {
  const removed = removedVersion(`${manifest}.repository`);
  return `iif(${manifest}.created_version > ${manifest}.deleted_version
    AND ${manifest}.created_version <= ${removed}, ${removed}, 0)`;
}

/**
 * The most references to one digest that are examined. If there are more, the digest counts as referenced, even if a
 * removal hides them.
 */
const REFERENCES_PER_DIGEST = 100;

/** Bounds a statement that uses {@link liveReferencesTo} once. */
export const readsReferences: ReadsAtMost = (run) => keyed(run) + 3 * REFERENCES_PER_DIGEST;

/**
 * SQL for the manifest, named `by`, that holds a live reference to a digest in a repository; no row if there is none.
 * Use it in `SELECT … FROM` or `EXISTS`. The limit is there because references that a removal hides stay among the live
 * ones until they are swept.
 * @param kind SQL for a further condition on the reference `r`
 */
export function liveReferencesTo(repository: string, digest: string, kind = 'true'): string {
  const references = `SELECT r.manifest FROM manifest_references r
    WHERE r.digest = ${digest} AND r.repository = ${repository} AND ${kind}`;
  return `(SELECT live.manifest AS by FROM (${references} LIMIT ${REFERENCES_PER_DIGEST}) AS live
      CROSS JOIN manifests i ON i.repository = ${repository} AND i.digest = live.manifest
      WHERE i.created_version > ${removedVersion(repository)}
    UNION ALL
    SELECT * FROM (${references} LIMIT 1 OFFSET ${REFERENCES_PER_DIGEST}))`;
}

/** SQL that holds for a row of `links` that no removal hides. Reads at most two rows. */
export function isAliveLink(link: string): string {
  const of = (name: string): string => `NOT EXISTS (SELECT 1 FROM removals x INDEXED BY removals_unswept
    WHERE x.swept = 0 AND x.name = ${name} AND x.dead_until >= ${link}.created_at)`;
  return `(${of(`${link}.repository`)} AND ${of(ofRepository(`${link}.repository`))})`;
}

/**
 * SQL that holds unless a removal of the repository, swept or not, hides links of the time `at`. After a removal, a
 * link based on central's answer from before must not be written: it would show removed content.
 */
export function isAfterRemovals(repository: string, at: string): string {
  return `NOT EXISTS (SELECT 1 FROM removals x WHERE x.name IN (${repository}, ${ofRepository(repository)})
    AND x.dead_until >= CAST(${at} AS INTEGER))`;
}

/** Returns the range of names, in byte order, that a removal covers; `to` is exclusive. */
export function rangeOf(name: RemovedName): { readonly from: string; readonly to: string } {
  // "0" is the character after "/"; no name has a NUL.
  return name.includes('/') ? { from: name, to: `${name}\u0000` } : { from: `${name}/`, to: `${name}0` };
}

// SQL that holds if the store does not have this removal yet, nor a later one of the same name.
const IS_NEWS = 'NOT EXISTS (SELECT 1 FROM removals WHERE name = ?1 AND version >= CAST(?2 AS INTEGER))';
const HIDE_PUBLIC = sql`DELETE FROM public_repositories WHERE name >= ?3 AND name < ?4 AND ${IS_NEWS}`.reading(
  inFull(),
);
const FORGET_REPOSITORIES = sql`DELETE FROM repositories WHERE name >= ?3 AND name < ?4 AND ${IS_NEWS}`.reading(
  inFull(),
);
/** The most unannounced changes that are examined. If there are more, one of them may be later than the removal. */
const OUTBOX_ENTRIES_EXAMINED = 100;
const UNLIST_REPOSITORY = sql`
  UPDATE repositories SET listed = 0
  WHERE name = ?1 AND listed = 1 AND created_at <= CAST(?3 AS INTEGER) AND ${IS_NEWS} AND (
    SELECT count(*) < ${String(OUTBOX_ENTRIES_EXAMINED)} AND coalesce(max(version), 0) <= CAST(?2 AS INTEGER) FROM (
      SELECT version FROM outbox WHERE kind = 'manifest' AND repository = ?1
        LIMIT ${String(OUTBOX_ENTRIES_EXAMINED)}))`.reading((run) => keyed(run) + 2 * OUTBOX_ENTRIES_EXAMINED);
const MERGE_REMOVAL = sql`
  INSERT INTO removals (name, version, dead_until, swept, position)
  VALUES (?1, CAST(?2 AS INTEGER), CAST(?3 AS INTEGER), 0, '')
  ON CONFLICT (name) DO UPDATE SET version = excluded.version, dead_until = max(dead_until + 1, excluded.dead_until),
    swept = 0,
    position = '' WHERE removals.version < excluded.version`;

/**
 * Returns the time, at a node, up to which the links of a removed name are dead. For a repository, that is the time of
 * the removal, so that later pushes to this node stay. For an organization, it is now: the credentials of the next
 * owner arrive after the removal, so nobody can have pushed for the next owner yet.
 * @param recordedAt when central wrote the removal, by central's clock; 0 if that is not known
 */
export function linksDeadUntil({ name, version }: Removal, now: number, recordedAt = 0): number {
  return name.includes('/') ? Math.min(now, Math.max(recordedAt, Math.floor(version / VERSIONS_PER_MILLISECOND))) : now;
}

/**
 * Merges, at a node, a removal that central has made. A repository that was pushed here after the removal stays listed,
 * unless that push has been announced: then the sweep lists it again here, and central lists it anyway. No repository
 * of an organization stays listed, because nobody can have pushed for the next owner before the node has the removal.
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
 * Removes a name at central, in a batch that took a version under `commitId`: hides everything under the name, and
 * tells the nodes by one entry of the change log. Apart from the removal and that entry, it only deletes rows that list
 * repositories.
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
 * The versions up to which everything in a repository is dead, by its own removal and by its organization's; 0 for
 * none.
 */
export interface RemovedUntil {
  readonly repository: number;
  readonly organization: number;
}

/** Reads the removals that cover a repository. */
export async function removedUntil(database: Database, repository: RepositoryName): Promise<RemovedUntil> {
  const removals = await database.all<Removal>(SELECT_REMOVALS, repository, organizationOf(repository));
  const of = (name: RemovedName): number =>
    Math.max(0, ...removals.filter((each) => each.name === name).map(({ version }) => version));
  return { repository: of(repository), organization: of(organizationOf(repository)) };
}

const SELECT_REMOVED = sql`SELECT ${removedVersion('?1')} AS removed`;

/** Returns the greatest version among the removals that cover a repository; 0 for none. */
export async function removedBefore(database: Database, repository: RepositoryName): Promise<number> {
  return (await database.first<{ removed: number }>(SELECT_REMOVED, repository))?.removed ?? 0;
}

const SELECT_KNOWN = sql`
  SELECT clock.version AS clock, EXISTS (SELECT 1 FROM repositories WHERE name = ?1) AS known FROM clock
    WHERE clock.id = 1`;

/** Returns, at a node, whether it knows a repository, and its clock, which is at least every version that it holds. */
export async function knownRepository(
  node: Database,
  repository: RepositoryName,
): Promise<{ readonly exists: boolean; readonly clock: number }> {
  const row = await node.first<{ clock: number; known: number }>(SELECT_KNOWN, repository);
  return { exists: row?.known === 1, clock: row?.clock ?? 0 };
}
