/**
 * Lists. The cost of a page depends on its own rows, not on the size of the table: it is one range of an index of only
 * the rows that are shown.
 */
import type { Digest } from '../oci/digest.ts';
import type { MediaType } from '../oci/media-type.ts';
import type { RepositoryName, Tag } from '../oci/reference.ts';
import { type BoundStatement, type Database, sql } from './database.ts';
import { removedVersion } from './deletion/removals.ts';
import { type AuthoredTag, type ManifestVersions, NO_MANIFEST, type TagVersion, underRemoval } from './versions.ts';
import { inRanges, type NameRange, rangesAfter } from './name-ranges.ts';
import { paged } from './rows-read.ts';

const SELECT_REPOSITORY = sql<FactsRow>`
  SELECT EXISTS (SELECT 1 FROM repositories WHERE name = ?1) AS known,
    EXISTS (SELECT 1 FROM public_repositories WHERE name = ?1) AS public, ${removedVersion('?1')} AS removed`;

const SELECT_TAGS = sql<NamedTag>`
  SELECT name, digest, version, origin FROM tags INDEXED BY tags_visible
  WHERE repository = ?1 AND visible = 1 AND name > ?2 ORDER BY name LIMIT CAST(?3 AS INTEGER)`.reading(paged(3));

interface RepositoryFacts {
  readonly exists: boolean;
  readonly public: boolean;
  /**
   * The greatest version among the removals of the repository and its organization; 0 for none. Anything that is not
   * later is dead.
   */
  readonly removed: number;
}

interface FactsRow {
  readonly known: number;
  readonly public: number;
  readonly removed: number;
}

function factsOf(row: FactsRow | undefined): RepositoryFacts {
  return { exists: row?.known === 1, public: row?.public === 1, removed: row?.removed ?? 0 };
}

/**
 * Returns the visible tags after `last`, in byte order, and at most `limit`. They may include tags that `removed`
 * hides.
 */
export async function listTags(
  database: Database,
  repository: RepositoryName,
  last: string,
  limit: number,
): Promise<RepositoryFacts & { readonly tags: readonly NamedTag[] }> {
  const { facts, tags } = await database.batch(
    {
      facts: [SELECT_REPOSITORY, repository],
      tags: [SELECT_TAGS, repository, last, limit],
    },
    { again: true },
  );
  return { ...factsOf(facts[0]), tags };
}

export interface NamedTag extends TagVersion {
  readonly name: Tag;
}

/** A store's knowledge of tags and manifests, tombstones included. */
export interface KnownVersions {
  readonly tags: ReadonlyMap<Tag, AuthoredTag>;
  readonly manifests: ReadonlyMap<Digest, ManifestVersions>;
  /** See {@link RepositoryFacts}. */
  readonly removed: number;
}

/** Returns the versions of a manifest, whether or not it has a row. */
export function lifecycleOf({ manifests, removed }: KnownVersions, digest: Digest): ManifestVersions {
  return underRemoval(manifests.get(digest) ?? NO_MANIFEST, removed);
}

const SELECT_TAGS_AMONG = sql<NamedTag & AuthoredTag>`
  SELECT t.name, t.digest, t.version, t.origin, t.author FROM json_each(?2) AS asked
  CROSS JOIN tags t ON t.repository = ?1 AND t.name = asked.value`;
// The manifests with the given digests, and those that the given tags are on in this store.
const SELECT_LIFECYCLES_AMONG = sql<ManifestVersions & { digest: Digest }>`
  SELECT m.digest, m.created_version AS created, m.deleted_version AS deleted FROM json_each(?2) AS asked
  CROSS JOIN manifests m ON m.repository = ?1 AND m.digest = asked.value
  UNION
  SELECT m.digest, m.created_version, m.deleted_version FROM json_each(?3) AS asked
  CROSS JOIN tags t ON t.repository = ?1 AND t.name = asked.value
  CROSS JOIN manifests m ON m.repository = ?1 AND m.digest = t.digest`;

interface VersionRows {
  readonly tags: readonly (NamedTag & AuthoredTag)[];
  readonly lifecycles: readonly (ManifestVersions & { readonly digest: Digest })[];
  readonly facts: readonly FactsRow[];
}

/**
 * Returns the statements that read the versions of some tags, of the manifests that they are on, and of further
 * manifests. {@link versionsIn} reads their rows.
 */
