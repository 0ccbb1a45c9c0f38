/**
 * Lists of images across repositories: what a store has, by tag, then what has no tag; and single images by reference.
 * Each is one round trip, and a page costs the page: ranges of indexes in their own order, joined by primary keys.
 * Sizes and kinds are columns (`image-measure.ts`).
 */
import type { Digest } from '../../oci/digest.ts';
import type { Reference, RepositoryName, Tag } from '../../oci/reference.ts';
import { type BoundStatement, type Database, type Sql, sql } from '../../stores/database.ts';
import { type ImageKind, measureFound } from '../../stores/manifests/image-measure.ts';
import type { NameRange } from '../../stores/list-rows.ts';
import { asManyAs, keyed, paged } from '../../stores/rows-read.ts';
import { isAliveManifest, liveReferencesTo, removedVersion } from '../../stores/deletion/removals.ts';

/** An image of one repository. */
export interface ImageRow {
  readonly repository: RepositoryName;
  readonly digest: Digest;
  /** Of the manifest's document. */
  readonly bytes: number;
  /** Version of the manifest's last push. */
  readonly created: number;
  /** Bytes of its distinct blobs. */
  readonly size: number;
  readonly kind: ImageKind;
}

export interface NamedVersion {
  readonly name: Tag;
  /** Version of the tag's push. */
  readonly version: number;
}

/** An image as one of its tags shows it. */
export interface TaggedImageRow extends ImageRow {
  readonly tag: Tag;
  readonly version: number;
  /** Not where a removal hides it that has yet to be swept. */
  readonly shown: boolean;
}

/** Which repositories are listed: those within ranges of names, and the public ones within another. */
export interface ImageScope {
  readonly ranges: readonly NameRange[];
  readonly publicWithin: NameRange | undefined;
}

type Unmeasured<Row> = Omit<Row, 'size' | 'kind'> & { readonly size: number | null; readonly kind: ImageKind | null };
type Selected<Row> = Omit<Unmeasured<Row>, 'shown'> & { readonly shown: number };

const IMAGE_COLUMNS =
  'm.repository, m.digest, m.size AS bytes, m.created_version AS created, m.image_size AS size, m.image_kind AS kind';
const IS_ALIVE = 'm.created_version > m.deleted_version';
// Looked at after the page was cut, as below.
const IS_LATER = `t.version > ${removedVersion('t.repository')} AS shown`;

const SELECT_TAGGED = sql<Selected<TaggedImageRow>>`
  SELECT ${IMAGE_COLUMNS}, t.name AS tag, t.version, ${IS_LATER} FROM tags t INDEXED BY tags_visible
  CROSS JOIN manifests m ON m.repository = t.repository AND m.digest = t.digest
  WHERE t.visible = 1 AND (t.repository, t.name) > (?1, ?2) AND t.repository < ?3
  ORDER BY t.repository, t.name LIMIT CAST(?4 AS INTEGER)`.reading(paged(4, 4));
const SELECT_PUBLIC_TAGGED = sql<Selected<TaggedImageRow>>`
  SELECT ${IMAGE_COLUMNS}, t.name AS tag, t.version, ${IS_LATER}
    FROM public_repositories p INDEXED BY public_repositories_listed
  CROSS JOIN tags t INDEXED BY tags_visible ON t.repository = p.name AND t.visible = 1
    AND t.name > iif(p.name = ?1, ?2, '')
  CROSS JOIN manifests m ON m.repository = t.repository AND m.digest = t.digest
  WHERE p.listed = 1 AND p.name >= ?1 AND p.name < ?3 ORDER BY p.name, t.name LIMIT CAST(?4 AS INTEGER)`.reading(
  asManyAs('public repositories with images, but without a tag'),
);

