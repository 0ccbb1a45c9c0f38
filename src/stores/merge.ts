/**
 * Merges rows of another store into this one, by the rule of `versions.ts`. Announcements, central's replies to them,
 * the change log and the rows that a node copies down for its next pull all end here. Each is one transaction that can
 * be repeated, and they can come in any order.
 */
import type { Digest } from '../oci/digest.ts';
import type { MediaType } from '../oci/media-type.ts';
import type { RepositoryName, Tag } from '../oci/reference.ts';
import { raiseClock } from './clock.ts';
import { type BoundStatement, sql } from './database.ts';
import { inFull, perTag } from './rows-read.ts';
import { forgetIndexesAbove, KEEPS_MEASURE, measureIndexes, measureOf } from './manifests/image-measure.ts';
import { DESCRIPTOR_CHARACTERS, inline, mayBeLarge, MOST_INLINE } from './manifests/descriptors.ts';
import { hiddenUntil, isAliveManifest, removedVersion } from './deletion/removals.ts';
import { mergeLinks } from './merged-links.ts';
import { ARTIFACT_TYPE, MEDIA_TYPE, type TypeClaim } from './manifests/manifest-type.ts';
import type { AuthoredTag } from './versions.ts';

export interface TagRow extends AuthoredTag {
  readonly repository: RepositoryName;
  readonly name: Tag;
}

/**
 * A manifest's versions. `created` only takes effect if the store has the manifest's content, or receives it as well.
 */
export interface ManifestLifecycle {
  readonly repository: RepositoryName;
  readonly digest: Digest;
  readonly created: number;
  readonly deleted: number;
  /** The claims to its media type, if they are known. */
  readonly typed?: TypeClaim;
  readonly typedOtherwise?: TypeClaim;
}

/** A manifest with its descriptors and its document. */
export interface ManifestRecord extends ManifestLifecycle {
  readonly typed: TypeClaim;
  readonly typedOtherwise: TypeClaim;
  readonly mediaType: MediaType;
  /** '' for none. */
  readonly artifactType: string;
  readonly subject: Digest | null;
  /** Bytes. */
  readonly size: number;
  /** The blobs and manifests that it names, without its subject. Sizes are bytes. */
  readonly descriptors: readonly { readonly digest: Digest; readonly kind: string; readonly size: number }[];
  /** The document, cut into rows. */
  readonly contents: readonly string[];
}

/** A blob that a repository may read. `key` is null if the store that sends the rows does not have its bytes. */
export interface BlobRecord {
  readonly repository: RepositoryName;
  readonly digest: Digest;
  /** The manifest that needs the blob. The link is made only while this manifest is alive. */
  readonly manifest: Digest;
  readonly key: string | null;
  /** Bytes. */
  readonly size: number;
}

export interface Rows {
  readonly tags: readonly TagRow[];
  readonly lifecycles: readonly ManifestLifecycle[];
  readonly manifests: readonly ManifestRecord[];
  readonly blobs: readonly BlobRecord[];
}

/** Returns the greatest version in some rows. */
function greatestVersion({ tags, lifecycles, manifests }: Pick<Rows, 'tags' | 'lifecycles' | 'manifests'>): number {
  return Math.max(
    0,
    ...tags.map(({ version }) => version),
    ...[...lifecycles, ...manifests].map(({ created, deleted }) => Math.max(created, deleted)),
  );
}

// D1 takes at most 2 MB per parameter. JSON escapes quotes, of which manifests have many.
const CONTENT_JSON_CHARACTERS = 500_000;

const INCOMING_TAG = `incoming.value ->> 'version', incoming.value ->> 'digest', incoming.value ->> 'origin',
    incoming.value ->> 'author'`;
const ORDER = (version: string, digest: string, origin: string): string =>
  `${version}, ${digest} IS NULL, ${origin}, coalesce(${digest}, '')`;
const INCOMING_ORDER = ORDER(
  "(incoming.value ->> 'version')",
  "(incoming.value ->> 'digest')",
  "(incoming.value ->> 'origin')",
);
const STORED_ORDER = ORDER('t.version', 't.digest', 't.origin');

/** SQL that holds if a tag shows: if it is newer than any deletion of its manifest, which is alive. */
function isVisibleTag(repository: string, digest: string, version: string): string {
  return `(${digest} IS NOT NULL AND EXISTS (
    SELECT 1 FROM manifests m WHERE m.repository = ${repository} AND m.digest = ${digest}
      AND ${isAliveManifest('m')} AND ${version} > m.deleted_version)
    AND ${version} > ${removedVersion(repository)})`;
}

const JOIN_STORED_TAG = `
  FROM json_each(?1) AS incoming CROSS JOIN tags t
    ON t.repository = incoming.value ->> 'repository' AND t.name = incoming.value ->> 'name'`;

