/**
 * Forgets tombstones. A tombstone answers a late copy of an older push. It is forgotten once no such copy can arrive
 * any more: the grace time is over, every node has applied the change log past it, and no node has an outbox entry of
 * an older change. A node forgets it after central has.
 *
 * Invariant 3: nothing deleted comes back.
 *
 * - The deletion of a manifest hides tags that were written before it, and the change log has no entries for these. A
 *   node may have an older write of such a tag, which would show again once central's hidden row is gone. So before the
 *   deletion is forgotten, each hidden tag becomes a tombstone with the version that it has. At equal versions a
 *   deletion wins, so this changes no answer, and every node learns of it from the change log. A manifest's deletion is
 *   forgotten only when it hides no tag.
 * - A removal's row hides its tags. They need no tombstones, and are deleted before that row.
 * - The deletion of a manifest that was pushed again is forgotten in the same way. The manifest's row stays.
 * - After the grace time, everything of a deleted manifest is removed except its versions. Its row then looks like that
 *   of a manifest that was never here (`media_type` empty), so that no merge of versions alone revives it without its
 *   content.
 */
import type { Digest } from '../../oci/digest.ts';
import type { RepositoryName, Tag } from '../../oci/reference.ts';
import { type BoundStatement, type Database, sql } from '../../stores/database.ts';
import { removedVersion } from '../../stores/deletion/removals.ts';
import { inFull, paged, perTag, type ReadsAtMost } from '../../stores/rows-read.ts';

/** The tombstone of a tag. */
export interface TagTombstone {
  readonly repository: RepositoryName;
  readonly name: Tag;
  readonly version: number;
}

export interface ManifestDeletion {
  readonly repository: RepositoryName;
  readonly digest: Digest;
  readonly deleted: number;
}

export interface TombstonePosition {
  readonly version: number;
  readonly repository: string;
  readonly key: string;
}

const SELECT_TAGS = sql`
  SELECT repository, name, version FROM tags INDEXED BY tags_deleted
  WHERE digest IS NULL AND version <= CAST(?4 AS INTEGER)
    AND (version, repository, name) > (CAST(?1 AS INTEGER), ?2, ?3)
  ORDER BY version, repository, name LIMIT CAST(?5 AS INTEGER)`.reading(paged(5));

/** Returns a page of the tag tombstones whose version is at most `until`, oldest first. */
export function tagTombstones(
  database: Database,
  after: TombstonePosition,
  until: number,
  limit: number,
): Promise<TagTombstone[]> {
  return database.all<TagTombstone>(SELECT_TAGS, after.version, after.repository, after.key, until, limit);
}

const SELECT_DELETIONS = sql`
  SELECT repository, digest, deleted_version AS deleted FROM manifests INDEXED BY manifests_deleted
  WHERE deleted_version > 0 AND deleted_version <= CAST(?4 AS INTEGER)
    AND (deleted_version, repository, digest) > (CAST(?1 AS INTEGER), ?2, ?3)
  ORDER BY deleted_version, repository, digest LIMIT CAST(?5 AS INTEGER)`.reading(paged(5));

/**
 * Returns a page of the manifest deletions whose version is at most `until`, oldest first. It includes manifests that
 * were pushed again.
 */
export function manifestDeletions(
  database: Database,
  after: TombstonePosition,
  until: number,
  limit: number,
): Promise<ManifestDeletion[]> {
  return database.all<ManifestDeletion>(SELECT_DELETIONS, after.version, after.repository, after.key, until, limit);
}

/**
 * The most change log entries that {@link APPLIED_UNTIL} reads. If a node has yet to apply more, nothing is forgotten.
 */
const ENTRIES = 10_000;
/**
 * SQL: the least version among the entries that some node has yet to apply. Entries are not in the order of their
 * versions, since those of hidden tags are written late.
 */
export const APPLIED_UNTIL = (nodes: string): string => `(
  SELECT iif(count(*) > ${ENTRIES}, 0, coalesce(min(iif(f.version > 0, f.version, NULL)), 9223372036854775807)) FROM (
    SELECT version FROM change_log WHERE position > (
      SELECT coalesce(min(coalesce(w.position, 0)), 9223372036854775807)
      FROM json_each(${nodes}) AS node LEFT JOIN change_log_positions w ON w.store = node.value)
    ORDER BY position LIMIT ${ENTRIES + 1}) AS f)`;
export const withEntries: ReadsAtMost = (run) => inFull()(run) + 3 * ENTRIES;

type ForgottenTag = Pick<TagTombstone, 'repository' | 'name'>;
type ForgottenDeletion = Pick<ManifestDeletion, 'repository' | 'digest'>;

