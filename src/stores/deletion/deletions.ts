/**
 * Deletes tags, manifests, links and repositories. A deletion is a version, not the absence of a row: a late copy of an
 * older push cannot undo it, and a push after it works. At central, the same transaction also writes each deletion to
 * the change log and the audit log.
 */
import type { Digest } from '../../oci/digest.ts';
import type { OrganizationName, RepositoryName, Tag } from '../../oci/reference.ts';
import { type Actor, auditCommitted, auditLink, authorOf, BERTH_ITSELF } from '../organizations/audit-rows.ts';
import { committed, takeVersion, versionOf, type CommitContext, type TakenVersion } from '../clock.ts';
import { type BoundStatement, type Database, type Repeatable, type Sql, sql } from '../database.ts';
import { inFull, perTag } from '../rows-read.ts';
import { CHANGE_LOG_MANIFESTS, CHANGE_LOG_TAG } from '../change-log-rows.ts';
import {
  isAliveManifest,
  liveReferencesTo,
  readsReferences,
  removedVersion,
  isAliveLink,
  writeRemoval,
} from './removals.ts';
import { SELECT_STILL_SHOWN, type Shown, ShownChanged, shownParameter, STILL_SHOWN } from './shown.ts';
import { INSERT_HISTORY } from '../manifests/tag-history.ts';
import { IS_BELOW_TAG, READS_TAGS_ABOVE, requireNoTagAbove, SELECT_TAGS_ABOVE } from '../manifests/tags-above.ts';

/**
 * A node's knowledge of something that it asks central to delete. The deletion then happens even if central has never
 * heard of the thing, and its version is greater than `versions`.
 */
interface SeenElsewhere {
  readonly versions: number;
}

/**
 * A statement that takes a version. ?1 is the wall clock as a version, ?2 the commit id, and ?3 the greatest version
 * seen elsewhere, or NULL; the parameters of the conditions follow.
 * @param condition must hold unless something was seen elsewhere
 * @param always must hold in any case
 */
const takeVersionAfter = (condition: string, always = 'true'): Sql<TakenVersion> =>
  takeVersion(`(?3 IS NOT NULL OR ${condition}) AND ${always}`, 'coalesce(CAST(?3 AS INTEGER), 0)');

/**
 * If a deletion runs again and finds nothing to delete, only the first run knows whether there was something. A
 * deletion of something that was seen elsewhere takes a version each time, so it never runs again: a second run would
 * delete content that was pushed since.
 */
const ifTaken = (
  seen: SeenElsewhere | undefined,
): Repeatable<{ readonly versioned: readonly TakenVersion[] }> | undefined =>
  seen === undefined ? { again: ({ versioned }) => versioned.length > 0 } : undefined;

const TAKE_VERSION_IF_TAG_IS_VISIBLE = takeVersionAfter(
  `EXISTS (
  SELECT 1 FROM tags t JOIN manifests m ON m.repository = t.repository AND m.digest = t.digest
  WHERE t.repository = ?4 AND t.name = ?5 AND ${isAliveManifest('m')}
    AND t.version > m.deleted_version AND t.version > ${removedVersion('?4')})`,
  STILL_SHOWN('?6', '?4'),
);

const DELETE_TAG = sql`
  INSERT INTO tags (repository, name, digest, version, origin, visible, author)
  SELECT ?1, ?2, NULL, clock.version, ?3, 0, ?5 FROM clock WHERE ${committed('?4')}
  ON CONFLICT (repository, name) DO UPDATE
    SET digest = NULL, version = excluded.version, origin = excluded.origin, visible = 0, author = excluded.author`;

/**
 * Deletes a tag; its manifest stays. Returns the deletion's version; undefined if there was nothing to delete.
 * @param shown what the store must still show
 * @throws ShownChanged
 */