export function selectVersions(repository: RepositoryName, names: readonly Tag[], digests: readonly Digest[]) {
  const asked = JSON.stringify(names);
  return {
    tags: [SELECT_TAGS_AMONG, repository, asked],
    lifecycles: [SELECT_LIFECYCLES_AMONG, repository, JSON.stringify(digests), asked],
    facts: [SELECT_REPOSITORY, repository],
  } as const;
}

export function versionsIn({ tags, lifecycles, facts }: VersionRows): KnownVersions {
  return {
    tags: new Map(tags.map((tag) => [tag.name, tag])),
    manifests: new Map(lifecycles.map(({ digest, created, deleted }) => [digest, { created, deleted }])),
    removed: factsOf(facts[0]).removed,
  };
}

/** Returns the versions of some tags, of the manifests that they are on, and of further manifests. */
export async function lookUpVersions(
  database: Database,
  repository: RepositoryName,
  names: readonly Tag[],
  digests: readonly Digest[],
): Promise<KnownVersions> {
  return versionsIn(await database.batch(selectVersions(repository, names, digests), { again: true }));
}

/**
 * The most bytes of documents that a page reads together with its rows. Larger ones are read separately, once memory
 * has room for them.
 */
const SMALL_PAGE_BYTES = 32 * 1024;

export interface ReferrerRow {
  readonly digest: Digest;
  readonly media_type: MediaType;
  readonly artifact_type: string;
  /** Bytes. */
  readonly size: number;
  readonly created: number;
  readonly deleted: number;
  /** The whole document, whose annotations are shown; '' if it was withheld. */
  readonly text: string;
}

/**
 * Compares referrers as the stores order them: by artifact type, then by digest. Like `COLLATE NOCASE`, it ignores the
 * case of ASCII letters only.
 */
export function compareReferrers(a: ReferrerRow, b: ReferrerRow): number {
  const [typeOfA, typeOfB] = [foldCase(a.artifact_type), foldCase(b.artifact_type)];
  if (typeOfA !== typeOfB) return typeOfA < typeOfB ? -1 : 1;
  if (a.digest === b.digest) return 0;
  return a.digest < b.digest ? -1 : 1;
}

function foldCase(text: string): string {
  return text.replaceAll(/[A-Z]/g, (letter) => letter.toLowerCase());
}

/** A referrer with one of the rows that hold its document. */
type ReferrerPart = Omit<ReferrerRow, 'text'> & {
  readonly content: string | null;
  readonly candidates: number;
  readonly withheld: number;
};

/** The referrer after which a page starts. */
export interface ReferrerPosition {
  readonly artifactType: string;
  readonly digest: string;
}

const REFERRER_COLUMNS =
  'digest, media_type, artifact_type, size, created_version AS created, deleted_version AS deleted';
const REFERRER_NAMES = 'digest, media_type, artifact_type, size, created, deleted';

// Artifact types are compared without regard to case (RFC 9110 §8.3.1). `compareReferrers` uses the same order.
const BY_TYPE = 'artifact_type COLLATE NOCASE, digest';

// A page is limited by count, and by the bytes of the manifests whose annotations it shows. It always has at least one.
const PAGE_OF_REFERRERS = (selection: string): string => `
  SELECT page.digest, page.media_type, page.artifact_type, page.size, page.created, page.deleted, page.candidates,
    c.content,
    page.whole > ${String(SMALL_PAGE_BYTES)} AND ?7 = 0 AS withheld
  FROM (
    SELECT ${REFERRER_NAMES}, count(*) OVER () AS candidates, sum(size) OVER () AS whole,
      sum(size) OVER (ORDER BY ${BY_TYPE} ROWS UNBOUNDED PRECEDING) AS bytes
    FROM (SELECT ${REFERRER_COLUMNS} FROM manifests INDEXED BY manifests_referrers WHERE repository = ?1
      AND subject = ?2
      AND created_version > deleted_version AND ${selection} ORDER BY ${BY_TYPE} LIMIT CAST(?5 AS INTEGER))
  ) AS page
  LEFT JOIN manifest_contents c ON c.repository = ?1 AND c.digest = page.digest
    AND (?7 = 1 OR page.whole <= ${String(SMALL_PAGE_BYTES)})
  WHERE (page.bytes <= CAST(?6 AS INTEGER) OR page.bytes = page.size) AND (withheld OR c.content IS NOT NULL)
  ORDER BY page.artifact_type COLLATE NOCASE, page.digest, c.part`;

