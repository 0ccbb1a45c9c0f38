/**
 * Finds manifests: reads what a store's rows say about a reference. `versions.ts` then decides what is visible: at
 * central from central's own rows, at a node from the merged rows of two stores. `tags.visible` and
 * `repositories.listed` follow from the versions. They are stored as columns so that lists can page through a database
 * index, and are set in the transaction that changes the versions.
 */
import type { Digest } from '../../oci/digest.ts';
import type { MediaType } from '../../oci/media-type.ts';
import type { Reference, RepositoryName } from '../../oci/reference.ts';
import { type Database, sql } from '../database.ts';
import { atMost } from '../rows-read.ts';
import { type BlobKey, keysOfBlobs, MOST_BLOBS } from './blob-keys.ts';
import type { TypeClaim, TypeClaims } from './manifest-type.ts';
import { removedVersion } from '../deletion/removals.ts';
import { type AuthoredTag, type ManifestVersions, underRemoval } from '../versions.ts';

/** The result of one query about a reference and its repository. */
export interface ManifestRows {
  readonly repositoryExists: boolean;
  readonly public: boolean;
  /** Undefined for a reference by digest, and for a tag that the store does not know. */
  readonly tag: AuthoredTag | undefined;
  /**
   * The greatest version among the removals of the repository and its organization, already applied to `manifest`; 0
   * for none.
   */
  readonly removed: number;
  /** The manifest that the reference names in this store, dead or alive. */
  readonly manifest: ManifestRow | undefined;
  /** The parts of the document, in order, if the manifest is alive here, its content was requested, and it is small. */
  readonly contents: readonly string[];
  /** The keys of its blobs, if they were requested. */
  readonly keys: readonly BlobKey[];
}

/**
 * The most bytes of a document that is read together with its row. A larger one is read separately, once memory has
 * room for it.
 */
export const SMALL_DOCUMENT_BYTES = 32 * 1024;

export interface ManifestRow extends ManifestVersions, TypeClaims {
  readonly digest: Digest;
  readonly mediaType: MediaType;
  /** Bytes. */
  readonly size: number;
  /** Milliseconds since the epoch, rounded down to the hour; 0 for never. */
  readonly lastPull: number;
}

interface Joined {
  readonly known: number;
  readonly public: number;
  readonly removed: number;
  readonly tag_digest: Digest | null;
  readonly version: number | null;
  readonly origin: string;
  readonly author: string;
  readonly digest: Digest | null;
  readonly created_version: number;
  readonly deleted_version: number;
  readonly media_type: MediaType;
  readonly typed: TypeClaim;
  readonly typed_otherwise: TypeClaim;
  readonly size: number;
  readonly last_pull: number;
  readonly content: string | null;
  /** A JSON array of {@link BlobKey}. */
  readonly keys?: string | null;
}

const REPOSITORY_FACTS = `
  EXISTS (SELECT 1 FROM repositories WHERE name = ?1) AS known,
  EXISTS (SELECT 1 FROM public_repositories WHERE name = ?1) AS public, ${removedVersion('?1')} AS removed`;

const MANIFEST_COLUMNS =
  'm.digest, m.created_version, m.deleted_version, m.media_type, m.typed, m.typed_otherwise, m.size, m.last_pull';
const TAG_COLUMNS = 't.digest AS tag_digest, t.version, t.origin, t.author';
const NO_TAG_COLUMNS = "NULL AS tag_digest, NULL AS version, '' AS origin, '' AS author";

// The clock has exactly one row. The query joins from it, so that it always returns a row with the facts about the
// repository.
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
const KEYS = `iif(m.digest = ?4, NULL, ${keysOfBlobs('m', '?3')})`;
const SELECT_WITH_KEYS_BY_TAG = sql`
  SELECT ${REPOSITORY_FACTS}, ${TAG_COLUMNS}, ${MANIFEST_COLUMNS}, c.content, ${KEYS} AS keys
  ${BY_TAG} ${CONTENTS} WHERE clock.id = 1 ORDER BY c.part`.reading(atMost(4 * MOST_BLOBS));
