/**
 * Fills a store as an adversary would to make others wait: with many rows beside, before and around everything that a
 * request can ask for. The constants name the things to ask for.
 */
import { type Digest, digestOf } from '../../src/oci/digest.ts';
import type { OrganizationName, RepositoryName, Tag } from '../../src/oci/reference.ts';
import { bytesOf } from './fixture.ts';
import { describeManifests } from './descriptors.ts';
import { withoutTriggers } from './without-triggers.ts';

/** A repository with 200,000 references. */
export const BIG = 'mallory/big' as RepositoryName;
export const MALLORY = 'mallory' as OrganizationName;
/**
 * A blob that 10,000 repositories have. In {@link BIG}, 40,000 dead manifests name it. In each of 10,000 repositories
 * that do not have it, a live manifest names it.
 */
export const COMMON_BYTES = bytesOf(77, 50);
export const COMMON: Digest = await digestOf('sha256', COMMON_BYTES);
/**
 * A blob that 10,000 private repositories have, and that only dead manifests name: 20,000 in {@link BIG}, and one in
 * each other repository.
 */
export const UNNEEDED = digest('6', 0);
/** A tag of {@link BIG} with 100,000 earlier writes. */
export const TAG = 'moved' as Tag;
/** A subject with 5,000 referrers. */
export const SUBJECT_OF_MANY = digest('5', 0);
/** A manifest with 10,000 tags: as many as ten stores take. */
export const TAGGED = digest('7', 0);
/** An image whose one layer, which no other image has, is a child of 20,000 indexes. */
export const SHARING = digest('8', 0);
const LAYER_OF_SHARING = digest('8', 900);
/** An index of 4,000 manifests, each of which is an index that lists the next 36. */
export const TOP = digest('a', 0);
export const REPOSITORIES = 10_000;
/** A layer that the operations push. */
export const LAYER = bytesOf(500, 60);
/** When the operations run: a day after the rows were written. */
export const NOW = Date.UTC(2026, 0, 2);

export function digest(prefix: string, i: number): Digest {
  return `sha256:${prefix}${i.toString(16).padStart(63, '0')}` as Digest;
}

const UPLOADS = 'uploads (hour, repository, id, state, size, write_id, expires_at, key)';
const d = (prefix: string, i = 'i'): string => `'sha256:' || printf('${prefix}%063x', ${i})`;
const MANIFEST_COLUMNS =
  'repository, digest, media_type, artifact_type, subject, size, created_version, deleted_version, last_pull, ' +
  'image_size, image_kind, descriptors';
const layer = (blob: string): string => `json_array(json_object('kind', 'layer', 'digest', '${blob}', 'size', 50))`;
const INDEX = 'application/vnd.oci.image.index.v1+json';
const IMAGE = 'application/vnd.oci.image.manifest.v1+json';