export async function deleteTag(
  database: Database,
  context: CommitContext,
  repository: RepositoryName,
  tag: Tag,
  seen?: SeenElsewhere,
  shown?: Shown,
): Promise<number | undefined> {
  const id = crypto.randomUUID();
  const expected = shownParameter(shown);
  const { versioned, judged } = await database.batch(
    {
      versioned: [
        TAKE_VERSION_IF_TAG_IS_VISIBLE,
        versionOf(context.now),
        id,
        seen?.versions ?? null,
        repository,
        tag,
        expected,
      ],
      judged: [SELECT_STILL_SHOWN, expected, repository],
      history: [INSERT_HISTORY, repository, JSON.stringify([tag]), context.now, id],
      tag: [DELETE_TAG, repository, tag, context.origin, id, authorOf(context.by)],
      changeLog: [CHANGE_LOG_TAG, repository, tag, context.now, id, authorOf(context.by)],
      audit: auditCommitted('delete tag', repository, [tag], context.by ?? BERTH_ITSELF, context.now, id),
    },
    ifTaken(seen),
  );
  if (versioned.length === 0 && judged[0]?.still === 0) throw new ShownChanged();
  return versioned[0]?.version;
}

const MANIFEST_IS_ALIVE = `EXISTS (
  SELECT 1 FROM json_each(?5) AS wanted CROSS JOIN manifests m ON m.repository = ?4 AND m.digest = wanted.value
  WHERE ${isAliveManifest('m')})`;
const TAKE_VERSION_IF_MANIFEST_MAY_GO = takeVersionAfter(
  MANIFEST_IS_ALIVE,
  `NOT ${IS_BELOW_TAG('?4', '?5')} AND ${STILL_SHOWN('?6', '?4')}`,
).reading(READS_TAGS_ABOVE);

const DELETE_MANIFESTS = sql`
  INSERT INTO manifests (repository, digest, media_type, artifact_type, subject, size, created_version, deleted_version,
    last_pull)
  SELECT ?1, deleted.value, '', '', NULL, 0, 0, clock.version, 0 FROM clock CROSS JOIN json_each(?2) AS deleted
    WHERE ${committed('?3')}
  ON CONFLICT (repository, digest) DO UPDATE SET deleted_version = excluded.deleted_version`.reading(inFull(8));

// Without statistics the planner picks an index that covers the whole repository, so these statements name the index
// that they mean.
const HIDE_TAGS_OF_MANIFESTS = sql`
  UPDATE tags INDEXED BY tags_by_digest SET visible = 0
  WHERE repository = ?1 AND visible = 1 AND digest IN (
    SELECT deleted.value FROM clock CROSS JOIN json_each(?2) AS deleted WHERE ${committed('?3')})`.reading(perTag);

const UNLIST_EMPTY_REPOSITORY = sql`
  UPDATE repositories SET listed = 0 WHERE name = ?1 AND EXISTS (SELECT 1 FROM clock WHERE ${committed('?2')})
    AND NOT EXISTS (SELECT 1 FROM manifests INDEXED BY manifests_live WHERE repository = ?1
      AND created_version > deleted_version)`;

const SELECT_JUDGED = sql<{ still: number; alive: number }>`
  SELECT ${STILL_SHOWN('?1', '?2')} AS still, EXISTS (
    SELECT 1 FROM manifests m WHERE m.repository = ?2 AND m.digest = ?3 AND ${isAliveManifest('m')}) AS alive`;

/**
 * Deletes a manifest, which hides all its tags. Refuses if an index that lists it is tagged. Returns the deletion's
 * version; undefined if the manifest was not alive.
 * @param shown what the store must still show
 * @throws OciError MANIFEST_IN_USE
 * @throws ShownChanged
 */
