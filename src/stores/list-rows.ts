/**
 * Lists. Every page costs the page, not the table: each is one range of one index, which holds only what is shown.
 */
import type { Digest } from '../oci/digest.ts';
import type { MediaType } from '../oci/media-type.ts';
import type { RepositoryName, Tag } from '../oci/reference.ts';
import { type BoundStatement, type Database, sql } from './database.ts';

const SELECT_REPOSITORY = sql`
  SELECT EXISTS (SELECT 1 FROM repositories WHERE name = ?1) AS known,
    EXISTS (SELECT 1 FROM public_repositories WHERE name = ?1) AS public`;

const SELECT_TAGS = sql`
  SELECT name FROM tags WHERE repository = ?1 AND visible = 1 AND name > ?2 ORDER BY name LIMIT CAST(?3 AS INTEGER)`;

export interface RepositoryFacts {
  readonly exists: boolean;
  readonly public: boolean;
}

interface FactsRow {
  readonly known: number;
  readonly public: number;
}

function factsOf(row: FactsRow | undefined): RepositoryFacts {
  return { exists: row?.known === 1, public: row?.public === 1 };
}

/** Visible tags after `last`, in byte order; at most `limit`. */
export async function listTags(
  database: Database,
  repository: RepositoryName,
  last: string,
  limit: number,
): Promise<RepositoryFacts & { readonly tags: readonly Tag[] }> {
  const [facts, tags] = await database.batch<[FactsRow, { name: Tag }]>([
    [SELECT_REPOSITORY, repository],
    [SELECT_TAGS, repository, last, limit],
  ]);
  return { ...factsOf(facts[0]), tags: tags.map(({ name }) => name) };
}

export interface ReferrerRow {
  readonly digest: Digest;
  readonly media_type: MediaType;
  readonly artifact_type: string;
  /** Bytes. */
  readonly size: number;
  /** The whole document, whose annotations are shown. */
  readonly text: string;
}

/** A document's content may take several rows. */
type ReferrerPart = Omit<ReferrerRow, 'text'> & { readonly content: string; readonly candidates: number };

/** Where a page of referrers starts: after this one. */
export interface ReferrerPosition {
  readonly artifactType: string;
  readonly digest: string;
}

const REFERRER_COLUMNS = 'digest, media_type, artifact_type, size';

// A page ends by count, and by the bytes of the manifests whose annotations it shows; one is always in it.
const PAGE_OF_REFERRERS = (selection: string): string => `
  SELECT page.digest, page.media_type, page.artifact_type, page.size, page.candidates, c.content
  FROM (
    SELECT ${REFERRER_COLUMNS}, count(*) OVER () AS candidates, sum(size) OVER (ORDER BY artifact_type, digest ROWS UNBOUNDED PRECEDING) AS bytes
    FROM (SELECT ${REFERRER_COLUMNS} FROM manifests INDEXED BY manifests_referrers WHERE repository = ?1 AND subject = ?2
      AND created_version > deleted_version AND ${selection} ORDER BY artifact_type, digest LIMIT CAST(?5 AS INTEGER))
  ) AS page
  CROSS JOIN manifest_contents c ON c.repository = ?1 AND c.digest = page.digest
  WHERE page.bytes <= CAST(?6 AS INTEGER) OR page.bytes = page.size
  ORDER BY page.artifact_type, page.digest, c.part`;

const SELECT_REFERRERS = sql`${PAGE_OF_REFERRERS('(artifact_type, digest) > (?3, ?4)')}`;
const SELECT_REFERRERS_OF_TYPE = sql`${PAGE_OF_REFERRERS('artifact_type = ?3 AND digest > ?4')}`;

/** Live manifests with `subject`, by artifact type and digest; at most `limit`, and of `maxBytes` if more than one. */
export async function listReferrers(
  database: Database,
  repository: RepositoryName,
  subject: Digest,
  page: {
    readonly artifactType: string | undefined;
    readonly after: ReferrerPosition;
    readonly limit: number;
    readonly maxBytes: number;
  },
): Promise<RepositoryFacts & { readonly referrers: readonly ReferrerRow[]; readonly more: boolean }> {
  const selection: BoundStatement =
    page.artifactType === undefined
      ? [SELECT_REFERRERS, repository, subject, page.after.artifactType, page.after.digest, page.limit + 1, page.maxBytes]
      : [SELECT_REFERRERS_OF_TYPE, repository, subject, page.artifactType, page.after.digest, page.limit + 1, page.maxBytes];
  const [facts, referrers] = await database.batch<[FactsRow, ReferrerPart]>([[SELECT_REPOSITORY, repository], selection]);
  const whole = new Map<Digest, ReferrerRow>();
  for (const { content, digest, media_type, artifact_type, size } of referrers) {
    whole.set(digest, { digest, media_type, artifact_type, size, text: (whole.get(digest)?.text ?? '') + content });
  }
  const shown = [...whole.values()].slice(0, page.limit);
  return { ...factsOf(facts[0]), referrers: shown, more: (referrers[0]?.candidates ?? 0) > shown.length };
}

const SELECT_REPOSITORIES = sql`
  SELECT name FROM repositories WHERE listed = 1 AND name >= ?1 AND name < ?2 ORDER BY name LIMIT CAST(?3 AS INTEGER)`;

const SELECT_PUBLIC_REPOSITORIES = sql`
  SELECT p.name FROM public_repositories p CROSS JOIN repositories r ON r.name = p.name AND r.listed = 1
  WHERE p.name > ?1 ORDER BY p.name LIMIT CAST(?2 AS INTEGER)`;

/** Names from `from`, inclusive, to `to`, exclusive. */
export interface NameRange {
  readonly from: string;
  readonly to: string;
}

/** Repositories with a live manifest after `last`, in any of the ranges or public; at most `limit`, in byte order. */
export async function listRepositories(
  database: Database,
  ranges: readonly NameRange[],
  withPublic: boolean,
  last: string,
  limit: number,
): Promise<RepositoryName[]> {
  // One lower bound: of two, SQLite would use one for the index and read the rest of the table for the other.
  const start = (from: string): string => (last < from ? from : `${last}\u0000`);
  const selections = ranges.map(({ from, to }): BoundStatement => [SELECT_REPOSITORIES, start(from), to, limit]);
  if (withPublic) selections.push([SELECT_PUBLIC_REPOSITORIES, last, limit]);
  if (selections.length === 0) return [];
  const pages = await database.batch<{ name: RepositoryName }[]>(selections);
  const names = new Set(pages.flat().map(({ name }) => name));
  // SQLite compares UTF-8 bytes; names are ASCII, where UTF-16 order is the same.
  return [...names].toSorted().slice(0, limit);
}