// Two kinds of writes lose and go to the history: stored writes that the incoming ones replace, and incoming writes
// that are older than the stored ones. A change of the author alone is the same write.
const KEEP_REPLACED_TAGS = sql`
  INSERT INTO tag_history (repository, name, version, origin, digest, recorded_at, author)
  SELECT t.repository, t.name, t.version, t.origin, t.digest, CAST(?2 AS INTEGER), t.author
  ${JOIN_STORED_TAG} WHERE (${INCOMING_ORDER}) > (${STORED_ORDER}) ON CONFLICT DO NOTHING`;
const KEEP_LOST_TAGS = sql`
  INSERT INTO tag_history (repository, name, version, origin, digest, recorded_at, author)
  SELECT t.repository, t.name, incoming.value ->> 'version', incoming.value ->> 'origin', incoming.value ->> 'digest',
    CAST(?2 AS INTEGER), incoming.value ->> 'author'
  ${JOIN_STORED_TAG} WHERE (${INCOMING_ORDER}) < (${STORED_ORDER}) ON CONFLICT DO NOTHING`;
// The manifests are merged before, so this statement can decide whether the tag is visible.
const MERGE_TAGS = sql`
  INSERT INTO tags (repository, name, version, digest, origin, author, visible)
  SELECT incoming.value ->> 'repository', incoming.value ->> 'name', ${INCOMING_TAG},
    ${isVisibleTag("(incoming.value ->> 'repository')", "(incoming.value ->> 'digest')", "(incoming.value ->> 'version')")}
  FROM json_each(?1) AS incoming WHERE true
  ON CONFLICT (repository, name) DO UPDATE
    SET version = excluded.version, digest = excluded.digest, origin = excluded.origin, author = excluded.author,
      visible = excluded.visible
  WHERE (${ORDER('excluded.version', 'excluded.digest', 'excluded.origin')}, excluded.author)
    > (${ORDER('tags.version', 'tags.digest', 'tags.origin')}, tags.author)`;

const MERGE_LIFECYCLES = sql`
  INSERT INTO manifests (repository, digest, media_type, artifact_type, subject, size, created_version, deleted_version,
    last_pull)
  SELECT incoming.value ->> 'repository', incoming.value ->> 'digest', '', '', NULL, 0, 0, incoming.value ->> 'deleted',
    0
  FROM json_each(?1) AS incoming WHERE incoming.value ->> 'deleted' > 0
  ON CONFLICT (repository, digest) DO UPDATE SET deleted_version = excluded.deleted_version
  WHERE excluded.deleted_version > manifests.deleted_version`;
const MERGE_LIFECYCLES_OF_CONTENTS = sql`
  UPDATE manifests SET created_version = max(created_version, incoming.value ->> 'created'),
    deleted_version = max(deleted_version, ${hiddenUntil('manifests')}),
    typed = max(typed, coalesce(incoming.value ->> 'typed', '')),
    typed_otherwise = max(typed_otherwise, coalesce(incoming.value ->> 'typedOtherwise', ''))
  FROM json_each(?1) AS incoming
  WHERE manifests.repository = incoming.value ->> 'repository' AND manifests.digest = incoming.value ->> 'digest'
    AND manifests.media_type <> '' AND (incoming.value ->> 'created' > manifests.created_version
      OR incoming.value ->> 'typed' > manifests.typed
        OR incoming.value ->> 'typedOtherwise' > manifests.typed_otherwise)`;
// A manifest that arrives after the removal of its repository, but is older, is dead on arrival.
const INCOMING_DELETED = `max(incoming.value ->> 'deleted', iif(
  incoming.value ->> 'created' <= ${removedVersion("(incoming.value ->> 'repository')")},
  ${removedVersion("(incoming.value ->> 'repository')")}, 0))`;
const INCOMING_MEASURE = measureOf(
  "(incoming.value ->> 'repository')",
  "(incoming.value ->> 'digest')",
  "(incoming.value -> 'descriptors')",
);
const MERGE_LARGE_DESCRIPTORS = sql`
  INSERT INTO large_descriptors (repository, digest, descriptors)
  SELECT incoming.value ->> 'repository', incoming.value ->> 'digest', incoming.value -> 'descriptors'
  FROM json_each(?1) AS incoming WHERE length(incoming.value -> 'descriptors') > ${String(MOST_INLINE)}
  ON CONFLICT DO NOTHING`;