// What a live index lists is a part of that image. Looked at after the page was cut: what is hidden counts as well.
const HAS_NO_NAME = `
  m.created_version > ${removedVersion('m.repository')}
  AND NOT EXISTS (SELECT 1 FROM tags t INDEXED BY tags_by_digest
    WHERE t.repository = m.repository AND t.digest = m.digest AND t.visible = 1
      AND t.version > ${removedVersion('m.repository')})
  AND NOT EXISTS (SELECT 1 FROM ${liveReferencesTo('m.repository', 'm.digest', "r.kind = 'child'")})`;
const SELECT_UNTAGGED = sql<Selected<ImageRow>>`
  SELECT ${IMAGE_COLUMNS}, ${HAS_NO_NAME} AS shown FROM manifests m INDEXED BY manifests_live
  WHERE ${IS_ALIVE} AND (m.repository, m.digest) > (?1, ?2) AND m.repository < ?3
  ORDER BY m.repository, m.digest LIMIT CAST(?4 AS INTEGER)`.reading(paged(4, 8));
const SELECT_PUBLIC_UNTAGGED = sql<Selected<ImageRow>>`
  SELECT ${IMAGE_COLUMNS}, ${HAS_NO_NAME} AS shown FROM public_repositories p INDEXED BY public_repositories_listed
  CROSS JOIN manifests m INDEXED BY manifests_live ON m.repository = p.name AND ${IS_ALIVE}
    AND m.digest > iif(p.name = ?1, ?2, '')
  WHERE p.listed = 1 AND p.name >= ?1 AND p.name < ?3 ORDER BY p.name, m.digest LIMIT CAST(?4 AS INTEGER)`.reading(
  paged(4, 8),
);

/** Where a page starts: after this tag, or after this digest among what has no tag. */
export interface ImagePosition {
  readonly part: 'tagged' | 'untagged';
  readonly repository: string;
  /** The tag, or the digest; '' for before the first. */
  readonly key: string;
}

export interface ImagePage {
  readonly tagged: readonly TaggedImageRow[];
  /** Including, not `shown`, what has a tag, is part of an index, or is removed: a page ends by what was looked at. */
  readonly untagged: readonly (ImageRow & { readonly shown: boolean })[];
}

/**
 * Images after `after`, each part in byte order of repository and tag, or digest; at most `limit` of each part.
 * @param withUntagged whether what has no tag is asked for as well
 */
export async function listImages(
  database: Database,
  scope: ImageScope,
  after: ImagePosition,
  limit: number,
  withUntagged: boolean,
): Promise<ImagePage> {
  const select = async (): Promise<[Selected<TaggedImageRow>[], Selected<ImageRow>[]]> => {
    const tagged = after.part === 'tagged' ? pages(scope, after, limit, SELECT_TAGGED, SELECT_PUBLIC_TAGGED) : [];
    const start = after.part === 'untagged' ? after : BEFORE_ALL;
    const untagged = withUntagged ? pages(scope, start, limit, SELECT_UNTAGGED, SELECT_PUBLIC_UNTAGGED) : [];
    if (tagged.length + untagged.length === 0) return [[], []];
    const found = await database.batch({ tagged, untagged });
    return [
      inOrder(found.tagged, ({ tag }) => tag).slice(0, limit),
      inOrder(found.untagged, ({ digest }) => digest).slice(0, limit),
    ];
  };
  let [tagged, untagged] = await select();
  const unmeasured = [...tagged, ...untagged].filter((row) => row.shown === 1 && isUnmeasured(row));
  if (unmeasured.length > 0) {
    await measureFound(database, unmeasured);
    [tagged, untagged] = await select();
  }
  return { tagged: tagged.map(judged), untagged: untagged.map(judged) };
}

function judged<Row extends Selected<ImageRow>>({ shown, ...row }: Row) {
  return Object.assign(measured(row), { shown: shown === 1 });
}

const BEFORE_ALL: ImagePosition = { part: 'untagged', repository: '', key: '' };