const LISTED_TAGS =
  "SELECT tag.value ->> 'repository', tag.value ->> 'name', tag.value ->> 'version' FROM json_each(?1) AS tag";
const TAG_GOES = `(t.repository, t.name, t.version) IN (${LISTED_TAGS}) AND t.digest IS NULL
  AND t.version < CAST(?3 AS INTEGER) AND t.version < ${APPLIED_UNTIL('?2')}`;
const DELETE_TAGS = sql<ForgottenTag>`
  DELETE FROM tags AS t WHERE ${TAG_GOES} RETURNING repository, name`.reading(withEntries);
const DELETE_HISTORY = sql`
  DELETE FROM tag_history WHERE (repository, name) IN (
    SELECT tag.value ->> 'repository', tag.value ->> 'name' FROM json_each(?1) AS tag WHERE NOT EXISTS (
      SELECT 1 FROM tags t WHERE t.repository = tag.value ->> 'repository' AND t.name = tag.value ->> 'name'))`.reading(
  inFull(),
);

/**
 * Removes the tag tombstones that are due, with the tags' histories, and returns the tombstones.
 * @param nodeNames stores whose positions in the change log count: the nodes' at central, none at a node
 * @param before tombstones of this version or a newer one stay
 * @param withHistory tags whose history is removed as well: those that central no longer has
 */
export function forgetTags(
  tags: readonly TagTombstone[],
  nodeNames: readonly string[],
  before: number,
  withHistory: readonly TagTombstone[] = tags,
): BoundStatement<ForgottenTag>[] {
  return [
    [DELETE_TAGS, JSON.stringify(tags), JSON.stringify(nodeNames), before],
    [DELETE_HISTORY, JSON.stringify(withHistory)],
  ];
}

const HIDDEN_TAGS = `json_each(?1) AS deletion
  CROSS JOIN manifests m ON m.repository = deletion.value ->> 'repository' AND m.digest = deletion.value ->> 'digest'
    AND m.deleted_version = deletion.value ->> 'deleted'
  CROSS JOIN tags t INDEXED BY tags_by_digest ON t.repository = m.repository AND t.digest = m.digest
    AND t.version <= m.deleted_version AND t.version > ${removedVersion('m.repository')}`;
const KEEP_HIDDEN_TAGS = sql`
  INSERT INTO tag_history (repository, name, version, origin, digest, recorded_at, author)
  SELECT t.repository, t.name, t.version, t.origin, t.digest, CAST(?2 AS INTEGER), t.author
  FROM ${HIDDEN_TAGS} WHERE true
  ON CONFLICT DO NOTHING`.reading(perTag);
const CHANGE_LOG_HIDDEN_TAGS = sql`
  INSERT OR REPLACE INTO change_log (kind, name, key, version, recorded_at)
  SELECT 'tag', t.repository, t.name, t.version, CAST(?2 AS INTEGER) FROM ${HIDDEN_TAGS}`.reading(perTag);
const DELETE_HIDDEN_TAGS = sql`
  UPDATE tags SET digest = NULL, origin = ?2, visible = 0, author = '' WHERE (repository, name) IN (
    SELECT t.repository, t.name FROM ${HIDDEN_TAGS})`.reading(perTag);

/**
 * Turns the tags that deletions hide into tombstones.
 * @param central the name of central's store, which becomes the tombstones' origin
 */
export function deleteHiddenTags(
  deletions: readonly ManifestDeletion[],
  central: string,
  isCentral: boolean,
  now: number,
): BoundStatement[] {
  const list = JSON.stringify(deletions);
  return [
    [KEEP_HIDDEN_TAGS, list, now],
    ...(isCentral ? [[CHANGE_LOG_HIDDEN_TAGS, list, now] as const] : []),
    [DELETE_HIDDEN_TAGS, list, central],
  ];
}

const LISTED_DELETIONS = `
  SELECT deletion.value ->> 'repository', deletion.value ->> 'digest', deletion.value ->> 'deleted'
  FROM json_each(?1) AS deletion`;
const DELETION_IS_LISTED = `(m.repository, m.digest, m.deleted_version) IN (${LISTED_DELETIONS})`;
const IS_DEAD = (repository: string, digest: string): string => `EXISTS (
  SELECT 1 FROM manifests m WHERE m.repository = ${repository} AND m.digest = ${digest}
    AND m.created_version <= m.deleted_version AND ${DELETION_IS_LISTED})`;
const NAMES = "SELECT deletion.value ->> 'repository', deletion.value ->> 'digest' FROM json_each(?1) AS deletion";
const STRIP_CONTENTS = sql`
  DELETE FROM manifest_contents WHERE (repository, digest) IN (${NAMES})
    AND ${IS_DEAD('manifest_contents.repository', 'manifest_contents.digest')}`.reading(inFull(8));
