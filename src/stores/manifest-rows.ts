/**
 * Finding manifests, by what is visible.
 *
 * Invariant 3: state is last-writer-wins. A tag row is (digest or null,
 * version, origin), a manifest row (created, deleted); a tag is visible when its manifest is alive and the tag was
 * written after the manifest was last deleted. `tags.visible` and `repositories.listed` repeat what follows from these
 * versions, for the indexes that lists page through, and are set in the transaction that changes them.
 */
import type { Digest } from '../oci/digest.ts';
import type { MediaType } from '../oci/media-type.ts';
import type { Reference, RepositoryName } from '../oci/reference.ts';
import { type Database, sql } from './database.ts';

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