const SELECT_REFERRERS =
  sql<ReferrerPart>`${PAGE_OF_REFERRERS('(artifact_type COLLATE NOCASE, digest) > (?3, ?4)')}`.reading(paged(5, 12));
const SELECT_REFERRERS_OF_TYPE =
  sql<ReferrerPart>`${PAGE_OF_REFERRERS('artifact_type = ?3 COLLATE NOCASE AND digest > ?4')}`.reading(paged(5, 12));

export interface Referrers extends RepositoryFacts {
  readonly referrers: readonly ReferrerRow[];
  readonly more: boolean;
  /** The bytes of the documents, if they were too large to be read with the page; 0 otherwise. */
  readonly withheld: number;
}

/**
 * Returns live manifests with the given subject, by artifact type and digest: at most `limit` of them, and of at most
 * `maxBytes` unless there is only one. They may include manifests that `removed` hides.
 */
export async function listReferrers(
  database: Database,
  repository: RepositoryName,
  subject: Digest,
  page: {
    readonly artifactType: string | undefined;
    readonly after: ReferrerPosition;
    readonly limit: number;
    readonly maxBytes: number;
    /** If true, also reads large documents. */
    readonly whole?: boolean;
  },
): Promise<Referrers> {
  const { limit, maxBytes, whole: isWhole = false } = page;
  const last = [page.after.digest, limit + 1, maxBytes, isWhole ? 1 : 0] as const;
  const selection: BoundStatement<ReferrerPart> =
    page.artifactType === undefined
      ? [SELECT_REFERRERS, repository, subject, page.after.artifactType, ...last]
      : [SELECT_REFERRERS_OF_TYPE, repository, subject, page.artifactType, ...last];
  const { facts, referrers } = await database.batch(
    { facts: [SELECT_REPOSITORY, repository], referrers: selection },
    { again: true },
  );
  const byDigest = new Map<Digest, ReferrerRow>();
  for (const { content, candidates: _candidates, withheld: _withheld, ...row } of referrers) {
    byDigest.set(row.digest, { ...row, text: (byDigest.get(row.digest)?.text ?? '') + (content ?? '') });
  }
  const shown = [...byDigest.values()].slice(0, limit);
  const withheld = referrers[0]?.withheld === 1 ? shown.reduce((sum, { size }) => sum + size, 0) : 0;
  return { ...factsOf(facts[0]), referrers: shown, more: (referrers[0]?.candidates ?? 0) > shown.length, withheld };
}

const SELECT_REPOSITORIES = sql<{ name: RepositoryName }>`
  SELECT r.name FROM ${inRanges('?1', 'repositories r INDEXED BY repositories_listed', 'r.name')} AND r.listed = 1
  LIMIT CAST(?2 AS INTEGER)`.reading(paged(2));

const SELECT_PUBLIC_REPOSITORIES = sql<{ name: RepositoryName }>`
  SELECT name FROM public_repositories INDEXED BY public_repositories_listed
  WHERE listed = 1 AND name > ?1 ORDER BY name LIMIT CAST(?2 AS INTEGER)`.reading(paged(2));

/**
 * Returns at most `limit` repositories after `last`, in byte order. They have a live manifest, and either lie in one of
 * the ranges or are public.
 */
export async function listRepositories(
  database: Database,
  ranges: readonly NameRange[],
  withPublic: boolean,
  last: string,
  limit: number,
): Promise<RepositoryName[]> {
  const selections: BoundStatement<{ name: RepositoryName }>[] = [];
  if (ranges.length > 0) selections.push([SELECT_REPOSITORIES, rangesAfter(ranges, last), limit]);
  if (withPublic) selections.push([SELECT_PUBLIC_REPOSITORIES, last, limit]);
  if (selections.length === 0) return [];
  const { repositories } = await database.batch({ repositories: selections }, { again: true });
  const names = new Set(repositories.map(({ name }) => name));
  // SQLite compares UTF-8 bytes. Names are ASCII, where UTF-16 order is the same.
  return [...names].toSorted().slice(0, limit);
}