export async function deleteManifest(
  database: Database,
  context: CommitContext,
  repository: RepositoryName,
  digest: Digest,
  seen?: SeenElsewhere,
  shown?: Shown,
): Promise<number | undefined> {
  const id = crypto.randomUUID();
  const list = JSON.stringify([digest]);
  const expected = shownParameter(shown);
  const { versioned, judged, above } = await database.batch(
    {
      versioned: [
        TAKE_VERSION_IF_MANIFEST_MAY_GO,
        versionOf(context.now),
        id,
        seen?.versions ?? null,
        repository,
        list,
        expected,
      ],
      judged: [SELECT_JUDGED, expected, repository, digest],
      above: [SELECT_TAGS_ABOVE, repository, list],
      deletion: deletionOf(context, repository, [digest], id),
    },
    ifTaken(seen),
  );
  if (versioned.length === 0 && judged[0]?.still === 0) throw new ShownChanged();
  const isThere = seen !== undefined || judged[0]?.alive === 1;
  if (versioned.length === 0 && isThere) requireNoTagAbove(repository, digest, above);
  return versioned[0]?.version;
}

/** Returns the statements that delete manifests if their batch took a version. */
function deletionOf(
  context: CommitContext,
  repository: RepositoryName,
  digests: readonly Digest[],
  id: string,
): BoundStatement[] {
  const list = JSON.stringify(digests);
  return [
    [DELETE_MANIFESTS, repository, list, id],
    [HIDE_TAGS_OF_MANIFESTS, repository, list, id],
    [UNLIST_EMPTY_REPOSITORY, repository, id],
    [CHANGE_LOG_MANIFESTS, repository, list, context.now, id],
    auditCommitted('delete manifest', repository, digests, context.by ?? BERTH_ITSELF, context.now, id),
  ];
}

const TAKE_VERSION_IF_REPOSITORY_EXISTS = takeVersionAfter('EXISTS (SELECT 1 FROM repositories WHERE name = ?4)');

/**
 * Removes a repository: hides everything in it, and makes it private, even if it is pushed again. A sweep deletes the
 * rows later. Returns the removal's version; undefined if the repository did not exist.
 */
export async function deleteRepository(
  database: Database,
  context: CommitContext,
  repository: RepositoryName,
  seen?: SeenElsewhere,
): Promise<number | undefined> {
  const id = crypto.randomUUID();
  const { versioned } = await database.batch(
    {
      versioned: [TAKE_VERSION_IF_REPOSITORY_EXISTS, versionOf(context.now), id, seen?.versions ?? null, repository],
      removal: writeRemoval(repository, id, context.now),
      audit: auditCommitted('delete repository', repository, [''], context.by ?? BERTH_ITSELF, context.now, id),
    },
    ifTaken(seen),
  );
  return versioned[0]?.version;
}

const IS_REFERENCED = `EXISTS (
  SELECT 1 FROM ${liveReferencesTo('?1', '?2')})`;
const IS_LINKED = `EXISTS (SELECT 1 FROM links k WHERE k.repository = ?1 AND k.digest = ?2 AND ${isAliveLink('k')})`;

// This entry is written before the link is deleted, because it depends on the link's row.
const CHANGE_LOG_LINK = sql`
  INSERT OR REPLACE INTO change_log (kind, name, key, version, recorded_at)
  SELECT 'link', ?1, ?2, 0, CAST(?3 AS INTEGER) WHERE NOT ${IS_REFERENCED}
    AND (?4 = 1 OR ${IS_LINKED})`.reading(readsReferences);

const DELETE_LINK = sql<{ digest: Digest }>`
  DELETE FROM links WHERE repository = ?1 AND digest = ?2 AND ${isAliveLink('links')} AND NOT ${IS_REFERENCED}
    RETURNING digest`.reading(readsReferences);

const SELECT_BLOB_USE = sql<{ linked: number; manifest: string | null }>`
  SELECT ${IS_LINKED} AS linked, (
    SELECT by FROM ${liveReferencesTo('?1', '?2')} LIMIT 1) AS manifest`.reading(readsReferences);

export type Unlinked = { outcome: 'unlinked' } | { outcome: 'unknown' } | { outcome: 'referenced'; by: string };