const STRIP_DESCRIPTORS = sql`
  DELETE FROM large_descriptors WHERE (repository, digest) IN (${NAMES})
    AND ${IS_DEAD('large_descriptors.repository', 'large_descriptors.digest')}`.reading(inFull(8));
const STRIP_MANIFESTS = sql`
  UPDATE manifests AS m SET created_version = 0, media_type = '', artifact_type = '', typed = '', typed_otherwise = '',
    subject = NULL, size = 0, last_pull = 0, image_size = NULL, image_kind = NULL, image_platform = NULL,
    descriptors = NULL
  WHERE ${DELETION_IS_LISTED} AND m.created_version <= m.deleted_version AND m.media_type <> ''`;

/** Removes everything that deleted manifests have left except their versions. */
export function stripDeleted(deletions: readonly ManifestDeletion[]): BoundStatement[] {
  const list = JSON.stringify(deletions);
  return [STRIP_CONTENTS, STRIP_DESCRIPTORS, STRIP_MANIFESTS].map((statement): BoundStatement => [statement, list]);
}

const DELETION_GOES = `${DELETION_IS_LISTED} AND m.deleted_version < CAST(?3 AS INTEGER)
  AND m.deleted_version < ${APPLIED_UNTIL('?2')}
  AND NOT EXISTS (SELECT 1 FROM tags t INDEXED BY tags_by_digest
    WHERE t.repository = m.repository AND t.digest = m.digest AND t.version <= m.deleted_version
      AND t.version > ${removedVersion('m.repository')})`;
const withTags: ReadsAtMost = (run) => withEntries(run) + perTag(run);
const DELETE_MANIFESTS = sql<ForgottenDeletion>`
  DELETE FROM manifests AS m WHERE ${DELETION_GOES} AND m.created_version <= m.deleted_version AND m.media_type = ''
  RETURNING repository, digest`.reading(withTags);
const FORGET_DELETIONS = sql<ForgottenDeletion>`
  UPDATE manifests AS m SET deleted_version = 0 WHERE ${DELETION_GOES} AND m.created_version > m.deleted_version
  RETURNING repository, digest`.reading(withTags);

/** Forgets the manifest deletions that are due, and returns them. See {@link forgetTags} for the parameters. */
export function forgetDeletions(
  deletions: readonly ManifestDeletion[],
  nodeNames: readonly string[],
  before: number,
): BoundStatement<ForgottenDeletion>[] {
  const parameters = [JSON.stringify(deletions), JSON.stringify(nodeNames), before] as const;
  return [
    [DELETE_MANIFESTS, ...parameters],
    [FORGET_DELETIONS, ...parameters],
  ];
}

const SELECT_KNOWN_TAGS = sql`
  SELECT t.repository, t.name, t.digest IS NULL AS deleted FROM json_each(?1) AS asked
  CROSS JOIN tags t ON t.repository = asked.value ->> 'repository' AND t.name = asked.value ->> 'name'`;
const SELECT_KNOWN_DELETIONS = sql`
  SELECT m.repository, m.digest FROM json_each(?1) AS asked
  CROSS JOIN manifests m ON m.repository = asked.value ->> 'repository' AND m.digest = asked.value ->> 'digest'
  WHERE m.deleted_version > 0`;

/** Returns those of the tags that have a row at central, and whether the row is a tombstone. */
export function knownTags(
  central: Database,
  tags: readonly TagTombstone[],
): Promise<{ readonly repository: RepositoryName; readonly name: Tag; readonly deleted: number }[]> {
  return central.all(SELECT_KNOWN_TAGS, JSON.stringify(tags));
}

/** Returns those of the manifests whose deletion central still knows. */
export function knownDeletions(
  central: Database,
  deletions: readonly ManifestDeletion[],
): Promise<{ readonly repository: RepositoryName; readonly digest: Digest }[]> {
  return central.all(SELECT_KNOWN_DELETIONS, JSON.stringify(deletions));
}

const FORGET_REPOSITORIES = sql`
  DELETE FROM repositories WHERE name IN (SELECT value FROM json_each(?1)) AND listed = 0
    AND NOT EXISTS (SELECT 1 FROM manifests m WHERE m.repository = repositories.name)
    AND NOT EXISTS (SELECT 1 FROM tags t WHERE t.repository = repositories.name)`;

/** Removes a node's empty repositories. Central's stay until somebody removes them. */
export function forgetEmptyRepositories(names: readonly RepositoryName[]): BoundStatement {
  return [FORGET_REPOSITORIES, JSON.stringify([...new Set(names)])];
}
