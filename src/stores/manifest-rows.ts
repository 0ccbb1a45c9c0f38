/**
 * Manifests and tags, and what of them is visible.
 *
 * Invariant 1: a manifest is acknowledged after one transaction that wrote it whole, and only if every blob that it
 * needs was there within that transaction. Invariant 3: state is last-writer-wins. A tag row is (digest or null,
 * version, origin), a manifest row (created, deleted); a tag is visible when its manifest is alive and the tag was
 * written after the manifest was last deleted. `tags.visible` and `repositories.listed` repeat what follows from these
 * versions, for the indexes that lists page through, and are set in the transaction that changes them.
 */
import type { Digest } from '../oci/digest.ts';
import type { Manifest } from '../oci/manifest.ts';
import type { MediaType } from '../oci/media-type.ts';
import type { Reference, RepositoryName, Tag } from '../oci/reference.ts';
import { committed, stampOf, takeStamp } from './clock.ts';
import { type BoundStatement, type Database, sql } from './database.ts';

/** UTF-8 bytes in one row of content: D1 allows 2 MB a row. */
const CONTENT_ROW_BYTES = 1_000_000;

/** What one query says of a manifest, and of the repository that it was looked for in. */
export interface ManifestRows {
  readonly repositoryExists: boolean;
  readonly public: boolean;
  readonly manifest: ManifestRow | undefined;
  /** Of the whole document, in order; empty where only the descriptor was asked for. */
  readonly contents: readonly string[];
}

export interface ManifestRow {
  readonly digest: Digest;
  readonly media_type: MediaType;
  /** Bytes. */
  readonly size: number;
  /** Milliseconds since the epoch, to the hour; 0 for never. */
  readonly last_pull: number;
}

interface Joined {
  readonly known: number;
  readonly public: number;
  readonly digest: Digest | null;
  readonly media_type: MediaType;
  readonly size: number;
  readonly last_pull: number;
  readonly content?: string;
}

const REPOSITORY_FACTS = `
  EXISTS (SELECT 1 FROM repositories WHERE name = ?1) AS known,
  EXISTS (SELECT 1 FROM public_repositories WHERE name = ?1) AS public`;

const MANIFEST_COLUMNS = 'm.digest, m.media_type, m.size, m.last_pull';

// The clock has exactly one row: joined from it, an answer always says what is known of the repository.
const MANIFEST_BY_TAG = `
  FROM clock
  LEFT JOIN tags t ON t.repository = ?1 AND t.name = ?2
  LEFT JOIN manifests m ON m.repository = ?1 AND m.digest = t.digest
    AND m.created_version > m.deleted_version AND t.version > m.deleted_version`;

const MANIFEST_BY_DIGEST = `
  FROM clock
  LEFT JOIN manifests m ON m.repository = ?1 AND m.digest = ?2 AND m.created_version > m.deleted_version`;

const CONTENTS = 'LEFT JOIN manifest_contents c ON c.repository = ?1 AND c.digest = m.digest';

const SELECT_BY_TAG = sql`
  SELECT ${REPOSITORY_FACTS}, ${MANIFEST_COLUMNS}, c.content ${MANIFEST_BY_TAG} ${CONTENTS} WHERE clock.id = 1 ORDER BY c.part`;
const SELECT_BY_DIGEST = sql`
  SELECT ${REPOSITORY_FACTS}, ${MANIFEST_COLUMNS}, c.content ${MANIFEST_BY_DIGEST} ${CONTENTS} WHERE clock.id = 1 ORDER BY c.part`;
const SELECT_DESCRIPTOR_BY_TAG = sql`SELECT ${REPOSITORY_FACTS}, ${MANIFEST_COLUMNS} ${MANIFEST_BY_TAG} WHERE clock.id = 1`;
const SELECT_DESCRIPTOR_BY_DIGEST = sql`SELECT ${REPOSITORY_FACTS}, ${MANIFEST_COLUMNS} ${MANIFEST_BY_DIGEST} WHERE clock.id = 1`;