/** One statement for each range: of several lower bounds, SQLite would read on from the lowest. */
function pages<Row>(
  { ranges, publicWithin }: ImageScope,
  { repository, key }: ImagePosition,
  limit: number,
  within: Sql<Row>,
  publicOnes: Sql<Row>,
): BoundStatement<Row>[] {
  const page = (statement: Sql<Row>, { from, to }: NameRange): BoundStatement<Row>[] => {
    if (repository >= to) return [];
    return [repository < from ? [statement, from, '', to, limit] : [statement, repository, key, to, limit]];
  };
  return [
    ...ranges.flatMap((range) => page(within, range)),
    ...(publicWithin === undefined ? [] : page(publicOnes, publicWithin)),
  ];
}

/**
 * Rows of several ranges, which may overlap, or of several stores: each once. SQLite compares UTF-8 bytes; names are
 * ASCII, where UTF-16 order is the same.
 */
export function inOrder<Row extends { readonly repository: string }>(
  rows: readonly Row[],
  key: (row: Row) => string,
): Row[] {
  const byKey = new Map(rows.map((row) => [`${row.repository} ${key(row)}`, row]));
  return [...byKey.values()].toSorted((a, b) => compare(a.repository, b.repository) || compare(key(a), key(b)));
}

function compare(a: string, b: string): number {
  return a < b ? -1 : Number(a > b);
}

/** Tags of one manifest that are shown where it is listed by itself. */
const MAX_TAGS = 100;

const IS_SHOWN = `t.visible = 1 AND t.version > ${removedVersion('t.repository')}`;

/** Among them the one that is asked for. @param asked SQL of its name, or of NULL */
const tagsOfImage = (asked: string): string => `(
  SELECT json_group_array(json_object('name', name, 'version', version)) FROM (
    SELECT t.name, t.version FROM tags t
    WHERE t.repository = m.repository AND t.name = ${asked} AND t.digest = m.digest AND ${IS_SHOWN}
    UNION ALL
    SELECT t.name, t.version FROM tags t INDEXED BY tags_by_digest
    WHERE t.repository = m.repository AND t.digest = m.digest AND ${IS_SHOWN} AND t.name IS NOT ${asked}
    LIMIT ${MAX_TAGS})) AS tags`;

const SELECT_AMONG = sql`
  SELECT asked.key AS asked, ${IMAGE_COLUMNS}, ${tagsOfImage("(asked.value ->> 'tag')")} FROM json_each(?1) AS asked
  CROSS JOIN manifests m ON m.repository = asked.value ->> 'repository'
    AND m.digest = coalesce(asked.value ->> 'digest', (
    SELECT t.digest FROM tags t
    WHERE t.repository = asked.value ->> 'repository' AND t.name = asked.value ->> 'tag' AND ${IS_SHOWN}))
  WHERE ${isAliveManifest('m')} AND (asked.value ->> 'granted' OR EXISTS (SELECT 1 FROM public_repositories p
    WHERE p.name = m.repository))`.reading((run) => keyed(run) + 2 * MAX_TAGS * run.keys);

/** An image by itself, with its tags in byte order: {@link MAX_TAGS} at most, among them the one that is asked for. */
export interface FoundImageRow extends ImageRow {
  readonly tags: readonly NamedVersion[];
}

type Found = Unmeasured<ImageRow> & { readonly tags: string };

/** What is found in a repository that was looked at; a repository without the image has no digest. */
type Walked = Found & { readonly walked: string };

/** An image that is asked for by its repository. */
export interface AskedImage {
  readonly repository: RepositoryName;
  readonly reference: Reference;
  /** Whether it is found also while the repository is private. */
  readonly granted: boolean;
}

/**
 * Images by their references, each with its place among those that were asked for: what is not there, or not to be
 * seen, is left out.
 */
export async function findImages(
  database: Database,
  asked: readonly AskedImage[],
): Promise<(FoundImageRow & { readonly asked: number })[]> {
  const list = JSON.stringify(
    asked.map(({ repository, reference, granted }) => ({ repository, granted, ...valueOf(reference) })),
  );
  return foundIn(database, () => database.all<Found & { readonly asked: number }>(SELECT_AMONG, list));
}

