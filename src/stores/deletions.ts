/**
 * Deleting tags, manifests and repositories. A deletion is a version, not the absence of a row: a late copy of an older
 * push cannot undo it, and a push after it works.
 */
import type { Digest } from '../oci/digest.ts';
import type { OrganizationName, RepositoryName, Tag } from '../oci/reference.ts';
import { committed, stampOf, takeStamp } from './clock.ts';
import { type BoundStatement, type Database, sql } from './database.ts';
import { type CommitContext, INSERT_HISTORY } from './tag-history.ts';

const TAKE_STAMP_IF_TAG_IS_VISIBLE = takeStamp(`EXISTS (
  SELECT 1 FROM tags t JOIN manifests m ON m.repository = t.repository AND m.digest = t.digest
  WHERE t.repository = ?3 AND t.name = ?4 AND m.created_version > m.deleted_version AND t.version > m.deleted_version)`);

const DELETE_TAG = sql`
  UPDATE tags SET digest = NULL, version = (SELECT stamp FROM clock WHERE id = 1), origin = ?3, visible = 0
  WHERE repository = ?1 AND name = ?2 AND EXISTS (SELECT 1 FROM clock WHERE ${committed('?4')})`;

/** Deletes a tag; its manifest stays. Answers whether there was one. */
export async function deleteTag(
  database: Database,
  context: CommitContext,
  repository: RepositoryName,
  tag: Tag,
): Promise<boolean> {
  const id = crypto.randomUUID();
  const [stamped] = await database.batch<[{ stamp: number }]>([
    [TAKE_STAMP_IF_TAG_IS_VISIBLE, stampOf(context.now), id, repository, tag],
    [INSERT_HISTORY, repository, JSON.stringify([tag]), context.now, id],
    [DELETE_TAG, repository, tag, context.origin, id],
  ]);
  return stamped.length > 0;
}

const TAKE_STAMP_IF_MANIFEST_IS_ALIVE = takeStamp(`EXISTS (
  SELECT 1 FROM manifests WHERE repository = ?3 AND digest = ?4 AND created_version > deleted_version)`);

const DELETE_MANIFEST = sql`
  UPDATE manifests SET deleted_version = (SELECT stamp FROM clock WHERE id = 1)
  WHERE repository = ?1 AND digest = ?2 AND EXISTS (SELECT 1 FROM clock WHERE ${committed('?3')})`;

// Without statistics the planner takes an index that holds the whole repository: these say which one they mean.
const HIDE_TAGS_OF_MANIFEST = sql`
  UPDATE tags INDEXED BY tags_by_digest SET visible = 0
  WHERE repository = ?1 AND digest = ?2 AND visible = 1 AND EXISTS (SELECT 1 FROM clock WHERE ${committed('?3')})`;

const UNLIST_EMPTY_REPOSITORY = sql`
  UPDATE repositories SET listed = 0 WHERE name = ?1 AND EXISTS (SELECT 1 FROM clock WHERE ${committed('?2')})
    AND NOT EXISTS (SELECT 1 FROM manifests INDEXED BY manifests_live WHERE repository = ?1 AND created_version > deleted_version)`;

/** Deletes a manifest, which hides all its tags. Answers whether there was one. */
export async function deleteManifest(
  database: Database,
  context: CommitContext,
  repository: RepositoryName,
  digest: Digest,
): Promise<boolean> {
  const id = crypto.randomUUID();
  const [stamped] = await database.batch<[{ stamp: number }]>([
    [TAKE_STAMP_IF_MANIFEST_IS_ALIVE, stampOf(context.now), id, repository, digest],
    [DELETE_MANIFEST, repository, digest, id],
    [HIDE_TAGS_OF_MANIFEST, repository, digest, id],
    [UNLIST_EMPTY_REPOSITORY, repository, id],
  ]);
  return stamped.length > 0;
}

const TAKE_STAMP_IF_REPOSITORY_EXISTS = takeStamp('EXISTS (SELECT 1 FROM repositories WHERE name = ?3)');