/** Finds a live manifest, in one query. */
export async function findManifest(
  database: Database,
  repository: RepositoryName,
  reference: Reference,
  want: 'content' | 'descriptor',
): Promise<ManifestRows> {
  const rows =
    reference.kind === 'tag'
      ? await database.all<Joined>(want === 'content' ? SELECT_BY_TAG : SELECT_DESCRIPTOR_BY_TAG, repository, reference.tag)
      : await database.all<Joined>(
          want === 'content' ? SELECT_BY_DIGEST : SELECT_DESCRIPTOR_BY_DIGEST,
          repository,
          reference.digest,
        );
  const first = rows[0];
  const found = first !== undefined && first.digest !== null;
  return {
    repositoryExists: first?.known === 1,
    public: first?.public === 1,
    manifest: found
      ? { digest: first.digest, media_type: first.media_type, size: first.size, last_pull: first.last_pull }
      : undefined,
    contents: found ? rows.flatMap(({ content }) => (content === undefined ? [] : [content])) : [],
  };
}

const RECORD_PULL = sql`UPDATE manifests SET last_pull = CAST(?3 AS INTEGER) WHERE repository = ?1 AND digest = ?2`;

/** Notes that a manifest was pulled within the hour that starts at `hour`. */
export async function recordPull(database: Database, repository: RepositoryName, digest: Digest, hour: number): Promise<void> {
  await database.run(RECORD_PULL, repository, digest, hour);
}

/** Blobs among ?-parameter that the repository has no link to, or that have no location. */
const MISSING_BLOBS = (blobs: string, repository: string): string => `
  SELECT blob.value AS digest FROM json_each(${blobs}) AS blob WHERE NOT EXISTS (
    SELECT 1 FROM links k JOIN locations l ON l.digest = k.digest WHERE k.repository = ${repository} AND k.digest = blob.value)`;

const SELECT_MISSING_BLOBS = sql`${MISSING_BLOBS('?1', '?2')}`;

const TAKE_STAMP_IF_BLOBS_ARE_THERE = takeStamp(`NOT EXISTS (${MISSING_BLOBS('?3', '?4')})`);

/** Bytes that were about to leave the store stay, now that a manifest needs them. */
const KEEP_BLOBS = sql`
  UPDATE locations SET leaving = NULL
  WHERE digest IN (SELECT value FROM json_each(?1)) AND store = ?2 AND leaving IS NOT NULL
    AND EXISTS (SELECT 1 FROM clock WHERE ${committed('?3')})`;

const UPSERT_REPOSITORY = sql`
  INSERT INTO repositories (name, created_at, listed)
  SELECT ?1, CAST(?2 AS INTEGER), 1 FROM clock WHERE ${committed('?3')}
  ON CONFLICT (name) DO UPDATE SET listed = 1 WHERE listed = 0`;

const UPSERT_MANIFEST = sql`
  INSERT INTO manifests (repository, digest, media_type, artifact_type, subject, size, created_version, deleted_version, last_pull)
  SELECT ?1, ?2, ?3, ?4, ?5, CAST(?6 AS INTEGER), clock.stamp, 0, 0 FROM clock WHERE ${committed('?7')}
  ON CONFLICT (repository, digest) DO UPDATE SET
    media_type = excluded.media_type, artifact_type = excluded.artifact_type, created_version = excluded.created_version`;

const INSERT_CONTENT = sql`
  INSERT INTO manifest_contents (repository, digest, part, content)
  SELECT ?1, ?2, CAST(?3 AS INTEGER), ?4 FROM clock WHERE ${committed('?5')} ON CONFLICT DO NOTHING`;

const INSERT_REFERENCES = sql`
  INSERT INTO manifest_references (repository, digest, manifest, kind, size)
  SELECT ?1, reference.value ->> 'digest', ?2, reference.value ->> 'kind', reference.value ->> 'size'
  FROM clock CROSS JOIN json_each(?3) AS reference WHERE ${committed('?4')} ON CONFLICT DO NOTHING`;