/**
 * Unlinks a blob unless a live manifest of the repository references it.
 * @param known whether another store has the link; then every store has to hear of the deletion
 */
export async function unlinkBlob(
  database: Database,
  now: number,
  repository: RepositoryName,
  digest: Digest,
  by: Actor = BERTH_ITSELF,
  known = false,
): Promise<Unlinked> {
  const { use, deleted } = await database.batch(
    {
      use: [SELECT_BLOB_USE, repository, digest],
      changeLog: [CHANGE_LOG_LINK, repository, digest, now, known ? 1 : 0],
      audit: auditLink(repository, digest, by, now),
      deleted: [DELETE_LINK, repository, digest],
    },
    // If another store has the link, each attempt writes a change log entry, so it is not repeated.
    known
      ? undefined
      : { again: ({ use: found, deleted: gone }) => gone.length > 0 || typeof found[0]?.manifest === 'string' },
  );
  const manifest = use[0]?.manifest ?? null;
  if (manifest !== null && (known || use[0]?.linked === 1)) return { outcome: 'referenced', by: manifest };
  return deleted.length > 0 || known ? { outcome: 'unlinked' } : { outcome: 'unknown' };
}

/** Returns whether a store links a blob in a repository, and a live manifest there that references it. */
export async function blobUse(
  database: Database,
  repository: RepositoryName,
  digest: Digest,
): Promise<{ readonly linked: boolean; readonly manifest: string | undefined }> {
  const row = await database.first(SELECT_BLOB_USE, repository, digest);
  return { linked: row?.linked === 1, manifest: row?.manifest ?? undefined };
}

const APPLY_UNLINK = sql`
  DELETE FROM links WHERE repository = ?1 AND digest = ?2 AND created_at <= CAST(?3 AS INTEGER)
    AND NOT ${IS_REFERENCED}`.reading(readsReferences);

/**
 * Applies, at a node, an unlinking that central made at a given time. A link that was made since, or that a live
 * manifest needs, stays.
 * @param at milliseconds since the epoch
 */
export function applyUnlink(repository: RepositoryName, digest: Digest, at: number): BoundStatement {
  return [APPLY_UNLINK, repository, digest, at];
}

/** SQL that holds for the repositories of the organization ?1: "0" is the character after "/". */
export function ofOrganization(column: string): string {
  return `${column} >= ?1 || '/' AND ${column} < ?1 || '0'`;
}

const TAKE_VERSION_IF_NAME_IS_FREE_AGAIN = takeVersionAfter(
  'EXISTS (SELECT 1 FROM organizations WHERE name = ?4 AND removed_at <= CAST(?5 AS INTEGER))',
);

/**
 * Removes everything that was pushed with the last access tokens of a removed organization. Runs before a new owner
 * gets the name. Does nothing if the organization was removed after `freeBefore`.
 * @param now milliseconds since the epoch, like `freeBefore`
 */
export function clearRemovedOrganization(
  name: OrganizationName,
  now: number,
  freeBefore: number,
): BoundStatement<TakenVersion>[] {
  const id = crypto.randomUUID();
  return [
    [TAKE_VERSION_IF_NAME_IS_FREE_AGAIN, versionOf(now), id, null, name, freeBefore],
    ...writeRemoval(name, id, now),
  ];
}

const TAKE_VERSION_IF_REMOVED_NOW = takeVersionAfter(
  'EXISTS (SELECT 1 FROM organizations WHERE name = ?4 AND removed_at = CAST(?5 AS INTEGER))',
);

/**
 * Removes everything that is left under the name of an organization, at every store. Runs after the same batch has
 * removed the organization.
 */
export function clearOrganization(name: OrganizationName, now: number): BoundStatement<TakenVersion>[] {
  const id = crypto.randomUUID();
  return [[TAKE_VERSION_IF_REMOVED_NOW, versionOf(now), id, null, name, now], ...writeRemoval(name, id, now)];
}