const MERGE_MANIFESTS = sql`
  INSERT INTO manifests (repository, digest, media_type, artifact_type, subject, size, created_version, deleted_version,
    last_pull, typed, typed_otherwise, evictable, descriptors, image_size, image_kind)
  SELECT incoming.value ->> 'repository', incoming.value ->> 'digest', incoming.value ->> 'mediaType',
    incoming.value ->> 'artifactType', incoming.value ->> 'subject', incoming.value ->> 'size',
    incoming.value ->> 'created', ${INCOMING_DELETED}, 0, incoming.value ->> 'typed',
    incoming.value ->> 'typedOtherwise', CAST(?2 AS INTEGER),
    ${inline("(incoming.value -> 'descriptors')")},
    ${INCOMING_MEASURE}
  FROM json_each(?1) AS incoming WHERE true
  ON CONFLICT (repository, digest) DO UPDATE SET
    evictable = excluded.evictable, descriptors = coalesce(manifests.descriptors, excluded.descriptors),
    ${KEEPS_MEASURE},
    media_type = iif(manifests.media_type = '', excluded.media_type, manifests.media_type),
    artifact_type = iif(manifests.media_type = '', excluded.artifact_type, manifests.artifact_type),
    typed = max(manifests.typed, excluded.typed), typed_otherwise = max(manifests.typed_otherwise,
      excluded.typed_otherwise),
    subject = excluded.subject, size = excluded.size,
    created_version = max(manifests.created_version, excluded.created_version),
    deleted_version = max(manifests.deleted_version, excluded.deleted_version, ${hiddenUntil('manifests')})`.reading(
  inFull(16),
);

// A new claim or a deletion can change which claim counts.
const TYPE_MANIFESTS = sql`
  UPDATE manifests SET media_type = ${MEDIA_TYPE}, artifact_type = ${ARTIFACT_TYPE} WHERE (repository, digest) IN (
    SELECT incoming.value ->> 'repository', incoming.value ->> 'digest' FROM json_each(?1) AS incoming)
  AND media_type <> '' AND max(typed, typed_otherwise) <> ''
    AND (media_type, artifact_type) <> (${MEDIA_TYPE}, ${ARTIFACT_TYPE})`;

const MERGE_CONTENTS = sql`
  INSERT INTO manifest_contents (repository, digest, part, content)
  SELECT incoming.value ->> 'repository', incoming.value ->> 'digest', incoming.value ->> 'part',
    incoming.value ->> 'content'
  FROM json_each(?1) AS incoming WHERE true ON CONFLICT DO NOTHING`;
const MERGE_LARGE_CONTENT = sql`
  INSERT INTO manifest_contents (repository, digest, part, content)
  VALUES (?1, ?2, CAST(?3 AS INTEGER), ?4) ON CONFLICT DO NOTHING`;

const IS_VISIBLE = isVisibleTag('tags.repository', 'tags.digest', 'tags.version');

// Even if a tag keeps its digest, the manifest may have died or come to life.
const SHOW_TAGS = sql`
  UPDATE tags SET visible = ${IS_VISIBLE} WHERE (repository, name) IN (
    SELECT incoming.value ->> 'repository', incoming.value ->> 'name' FROM json_each(?1) AS incoming)
  AND visible <> ${IS_VISIBLE}`;
// When a manifest comes to life, its hidden tags show: tags that arrived before it, and tags that its eviction left.
const SHOW_TAGS_OF_MANIFESTS = sql`
  UPDATE tags INDEXED BY tags_by_digest SET visible = ${IS_VISIBLE} WHERE (repository, digest) IN (
    SELECT incoming.value ->> 'repository', incoming.value ->> 'digest' FROM json_each(?1) AS incoming)
  AND visible <> ${IS_VISIBLE}`.reading(perTag);

const ADD_REPOSITORIES = sql`
  INSERT INTO repositories (name, created_at, listed) SELECT DISTINCT m.repository, CAST(?2 AS INTEGER), 0
  FROM json_each(?1) AS incoming CROSS JOIN manifests m
    ON m.repository = incoming.value ->> 'repository' AND m.digest = incoming.value ->> 'digest'
  WHERE ${isAliveManifest('m')} ON CONFLICT DO NOTHING`;
const LIST_REPOSITORIES = sql`
  UPDATE repositories SET listed = 1 - listed FROM json_each(?1) AS incoming
  WHERE repositories.name = incoming.value AND listed <> EXISTS (
    SELECT 1 FROM manifests INDEXED BY manifests_live WHERE repository = incoming.value
      AND created_version > deleted_version)`;

interface MergeOptions {
  /** Whether the store evicts images: true at a node, false at central. */
  readonly evictable?: boolean;
  /** Statements that run once it is known which manifests are alive, and before their blobs are linked. */
  readonly beforeLinks?: readonly BoundStatement[];
}

/**
 * Returns the statements that merge rows, to be run in one batch.
 * @param now milliseconds since the epoch
 */