const SELECT_WITH_KEYS_BY_DIGEST = sql`
  SELECT ${REPOSITORY_FACTS}, ${NO_TAG_COLUMNS}, ${MANIFEST_COLUMNS}, c.content, ${KEYS} AS keys
  ${BY_DIGEST} ${CONTENTS} WHERE clock.id = 1 ORDER BY c.part`.reading(atMost(4 * MOST_BLOBS));
const SELECT_DESCRIPTOR_BY_TAG = sql`
  SELECT ${REPOSITORY_FACTS}, ${TAG_COLUMNS}, ${MANIFEST_COLUMNS}, NULL AS content ${BY_TAG} WHERE clock.id = 1`;
const SELECT_DESCRIPTOR_BY_DIGEST = sql`
  SELECT ${REPOSITORY_FACTS}, ${NO_TAG_COLUMNS}, ${MANIFEST_COLUMNS}, NULL AS content ${BY_DIGEST} WHERE clock.id = 1`;

/**
 * Asks for the keys of a manifest's blobs at `store`, unless the reference resolves to the manifest with the digest
 * `unless`, which the caller already holds.
 */
export interface WantedKeys {
  readonly store: string;
  readonly unless?: string | undefined;
}

const STATEMENTS = {
  tag: { content: SELECT_BY_TAG, descriptor: SELECT_DESCRIPTOR_BY_TAG, withKeys: SELECT_WITH_KEYS_BY_TAG },
  digest: {
    content: SELECT_BY_DIGEST,
    descriptor: SELECT_DESCRIPTOR_BY_DIGEST,
    withKeys: SELECT_WITH_KEYS_BY_DIGEST,
  },
};

/**
 * Looks up a reference, in one query.
 * @param keys which keys of blobs to read, together with the content
 */
export async function findManifest(
  database: Database,
  repository: RepositoryName,
  reference: Reference,
  want: 'content' | 'descriptor',
  keys?: WantedKeys,
): Promise<ManifestRows> {
  const name = reference.kind === 'tag' ? reference.tag : reference.digest;
  const statements = STATEMENTS[reference.kind];
  const rows =
    want === 'content' && keys !== undefined
      ? await database.all<Joined>(statements.withKeys, repository, name, keys.store, keys.unless ?? '')
      : await database.all<Joined>(statements[want], repository, name);
  const [first] = rows;
  if (first === undefined) throw new Error('the clock has no row: apply the migrations to this database');
  return {
    repositoryExists: first.known === 1,
    public: first.public === 1,
    removed: first.removed,
    tag:
      first.version === null
        ? undefined
        : { digest: first.tag_digest, version: first.version, origin: first.origin, author: first.author },
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
    keys: JSON.parse(first.keys ?? '[]') as BlobKey[],
  };
}

const SELECT_CONTENTS = sql`
  SELECT content FROM manifest_contents WHERE repository = ?1 AND digest = ?2 ORDER BY part`;

/** Returns the parts of a document of any size, in order; none if it is gone. */
export async function readContents(database: Database, repository: RepositoryName, digest: Digest): Promise<string[]> {
  return (await database.all<{ content: string }>(SELECT_CONTENTS, repository, digest)).map(({ content }) => content);
}

const RECORD_PULL = sql`UPDATE manifests SET last_pull = CAST(?3 AS INTEGER) WHERE repository = ?1 AND digest = ?2`;

/** Records that a manifest was pulled in the hour that starts at `hour`, in milliseconds since the epoch. */
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

/** Does the same as {@link recordPull} for several manifests. */
export async function recordPulls(
  database: Database,
  repository: RepositoryName,
  digests: readonly Digest[],
  hour: number,
): Promise<void> {
  await database.run(RECORD_PULLS, repository, JSON.stringify(digests), hour);
}