const INSERT_HISTORY = sql`
  INSERT INTO tag_history (repository, name, version, origin, digest, recorded_at)
  SELECT t.repository, t.name, t.version, t.origin, t.digest, CAST(?3 AS INTEGER)
  FROM clock CROSS JOIN json_each(?2) AS tag CROSS JOIN tags t ON t.repository = ?1 AND t.name = tag.value
  WHERE ${committed('?4')} ON CONFLICT DO NOTHING`;

const UPSERT_TAGS = sql`
  INSERT INTO tags (repository, name, digest, version, origin, visible)
  SELECT ?1, tag.value, ?3, clock.stamp, ?4, 1 FROM clock CROSS JOIN json_each(?2) AS tag WHERE ${committed('?5')}
  ON CONFLICT (repository, name) DO UPDATE SET
    digest = excluded.digest, version = excluded.version, origin = excluded.origin, visible = 1`;

const UPSERT_MARKERS = sql`
  INSERT INTO markers (kind, repository, key, stamp, written_at)
  SELECT marker.value ->> 'kind', ?1, marker.value ->> 'key', clock.stamp, CAST(?3 AS INTEGER)
  FROM clock CROSS JOIN json_each(?2) AS marker WHERE ${committed('?4')}
  ON CONFLICT (kind, repository, key) DO UPDATE SET stamp = excluded.stamp, written_at = excluded.written_at`;

/** Where a commit happens: the store's name is the origin of its tag writes, and a node's store marks what it has to announce. */
export interface CommitContext {
  readonly origin: string;
  readonly announces: boolean;
  /** Milliseconds since the epoch. */
  readonly now: number;
}

export interface ManifestCommit {
  readonly repository: RepositoryName;
  readonly digest: Digest;
  readonly manifest: Manifest;
  /** Bytes. */
  readonly size: number;
  readonly tags: readonly Tag[];
}

/**
 * Writes a manifest, its references, tags, history and markers in one transaction, if every blob that it needs is there.
 * @returns the blobs that are missing; nothing was written unless there are none
 */
export async function commitManifest(database: Database, context: CommitContext, commit: ManifestCommit): Promise<Digest[]> {
  const { repository, digest, manifest, size, tags } = commit;
  const id = crypto.randomUUID();
  const required = JSON.stringify(manifest.requiredBlobs);
  const tagList = JSON.stringify(tags);
  const optional: BoundStatement[] = [];
  if (manifest.references.length > 0) {
    optional.push([INSERT_REFERENCES, repository, digest, JSON.stringify(manifest.references), id]);
  }
  if (tags.length > 0) {
    optional.push(
      [INSERT_HISTORY, repository, tagList, context.now, id],
      [UPSERT_TAGS, repository, tagList, digest, context.origin, id],
    );
  }
  if (context.announces) {
    const markers = [{ kind: 'manifest', key: digest }, ...tags.map((tag) => ({ kind: 'tag', key: tag }))];
    optional.push([UPSERT_MARKERS, repository, JSON.stringify(markers), context.now, id]);
  }
  const [missing] = await database.batch<[{ digest: Digest }]>([
    [SELECT_MISSING_BLOBS, required, repository],
    [TAKE_STAMP_IF_BLOBS_ARE_THERE, stampOf(context.now), id, required, repository],
    [KEEP_BLOBS, required, context.origin, id],
    [UPSERT_REPOSITORY, repository, context.now, id],
    [UPSERT_MANIFEST, repository, digest, manifest.mediaType, manifest.artifactType, manifest.subject ?? null, size, id],
    ...splitContent(manifest.text).map((part, i): BoundStatement => [INSERT_CONTENT, repository, digest, i, part, id]),
    ...optional,
  ]);
  return missing.map((row) => row.digest);
}

/** Cuts a document into rows of at most {@link CONTENT_ROW_BYTES} of UTF-8, between code points. */
export function splitContent(text: string, rowBytes = CONTENT_ROW_BYTES): string[] {
  const parts: string[] = [];
  const buffer = new Uint8Array(rowBytes);
  const encoder = new TextEncoder();
  for (let start = 0; start < text.length;) {
    const { read } = encoder.encodeInto(text.slice(start, start + rowBytes), buffer);
    parts.push(text.slice(start, start + read));
    start += read;
  }
  return parts;
}

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