export function mergeRows(
  rows: Rows,
  now: number,
  { evictable = true, beforeLinks = [] }: MergeOptions = {},
): BoundStatement[] {
  const { tags, lifecycles, manifests, blobs } = rows;
  const known = [...lifecycles, ...manifests].map(({ repository, digest, created, deleted }) => ({
    repository,
    digest,
    created,
    deleted,
  }));
  const repositories = JSON.stringify([...new Set(known.map(({ repository }) => repository))]);
  const statements: BoundStatement[] = [raiseClock(greatestVersion(rows))];
  if (manifests.length > 0) statements.push(forgetIndexesAbove(manifests), ...mergeManifests(manifests, evictable));
  if (lifecycles.length > 0)
    statements.push(
      [MERGE_LIFECYCLES, JSON.stringify(lifecycles)],
      [MERGE_LIFECYCLES_OF_CONTENTS, JSON.stringify(lifecycles)],
    );
  if (known.length > 0) statements.push([TYPE_MANIFESTS, JSON.stringify(known)]);
  if (tags.length > 0) {
    const all = JSON.stringify(tags);
    statements.push([KEEP_REPLACED_TAGS, all, now], [KEEP_LOST_TAGS, all, now], [MERGE_TAGS, all], [SHOW_TAGS, all]);
  }
  if (known.length > 0) {
    statements.push(
      [SHOW_TAGS_OF_MANIFESTS, JSON.stringify(known)],
      [ADD_REPOSITORIES, JSON.stringify(known), now],
      [LIST_REPOSITORIES, repositories],
    );
  }
  const links = jsonParts(blobs).flatMap((part) => mergeLinks(part, now));
  statements.push(
    ...beforeLinks,
    ...links,
    ...measureIndexes(
      manifests.map(({ repository, digest, size, descriptors }) => ({ repository, digest, bytes: size, descriptors })),
    ),
  );
  return statements;
}

/**
 * The most rows that one parameter holds, at their greatest length: a name has up to 255 characters, a sha512 digest
 * 135.
 */
const ROWS_PER_PARAMETER = 1000;

/** Like {@link ROWS_PER_PARAMETER}, for rows that are only digests. */
export const DIGESTS_PER_PARAMETER = 10_000;

/** Turns a list into JSON, in parts that fit D1's limit for a parameter; no parts for an empty list. */
export function jsonParts(rows: readonly (object | Digest)[], most = ROWS_PER_PARAMETER): string[] {
  const parts: string[] = [];
  for (let i = 0; i < rows.length; i += most) parts.push(JSON.stringify(rows.slice(i, i + most)));
  return parts;
}

/** Merges the documents before the rows of the manifests, because the kind of an image comes from its document. */
function mergeManifests(manifests: readonly ManifestRecord[], evictable: boolean): BoundStatement[] {
  const contents = manifests.flatMap(({ repository, digest, contents: parts }) =>
    parts.map((content, part) => ({ repository, digest, part, content })),
  );
  const [large, small] = [
    contents.filter(({ content }) => content.length > CONTENT_JSON_CHARACTERS),
    contents.filter(({ content }) => content.length <= CONTENT_JSON_CHARACTERS),
  ];
  const heads = manifests.map(({ contents: _contents, ...head }) => head);
  return [
    ...large.map(({ repository, digest, part, content }): BoundStatement => [
      MERGE_LARGE_CONTENT,
      repository,
      digest,
      part,
      content,
    ]),
    ...grouped(small, ({ content }) => content.length).map((group): BoundStatement => [MERGE_CONTENTS, group]),
    ...groupsOf(heads.filter(({ descriptors }) => mayBeLarge(descriptors))).map((group): BoundStatement => [
      MERGE_LARGE_DESCRIPTORS,
      group,
    ]),
    ...groupsOf(heads).map((group): BoundStatement => [MERGE_MANIFESTS, group, evictable ? 1 : 0]),
  ];
}

function groupsOf(heads: readonly Pick<ManifestRecord, 'descriptors'>[]): string[] {
  return grouped(heads, ({ descriptors }) => descriptors.length * DESCRIPTOR_CHARACTERS);
}

/** Turns rows into JSON arrays that are about as long as {@link CONTENT_JSON_CHARACTERS}. */
function grouped<Row>(rows: readonly Row[], charactersOf: (row: Row) => number): string[] {
  const groups: Row[][] = [];
  let characters = Number.POSITIVE_INFINITY;
  for (const row of rows) {
    characters += charactersOf(row);
    if (characters > CONTENT_JSON_CHARACTERS) {
      groups.push([]);
      characters = charactersOf(row);
    }
    groups.at(-1)?.push(row);
  }
  return groups.map((group) => JSON.stringify(group));
}
