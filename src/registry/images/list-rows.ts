/**
 * Lists a store's images across repositories, tagged images first and then untagged ones, and finds single images by
 * reference. Each takes one round trip. A page costs only what it shows: the statements read ranges of indexes in index
 * order and join by primary key. The size and the kind of an image are columns (`image-measure.ts`).
 */
import type { Digest } from '../../oci/digest.ts';
import type { Reference, RepositoryName, Tag } from '../../oci/reference.ts';
import { type BoundStatement, type Database, type Sql, sql } from '../../stores/database.ts';
import { type ImageKind, measureFound } from '../../stores/manifests/image-measure.ts';
import { inRanges, type NameRange, rangesAfter, rangesInOrder } from '../../stores/name-ranges.ts';
import { keyed, paged } from '../../stores/rows-read.ts';
import { isAliveManifest, liveReferencesTo, removedVersion } from '../../stores/deletion/removals.ts';

/** An image of one repository. */
export interface ImageRow {
  readonly repository: RepositoryName;
  readonly digest: Digest;
  /** Bytes of the manifest's document. */
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

/** An image under one of its tags. */
interface TaggedImageRow extends ImageRow {
  readonly tag: Tag;
  readonly version: number;
  /** False if a removal hides the tag, until a sweep deletes it. */
  readonly shown: boolean;
}

/** The repositories to list: those within `ranges`, and the public ones within `publicWithin`. */
interface ImageScope {
  readonly ranges: readonly NameRange[];
  readonly publicWithin: NameRange | undefined;
}

type Unmeasured<Row> = Omit<Row, 'size' | 'kind'> & { readonly size: number | null; readonly kind: ImageKind | null };
type Selected<Row> = Omit<Unmeasured<Row>, 'shown'> & { readonly shown: number };

const IMAGE_COLUMNS =
  'm.repository, m.digest, m.size AS bytes, m.created_version AS created, m.image_size AS size, m.image_kind AS kind';
const IS_ALIVE = 'm.created_version > m.deleted_version';
// A column rather than a condition, so that hidden rows count in the page. So is HAS_NO_NAME below.
const IS_LATER = `t.version > ${removedVersion('t.repository')} AS shown`;

// Like `inRanges`, from a position within a repository.
const IN_RANGE = (repository: string, key: string): string => `
  (${repository}, ${key}) > (range.value ->> 'from', range.value ->> 'key') AND ${repository} < range.value ->> 'to'`;

const SELECT_TAGGED = sql<Selected<TaggedImageRow>>`
  SELECT ${IMAGE_COLUMNS}, t.name AS tag, t.version, ${IS_LATER}
  FROM json_each(?1) AS range CROSS JOIN tags t INDEXED BY tags_visible ON t.visible = 1
    AND ${IN_RANGE('t.repository', 't.name')}
  CROSS JOIN manifests m ON m.repository = t.repository AND m.digest = t.digest
  LIMIT CAST(?2 AS INTEGER)`.reading(paged(2, 4));
// A public repository without a tag is one hidden row of its page, unless the page before ended in that repository.
const SELECT_PUBLIC_TAGGED = sql<Selected<TaggedImageRow>>`
  SELECT p.name AS repository, coalesce(m.digest, '') AS digest, coalesce(m.size, 0) AS bytes,
    coalesce(m.created_version, 0) AS created, m.image_size AS size, m.image_kind AS kind,
    coalesce(t.name, '') AS tag, coalesce(t.version, 0) AS version,
    m.digest IS NOT NULL AND t.version > ${removedVersion('p.name')} AS shown
  FROM public_repositories p INDEXED BY public_repositories_listed
  LEFT JOIN tags t INDEXED BY tags_visible ON t.repository = p.name AND t.visible = 1
    AND t.name > iif(p.name = ?1, ?2, '')
  LEFT JOIN manifests m ON m.repository = t.repository AND m.digest = t.digest
  WHERE p.listed = 1 AND p.name >= ?1 AND p.name < ?3 AND (t.name IS NOT NULL OR p.name > ?1)
  ORDER BY p.name, t.name LIMIT CAST(?4 AS INTEGER)`.reading(paged(4, 4));

// A manifest that a live index lists is a part of that image. This is a column rather than a condition, so that hidden
// rows count in the page.
const HAS_NO_NAME = `
  m.created_version > ${removedVersion('m.repository')}
  AND NOT EXISTS (SELECT 1 FROM tags t INDEXED BY tags_by_digest
    WHERE t.repository = m.repository AND t.digest = m.digest AND t.visible = 1
      AND t.version > ${removedVersion('m.repository')})
  AND NOT EXISTS (SELECT 1 FROM ${liveReferencesTo('m.repository', 'm.digest', "r.kind = 'child'")})`;
const SELECT_UNTAGGED = sql<Selected<ImageRow>>`
  SELECT ${IMAGE_COLUMNS}, ${HAS_NO_NAME} AS shown
  FROM json_each(?1) AS range CROSS JOIN manifests m INDEXED BY manifests_live ON ${IS_ALIVE}
    AND ${IN_RANGE('m.repository', 'm.digest')}
  LIMIT CAST(?2 AS INTEGER)`.reading(paged(2, 8));
const SELECT_PUBLIC_UNTAGGED = sql<Selected<ImageRow>>`
  SELECT ${IMAGE_COLUMNS}, ${HAS_NO_NAME} AS shown FROM public_repositories p INDEXED BY public_repositories_listed
  CROSS JOIN manifests m INDEXED BY manifests_live ON m.repository = p.name AND ${IS_ALIVE}
    AND m.digest > iif(p.name = ?1, ?2, '')
  WHERE p.listed = 1 AND p.name >= ?1 AND p.name < ?3 ORDER BY p.name, m.digest LIMIT CAST(?4 AS INTEGER)`.reading(
  paged(4, 8),
);

/** The start of a page: after this tag, or after this digest among the untagged images. */
export interface ImagePosition {
  readonly part: 'tagged' | 'untagged';
  readonly repository: string;
  /** The tag or the digest; '' to start before the first. */
  readonly key: string;
}

export interface ImagePage {
  readonly tagged: readonly TaggedImageRow[];
  /**
   * Includes manifests that have a tag, are part of an index, or are removed, with `shown` false, because the end of a
   * page depends on the rows that were read.
   */
  readonly untagged: readonly (ImageRow & { readonly shown: boolean })[];
}

/**
 * Lists images after a position. Tagged images are in byte order of repository and tag, untagged ones in byte order of
 * repository and digest. There are at most `limit` of each.
 * @param withUntagged whether to list untagged images as well
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
    const found = await database.batch({ tagged, untagged }, { again: true });
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
  return { tagged: tagged.map(withShown), untagged: untagged.map(withShown) };
}

function withShown<Row extends Selected<ImageRow>>({ shown, ...row }: Row) {
  return Object.assign(measured(row), { shown: shown === 1 });
}

const BEFORE_ALL: ImagePosition = { part: 'untagged', repository: '', key: '' };

/** Makes a statement for the ranges, and one for the public repositories. */
function pages<Row>(
  { ranges, publicWithin }: ImageScope,
  { repository, key }: ImagePosition,
  limit: number,
  within: Sql<Row>,
  publicOnes: Sql<Row>,
): BoundStatement<Row>[] {
  const from = (range: NameRange) =>
    repository < range.from ? { ...range, key: '' } : { ...range, from: repository, key };
  const left = rangesInOrder(ranges)
    .filter(({ to }) => repository < to)
    .map(from);
  const ofRanges: BoundStatement<Row>[] = left.length === 0 ? [] : [[within, JSON.stringify(left), limit]];
  if (publicWithin === undefined || repository >= publicWithin.to) return ofRanges;
  const start = from(publicWithin);
  return [...ofRanges, [publicOnes, start.from, start.key, start.to, limit]];
}

/**
 * Sorts the rows of several ranges or stores, and keeps each once, because ranges may overlap. Names are ASCII, so the
 * order of UTF-16 is SQLite's order of bytes.
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

/** The most tags to show of one image that is found by its reference. */
const MAX_TAGS = 100;

const IS_SHOWN = `t.visible = 1 AND t.version > ${removedVersion('t.repository')}`;

/**
 * SQL for the rows of an image's tags. They include the tag by which the image was asked for, if any.
 * @param asked SQL for the name of that tag, or for NULL
 * @param image the alias of a row with the image's repository and digest
 */
const tagRowsOf = (asked: string, image: string): string => `(
    SELECT t.name, t.version FROM tags t
    WHERE t.repository = ${image}.repository AND t.name = ${asked} AND t.digest = ${image}.digest AND ${IS_SHOWN}
    UNION ALL
    SELECT t.name, t.version FROM tags t INDEXED BY tags_by_digest
    WHERE t.repository = ${image}.repository AND t.digest = ${image}.digest AND ${IS_SHOWN} AND t.name IS NOT ${asked}
    LIMIT ${MAX_TAGS})`;

/** SQL for a list of those tags. */
const tagsOfImage = (asked: string, image = 'm'): string => `(
  SELECT json_group_array(json_object('name', name, 'version', version)) FROM ${tagRowsOf(asked, image)})`;

const SELECT_AMONG = sql`
  SELECT asked.key AS asked, ${IMAGE_COLUMNS}, ${tagsOfImage("(asked.value ->> 'tag')")} AS tags
  FROM json_each(?1) AS asked
  CROSS JOIN manifests m ON m.repository = asked.value ->> 'repository'
    AND m.digest = coalesce(asked.value ->> 'digest', (
    SELECT t.digest FROM tags t
    WHERE t.repository = asked.value ->> 'repository' AND t.name = asked.value ->> 'tag' AND ${IS_SHOWN}))
  WHERE ${isAliveManifest('m')} AND (asked.value ->> 'granted' OR EXISTS (SELECT 1 FROM public_repositories p
    WHERE p.name = m.repository))`.reading((run) => keyed(run) + 2 * MAX_TAGS * run.keys);

/**
 * An image found by its reference, with its tags in byte order. There are at most {@link MAX_TAGS}, among them the one
 * that was asked for.
 */
export interface FoundImageRow extends ImageRow {
  readonly tags: readonly NamedVersion[];
}

type Found = Unmeasured<ImageRow> & { readonly tags: string };

/**
 * The result for one repository that was searched. It has no digest if the repository lacks the image, and no tags if
 * the page already has its share of them.
 */
type Walked = Unmeasured<ImageRow> & { readonly walked: string; readonly tags: string | null };

/** A request for an image of a known repository. */
interface AskedImage {
  readonly repository: RepositoryName;
  readonly reference: Reference;
  /** Whether to find the image even if the repository is private. */
  readonly granted: boolean;
}

/**
 * Finds images by their references. Each result has, in `asked`, the index of its request. An image that does not exist
 * or may not be seen is left out.
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

/**
 * The most tags, in all, on a page of images found in many repositories; the last image of each statement may exceed
 * it. Without this limit a page could have a hundred thousand, which would fill the isolate's memory.
 */
export const MAX_TAGS_OF_PAGE = 10_000;

// A page searches a number of repositories one by one, because no index tells which repositories have a digest or a
// tag. The window has no ORDER BY: it counts in the order of the scan, which is that of the names.
const AMONG_REPOSITORIES = (repositories: string): string => `
  SELECT walked, repository, digest, bytes, created, size, kind,
    iif(coalesce(tags_before, 0) < CAST(?5 AS INTEGER), ${tagsOfImage('?4', 'found')}, NULL) AS tags
  FROM (
    SELECT r.name AS walked, ${IMAGE_COLUMNS},
      sum((SELECT count(*) FROM ${tagRowsOf('?4', 'm')}))
        OVER (ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS tags_before
    FROM (${repositories}) AS r
    LEFT JOIN manifests m ON m.repository = r.name AND ${isAliveManifest('m')} AND m.digest = coalesce(?3, (
      SELECT t.digest FROM tags t WHERE t.repository = r.name AND t.name = ?4 AND ${IS_SHOWN}))) AS found`;
const SELECT_IN_RANGES = sql<Walked>`${AMONG_REPOSITORIES(`
  SELECT r.name FROM ${inRanges('?1', 'repositories r INDEXED BY repositories_listed', 'r.name')} AND r.listed = 1
    LIMIT CAST(?2 AS INTEGER)`)}`.reading(paged(2, 4 * MAX_TAGS));
const SELECT_IN_PUBLIC = sql<Walked>`${AMONG_REPOSITORIES(`
  SELECT p.name FROM ${inRanges('?1', 'public_repositories p', 'p.name')}
    LIMIT CAST(?2 AS INTEGER)`)}`.reading(paged(2, 4 * MAX_TAGS));

interface WalkedImages {
  readonly images: readonly FoundImageRow[];
  /** The last repository that was searched; undefined if there are no more. */
  readonly last: string | undefined;
}

/**
 * Finds images by a tag or digest in any repository of `scope`. It searches the first `limit` repositories after
 * `after`, or fewer if their images have many tags; see {@link MAX_TAGS_OF_PAGE}.
 */
export async function findInRepositories(
  database: Database,
  { ranges, publicWithin }: ImageScope,
  reference: Reference,
  after: string,
  limit: number,
): Promise<WalkedImages> {
  const { digest = null, tag = null } = valueOf(reference);
  const searches: [Sql<Walked>, readonly NameRange[]][] = [];
  if (ranges.length > 0) searches.push([SELECT_IN_RANGES, ranges]);
  if (publicWithin !== undefined) searches.push([SELECT_IN_PUBLIC, [publicWithin]]);
  const share = Math.ceil(MAX_TAGS_OF_PAGE / searches.length);
  const statements = searches.map(([statement, within]): BoundStatement<Walked> => [
    statement,
    rangesAfter(within, after),
    limit + 1,
    digest,
    tag,
    share,
  ]);
  if (statements.length === 0) return { images: [], last: undefined };
  let last: string | undefined;
  const images = await foundIn(database, async () => {
    const { found } = await database.batch({ found: statements }, { again: true });
    const walked = new Map(found.map((row) => [row.walked, row]));
    const rows = [...walked.values()].toSorted((a, b) => compare(a.walked, b.walked));
    // The first row always has its tags, because it is the first of its statement. So every page goes further.
    const withoutTags = rows.findIndex(({ tags }) => tags === null);
    const end = withoutTags < 0 ? limit : Math.min(limit, withoutTags);
    last = rows.length > end ? rows.at(end - 1)?.walked : undefined;
    return rows.slice(0, end).filter((row): row is Walked & Found => (row.digest as Digest | null) !== null);
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
