/**
 * Finding manifests: what a store's rows say of a reference. What is visible is judged from it, by `versions.ts`: at
 * central from its own rows, at a node from the merged rows of two stores. `tags.visible` and `repositories.listed`
 * repeat what follows from the versions, for the indexes that lists page through, and are set in the transaction that
 * changes them.
 */
import type { Digest } from '../../oci/digest.ts';
import type { MediaType } from '../../oci/media-type.ts';
import type { Reference, RepositoryName } from '../../oci/reference.ts';
import { type Database, sql } from '../database.ts';
import type { TypeClaim, TypeClaims } from './manifest-type.ts';
import { removedVersion } from '../deletion/removals.ts';
import { type ManifestVersions, type TagVersion, underRemoval } from '../versions.ts';

/** What one query says of a reference, and of the repository that it was looked for in. */
export interface ManifestRows {
  readonly repositoryExists: boolean;
  readonly public: boolean;
  /** Undefined for a reference by digest, and for a tag that the store has never heard of. */
  readonly tag: TagVersion | undefined;
  /**
   * The greatest version of a removal of the repository or of its organization, which `manifest` has seen; 0 for none.
   */
  readonly removed: number;
  /** The manifest that the reference means here, dead or alive. */
  readonly manifest: ManifestRow | undefined;
  /** The whole document, in order, if the manifest is alive here, its content was asked for, and it is small. */
  readonly contents: readonly string[];
}

/** Bytes of a document that is read with its row. A larger one is read by itself, once there is room for it. */
export const SMALL_DOCUMENT_BYTES = 32 * 1024;

export interface ManifestRow extends ManifestVersions, TypeClaims {
  readonly digest: Digest;
  readonly mediaType: MediaType;
  /** Bytes. */
  readonly size: number;
  /** Milliseconds since the epoch, to the hour; 0 for never. */
  readonly lastPull: number;
}

interface Joined {
  readonly known: number;
  readonly public: number;
  readonly removed: number;
  readonly tag_digest: Digest | null;
  readonly version: number | null;
  readonly origin: string;
  readonly digest: Digest | null;
  readonly created_version: number;
  readonly deleted_version: number;
  readonly media_type: MediaType;
  readonly typed: TypeClaim;
  readonly typed_otherwise: TypeClaim;
  readonly size: number;
  readonly last_pull: number;
  readonly content: string | null;
}

const REPOSITORY_FACTS = `
  EXISTS (SELECT 1 FROM repositories WHERE name = ?1) AS known,
  EXISTS (SELECT 1 FROM public_repositories WHERE name = ?1) AS public, ${removedVersion('?1')} AS removed`;

const MANIFEST_COLUMNS =
  'm.digest, m.created_version, m.deleted_version, m.media_type, m.typed, m.typed_otherwise, m.size, m.last_pull';
const TAG_COLUMNS = 't.digest AS tag_digest, t.version, t.origin';
const NO_TAG_COLUMNS = "NULL AS tag_digest, NULL AS version, '' AS origin";

// The clock has exactly one row: joined from it, an answer always says what is known of the repository.
const BY_TAG = `
  FROM clock
  LEFT JOIN tags t ON t.repository = ?1 AND t.name = ?2
  LEFT JOIN manifests m ON m.repository = ?1 AND m.digest = t.digest`;
const BY_DIGEST = 'FROM clock LEFT JOIN manifests m ON m.repository = ?1 AND m.digest = ?2';

const CONTENTS = `LEFT JOIN manifest_contents c ON c.repository = ?1 AND c.digest = m.digest
  AND m.created_version > m.deleted_version AND m.size <= ${String(SMALL_DOCUMENT_BYTES)}`;

const SELECT_BY_TAG = sql`
  SELECT ${REPOSITORY_FACTS}, ${TAG_COLUMNS}, ${MANIFEST_COLUMNS}, c.content
  ${BY_TAG} ${CONTENTS} WHERE clock.id = 1 ORDER BY c.part`;
const SELECT_BY_DIGEST = sql`
  SELECT ${REPOSITORY_FACTS}, ${NO_TAG_COLUMNS}, ${MANIFEST_COLUMNS}, c.content
  ${BY_DIGEST} ${CONTENTS} WHERE clock.id = 1 ORDER BY c.part`;
const SELECT_DESCRIPTOR_BY_TAG = sql`
  SELECT ${REPOSITORY_FACTS}, ${TAG_COLUMNS}, ${MANIFEST_COLUMNS}, NULL AS content ${BY_TAG} WHERE clock.id = 1`;
const SELECT_DESCRIPTOR_BY_DIGEST = sql`
  SELECT ${REPOSITORY_FACTS}, ${NO_TAG_COLUMNS}, ${MANIFEST_COLUMNS}, NULL AS content ${BY_DIGEST} WHERE clock.id = 1`;

/** Looks a reference up, in one query. */
export async function findManifest(
  database: Database,
  repository: RepositoryName,
  reference: Reference,
  want: 'content' | 'descriptor',
): Promise<ManifestRows> {
  const rows =
    reference.kind === 'tag'
      ? await database.all<Joined>(
          want === 'content' ? SELECT_BY_TAG : SELECT_DESCRIPTOR_BY_TAG,
          repository,
          reference.tag,
        )
      : await database.all<Joined>(
          want === 'content' ? SELECT_BY_DIGEST : SELECT_DESCRIPTOR_BY_DIGEST,
          repository,
          reference.digest,
        );
  const [first] = rows;
  if (first === undefined) throw new Error('the clock has no row: the database lacks its migrations');
  return {
    repositoryExists: first.known === 1,
    public: first.public === 1,
    removed: first.removed,
    tag:
      first.version === null ? undefined : { digest: first.tag_digest, version: first.version, origin: first.origin },
    manifest:
      first.digest === null
        ? undefined
        : {
            digest: first.digest,
            ...underRemoval({ created: first.created_version, deleted: first.deleted_version }, first.removed),
            mediaType: first.media_type,
            typed: first.typed,
            typedOtherwise: first.typed_otherwise,
            size: first.size,
            lastPull: first.last_pull,
          },
    contents: rows.flatMap(({ content }) => (content === null ? [] : [content])),
  };
}

const SELECT_CONTENTS = sql`
  SELECT content FROM manifest_contents WHERE repository = ?1 AND digest = ?2 ORDER BY part`;

/** A document of any size, in order; nothing where it has gone. */
export async function readContents(database: Database, repository: RepositoryName, digest: Digest): Promise<string[]> {
  return (await database.all<{ content: string }>(SELECT_CONTENTS, repository, digest)).map(({ content }) => content);
}

const RECORD_PULL = sql`UPDATE manifests SET last_pull = CAST(?3 AS INTEGER) WHERE repository = ?1 AND digest = ?2`;

/** Notes that a manifest was pulled within the hour that starts at `hour`. */
export async function recordPull(
  database: Database,
  repository: RepositoryName,
  digest: Digest,
  hour: number,
): Promise<void> {
  await database.run(RECORD_PULL, repository, digest, hour);
}

const RECORD_PULLS = sql`
  UPDATE manifests SET last_pull = CAST(?3 AS INTEGER)
  WHERE repository = ?1 AND digest IN (SELECT value FROM json_each(?2)) AND last_pull < CAST(?3 AS INTEGER)`;

/** As {@link recordPull}, of several manifests. */
export async function recordPulls(
  database: Database,
  repository: RepositoryName,
  digests: readonly Digest[],
  hour: number,
): Promise<void> {
  await database.run(RECORD_PULLS, repository, JSON.stringify(digests), hour);
}