/** The number of rows to insert, and their SQL, in which `i` counts from 0. */
const ROWS: readonly (readonly [count: number, insert: string])[] = [
  // Dead manifests, whose digests come before all others.
  [
    40_000,
    `manifests (${MANIFEST_COLUMNS})
      SELECT '${BIG}', ${d('0')}, '${IMAGE}', '', NULL, 1, 1000 + i, 900000 + i, 0, 1, '',
        iif(i < 20000, ${layer(UNNEEDED)}, ${layer(COMMON)})`,
  ],
  // References to a blob from repositories that do not have it.
  [
    REPOSITORIES,
    `manifest_references (digest, repository, kind, manifest, size)
      SELECT '${COMMON}', 'mallory/n' || printf('%05d', i), 'layer', ${d('2')}, 50`,
  ],
  [1, `links (repository, digest, created_at, counts) SELECT '${BIG}', '${UNNEEDED}', 0, 0`],
  [
    REPOSITORIES,
    `links (repository, digest, created_at, counts) SELECT 'mallory/p' || printf('%05d', i), '${UNNEEDED}', 0, 0`,
  ],
  [
    1,
    `locations (digest, store, key, size, created_at, lease_until)
      SELECT '${UNNEEDED}', 'central', 'blobs/unneeded', 50, 0, 0`,
  ],
  [
    1,
    `locations (digest, store, key, size, created_at, lease_until)
      SELECT '${UNNEEDED}', 'node1', 'blobs/unneeded', 50, 0, 0`,
  ],
  // Indexes that list each other.
  [
    4000,
    `manifests (${MANIFEST_COLUMNS})
      SELECT '${BIG}', ${d('a')}, '${INDEX}', '', NULL, 600000, 2000000, 0, 0, 0, '', NULL`,
  ],
  [
    4000,
    `manifest_references (repository, digest, manifest, kind, size)
      SELECT '${BIG}', ${d('a', 'i + 1')}, '${TOP}', 'child', 0`,
  ],
  [
    146_000,
    `manifest_references (repository, digest, manifest, kind, size)
     SELECT '${BIG}', ${d('a', 'i / 36 + i % 36 + 1')}, ${d('a', 'i / 36')}, 'child', 0 WHERE i / 36 > 0`,
  ],
  [
    4000,
    `manifest_references (repository, digest, manifest, kind, size)
      SELECT '${BIG}', '${TAGGED}', ${d('a')}, 'child', 0`,
  ],
  // An image whose layer many indexes list as if it were a manifest.
  [
    1,
    `manifests (${MANIFEST_COLUMNS})
      SELECT '${BIG}', '${SHARING}', '${IMAGE}', '', NULL, 100, 2000000, 0, 0, 1, '', NULL`,
  ],
  [
    1,
    `manifest_references (repository, digest, manifest, kind, size)
      SELECT '${BIG}', '${LAYER_OF_SHARING}', '${SHARING}', 'layer', 50`,
  ],
  [
    20_000,
    `manifest_references (repository, digest, manifest, kind, size)
      SELECT '${BIG}', '${LAYER_OF_SHARING}', ${d('c')}, 'child', 0`,
  ],
  // Referrers.
  [
    5000,
    `manifests (${MANIFEST_COLUMNS})
      SELECT '${BIG}', ${d('b')}, '${IMAGE}', 'a/' || (i % 2), '${SUBJECT_OF_MANY}', 100, 2000000, 0, 0, 1, '', NULL`,
  ],
  [5000, `manifest_contents (repository, digest, part, content) SELECT '${BIG}', ${d('b')}, 0, '{}'`],
  // Tags: dead ones first, then many on one manifest, then one that was moved often.
  [
    1,
    `manifests (${MANIFEST_COLUMNS})
      SELECT '${BIG}', '${TAGGED}', '${IMAGE}', '', NULL, 100, 2000000, 1000000, 0, 1, '', NULL`,
  ],
  [20_000, `tags SELECT '${BIG}', 'a' || printf('%05d', i), NULL, 1500 + i, 'central', 0, ''`],
  [5000, `tags SELECT '${BIG}', 'b' || printf('%05d', i), ${d('0')}, 1500 + i, 'central', 0, ''`],
  [5000, `tags SELECT '${BIG}', 'c' || printf('%05d', i), '${TAGGED}', 999999, 'central', 0, ''`],
  [4999, `tags SELECT '${BIG}', 'd' || printf('%05d', i), '${TAGGED}', 2000000, 'central', 1, ''`],
  [1, `tags SELECT '${BIG}', '${TAG}', '${TAGGED}', 2000000, 'central', 1, ''`],
  [100_000, `tag_history SELECT '${BIG}', '${TAG}', 1000 + i, 'central', '${TAGGED}', i, ''`],
  // Repositories: public ones without an image first. All have one blob.
  [REPOSITORIES, `repositories (name, created_at, listed) SELECT 'mallory/' || printf('%05d', i), 0, 0`],
  [REPOSITORIES, `public_repositories (name) SELECT 'mallory/' || printf('%05d', i)`],
  [
    REPOSITORIES,
    `links (repository, digest, created_at, counts) SELECT 'mallory/' || printf('%05d', i), '${COMMON}', 0, 0`,
  ],
  [
    REPOSITORIES,
    `manifests (${MANIFEST_COLUMNS})
      SELECT 'mallory/' || printf('%05d', i), ${d('2')}, '${IMAGE}', '', NULL, 1, 1000, 2000, 0, 1, '',
        ${layer(COMMON)}`,
  ],
  // Public repositories that have an image, but no tag.
  [REPOSITORIES, `repositories (name, created_at, listed) SELECT 'mallory/a' || printf('%05d', i), 0, 1`],
  [REPOSITORIES, `public_repositories (name, listed) SELECT 'mallory/a' || printf('%05d', i), 1`],
  [
    REPOSITORIES,
    `manifests (${MANIFEST_COLUMNS})
      SELECT 'mallory/a' || printf('%05d', i), ${d('3')}, '${IMAGE}', '', NULL, 1, 2000, 1000, 0, 1, '', NULL`,
  ],
  [1, `repositories (name, created_at, listed) SELECT '${BIG}', 0, 1`],
  [20_000, `links (repository, digest, created_at, counts) SELECT '${BIG}', ${d('e')}, 0, 0`],
  [
    20_000,
    `locations (digest, store, key, size, created_at, lease_until)
      SELECT ${d('e')}, iif(i % 2, 'central', 'node1'), 'blobs/e' || i, 10, 0, 0`,
  ],
  [
    20_000,
    `locations (digest, store, key, size, created_at, lease_until, copy_up_for)
      SELECT ${d('e')}, iif(i % 2, 'node1', 'node3'), 'blobs/e' || i, 10, 0, 0, 'org' || (i / 10)`,
  ],
  [
    5000,
    `locations (digest, store, key, size, created_at, lease_until, damage)
      SELECT ${d('d')}, 'central', 'blobs/d' || i, 10, 0, 0, 'missing'`,
  ],
  [
    1,
    `locations (digest, store, key, size, created_at, lease_until)
      SELECT '${COMMON}', 'central', 'blobs/common', 50, 0, 0`,
  ],
  [20_000, `usage_blobs SELECT '${MALLORY}', ${d('e')}, NULL, 1, 0`],
  [10_000, `usage_blobs SELECT 'org' || i, '${COMMON}', NULL, 1, 0`],
  [
    10_000,
    `usage (organization, blobs, bytes, unreferenced, uploading, changed) SELECT 'org' || i, 1, 10, 0, 0, i + 1`,
  ],
  // Control data: removed organizations first, then many credentials of one organization.
  [10_000, `organizations (name, created_at, removed_at, quota_bytes) SELECT 'a' || printf('%05d', i), 0, 1, NULL`],
  [10_000, `organizations (name, created_at, removed_at, quota_bytes) SELECT 'org' || i, 0, NULL, 1000`],
  [1, `organizations (name, created_at, removed_at, quota_bytes) SELECT '${MALLORY}', 0, NULL, 1000000000`],
  // One organization has room for one more credential. The other two are removed.
  [
    999,
    `credentials (id, kind, organization, name, rights, repositories, secret_hash, created_at)
     SELECT 'id' || i, 'organization', '${MALLORY}', 'c' || printf('%05d', i), '[]', '[]', 'hash' || i, 0`,
  ],
  ...['a00005', 'org7'].map((name): [number, string] => [
    1000,
    `credentials (id, kind, organization, name, rights, repositories, secret_hash, created_at)
     SELECT '${name}' || i, 'organization', '${name}', 'c' || printf('%05d', i), '[]', '[]', '${name}' || i, 0`,
  ]),
  // As many mirrors as there may be.
  [
    100,
    `mirrors (organization, upstream, prefix, repositories, ttl, stale, pushes, public, changed_at)
     SELECT 'org' || i, 'hub', '', '["*"]', 0, 0, 'refused', 0, 0`,
  ],
  // Rows that wait for something: the change log, the outbox, uploads, the delete queue and orphans.
  [20_000, `change_log (kind, name, key, version, recorded_at) SELECT 'tag', '${BIG}', 'a' || i, i + 1, 0`],
  [20_000, `outbox SELECT 'manifest', '${BIG}', ${d('f')}, 1000 + i, i, 't' || i`],
  [20_000, `${UPLOADS} SELECT 0, '${BIG}', printf('%036d', i), 'open', 10, '', i, 'blobs/v' || i`],
  [20_000, `upload_chunks (upload, start, size, key) SELECT printf('%036d', i), 10, 10, 'blobs/u' || i`],
  [20_000, `${UPLOADS} SELECT 0, '${BIG}', printf('f%035d', i), 'finished', 10, '', 1000000 + i, 'blobs/w' || i`],
  [20_000, `delete_queue SELECT i, 'blobs/x' || i, 10`],
  [20_000, `orphans (key, size, first_seen) SELECT 'blobs/o' || printf('%05d', i), i, 0`],
  [10_000, `pins SELECT '${BIG}', 'p' || i, 0`],
  [
    20_000,
    `audit (at, action, organization, repository, key, subject, name, host)
      SELECT i, 'delete tag', '${MALLORY}', '${BIG}', '', '', '', ''`,
  ],
  [100, `change_log_positions SELECT 'other' || i, 0, 0, NULL`],
];

/** Inserts all rows into a database. */
export async function fillAsAdversary(database: D1Database): Promise<void> {
  await withoutTriggers(database, async () => {
    for (const [count, insert] of ROWS) {
      const numbers = `WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < ${count - 1})`;
      const [into, select] = insert.split(/ SELECT (.*)/s);
      const [columns, where] = (select ?? '').split(' WHERE ');
      await database
        .prepare(`INSERT OR IGNORE INTO ${into} ${numbers} SELECT ${columns} FROM n WHERE ${where ?? 'true'}`)
        .run();
    }
    await describeManifests(database);
    await database.prepare('UPDATE manifests SET evictable = 1').run();
  });
}