// A page is made of repositories, each looked at once: no index says which of them have a digest or a tag.
const AMONG_REPOSITORIES = (repositories: string): string => `
  SELECT r.name AS walked, ${IMAGE_COLUMNS}, ${tagsOfImage('?5')} FROM (${repositories}) AS r
  LEFT JOIN manifests m ON m.repository = r.name AND ${isAliveManifest('m')} AND m.digest = coalesce(?4, (
    SELECT t.digest FROM tags t WHERE t.repository = r.name AND t.name = ?5 AND ${IS_SHOWN}))`;
const SELECT_IN_RANGE = sql<Walked>`${AMONG_REPOSITORIES(`
  SELECT name FROM repositories WHERE listed = 1 AND name >= ?1 AND name < ?2 ORDER BY name
    LIMIT CAST(?3 AS INTEGER)`)}`.reading(paged(3, 2 * MAX_TAGS));
const SELECT_IN_PUBLIC = sql<Walked>`${AMONG_REPOSITORIES(`
  SELECT name FROM public_repositories WHERE name >= ?1 AND name < ?2 ORDER BY name
    LIMIT CAST(?3 AS INTEGER)`)}`.reading(paged(3, 2 * MAX_TAGS));

export interface WalkedImages {
  readonly images: readonly FoundImageRow[];
  /** The last repository that was looked at; undefined where that was all. */
  readonly last: string | undefined;
}

/** Images by a tag or digest alone, wherever in `scope`, among the `limit` repositories after `after`. */
export async function findInRepositories(
  database: Database,
  { ranges, publicWithin }: ImageScope,
  reference: Reference,
  after: string,
  limit: number,
): Promise<WalkedImages> {
  const { digest = null, tag = null } = valueOf(reference);
  const page = (statement: Sql<Walked>, { from, to }: NameRange): BoundStatement<Walked> => [
    statement,
    after < from ? from : `${after}\u0000`,
    to,
    limit + 1,
    digest,
    tag,
  ];
  const statements = [
    ...ranges.map((range) => page(SELECT_IN_RANGE, range)),
    ...(publicWithin === undefined ? [] : [page(SELECT_IN_PUBLIC, publicWithin)]),
  ];
  if (statements.length === 0) return { images: [], last: undefined };
  let last: string | undefined;
  const images = await foundIn(database, async () => {
    const { found } = await database.batch({ found: statements });
    const walked = new Map(found.map((row) => [row.walked, row]));
    const rows = [...walked.values()].toSorted((a, b) => compare(a.walked, b.walked));
    last = rows.length > limit ? rows.at(limit - 1)?.walked : undefined;
    return rows.slice(0, limit).filter((row) => (row.digest as Digest | null) !== null);
  });
  return { images, last };
}

async function foundIn<Row extends Found>(
  database: Database,
  select: () => Promise<Row[]>,
): Promise<(Omit<Row, 'tags'> & FoundImageRow)[]> {
  let rows = await select();
  const unmeasured = rows.filter(isUnmeasured);
  if (unmeasured.length > 0) {
    await measureFound(database, unmeasured);
    rows = await select();
  }
  return rows.map(({ tags, ...row }) => {
    const named = JSON.parse(tags) as NamedVersion[];
    return Object.assign(measured(row), { tags: named.toSorted((a, b) => compare(a.name, b.name)) });
  });
}

function valueOf(reference: Reference): { readonly digest?: Digest; readonly tag?: Tag } {
  return reference.kind === 'tag' ? { tag: reference.tag } : { digest: reference.digest };
}

function isUnmeasured({ size, kind }: { readonly size: number | null; readonly kind: ImageKind | null }): boolean {
  return size === null || kind === null;
}

function measured<Row extends { readonly size: number | null; readonly kind: ImageKind | null }>(
  row: Row,
): Row & { readonly size: number; readonly kind: ImageKind } {
  return { ...row, size: row.size ?? 0, kind: row.kind ?? '' };
}