const DELETE_MANIFESTS_OF_REPOSITORY = sql`
  UPDATE manifests SET deleted_version = (SELECT stamp FROM clock WHERE id = 1)
  WHERE repository = ?1 AND created_version > deleted_version AND EXISTS (SELECT 1 FROM clock WHERE ${committed('?2')})`;

const HIDE_TAGS_OF_REPOSITORY = sql`
  UPDATE tags SET visible = 0
  WHERE repository = ?1 AND visible = 1 AND EXISTS (SELECT 1 FROM clock WHERE ${committed('?2')})`;

const DELETE_LINKS_OF_REPOSITORY = sql`
  DELETE FROM links WHERE repository = ?1 AND EXISTS (SELECT 1 FROM clock WHERE ${committed('?2')})`;

const DELETE_VISIBILITY_OF_REPOSITORY = sql`
  DELETE FROM public_repositories WHERE name = ?1 AND EXISTS (SELECT 1 FROM clock WHERE ${committed('?2')})`;

const DELETE_REPOSITORY = sql`
  DELETE FROM repositories WHERE name = ?1 AND EXISTS (SELECT 1 FROM clock WHERE ${committed('?2')})`;

/** Deletes everything that a repository shows, and its visibility: pushed again, it is private. Answers whether it existed. */
export async function deleteRepository(database: Database, context: CommitContext, repository: RepositoryName): Promise<boolean> {
  const id = crypto.randomUUID();
  const [stamped] = await database.batch<[{ stamp: number }]>([
    [TAKE_STAMP_IF_REPOSITORY_EXISTS, stampOf(context.now), id, repository],
    [DELETE_MANIFESTS_OF_REPOSITORY, repository, id],
    [HIDE_TAGS_OF_REPOSITORY, repository, id],
    [DELETE_LINKS_OF_REPOSITORY, repository, id],
    [DELETE_VISIBILITY_OF_REPOSITORY, repository, id],
    [DELETE_REPOSITORY, repository, id],
  ]);
  return stamped.length > 0;
}

/** SQL that holds for the repositories of the organization ?1: "0" is the character after "/". */
export function ofOrganization(column: string): string {
  return `${column} >= ?1 || '/' AND ${column} < ?1 || '0'`;
}

const TAKE_STAMP_IF_NAME_IS_FREE_AGAIN = takeStamp(
  'EXISTS (SELECT 1 FROM organizations WHERE name = ?3 AND removed_at <= CAST(?4 AS INTEGER))',
);
const IF_COMMITTED = `EXISTS (SELECT 1 FROM clock WHERE ${committed('?2')})`;
const CLEAR_ORGANIZATION = [
  sql`UPDATE manifests SET deleted_version = (SELECT stamp FROM clock WHERE id = 1)
    WHERE ${ofOrganization('repository')} AND created_version > deleted_version AND ${IF_COMMITTED}`,
  sql`UPDATE tags SET visible = 0 WHERE ${ofOrganization('repository')} AND visible = 1 AND ${IF_COMMITTED}`,
  sql`DELETE FROM links WHERE ${ofOrganization('repository')} AND ${IF_COMMITTED}`,
  sql`DELETE FROM public_repositories WHERE ${ofOrganization('name')} AND ${IF_COMMITTED}`,
  sql`DELETE FROM repositories WHERE ${ofOrganization('name')} AND ${IF_COMMITTED}`,
];

/** Deletes what a removed organization left, and what its last access tokens still pushed, if it was removed before `freeBefore`. */
export function clearRemovedOrganization(name: OrganizationName, now: number, freeBefore: number): BoundStatement[] {
  const id = crypto.randomUUID();
  return [
    [TAKE_STAMP_IF_NAME_IS_FREE_AGAIN, stampOf(now), id, name, freeBefore],
    ...CLEAR_ORGANIZATION.map((statement): BoundStatement => [statement, name, id]),
  ];
}
