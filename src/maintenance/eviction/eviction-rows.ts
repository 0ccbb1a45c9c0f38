/**
 * Evicts an image from a node: removes all of its rows; its bytes follow (`release-rows.ts`). An eviction is not a
 * deletion. It writes no version, no outbox entry and no change log entry, and central keeps the whole image.
 *
 * Invariant 1: an image with an outbox entry stays, since central may not have heard of it. An image that was pulled or
 * pinned since it was chosen stays as well. All this is one transaction. Its first statements judge, and leave a row in
 * `evictions` if the image may be evicted. The other statements look for that row, and the last one removes it. An
 * image can list more digests than one parameter holds, so statements take lists in parts.
 */
import { descriptorsOf } from '../../stores/manifests/descriptors.ts';
import type { Digest } from '../../oci/digest.ts';
import type { RepositoryName } from '../../oci/reference.ts';
import { auditEviction } from '../../stores/organizations/audit-rows.ts';
import { isPromised, LINKS_PER_BLOB } from '../../stores/retention.ts';
import { type Batch, type BoundStatement, type Database, sql } from '../../stores/database.ts';
import { reachedFrom } from '../../stores/manifests/listed-manifests.ts';
import { DIGESTS_PER_PARAMETER, jsonParts } from '../../stores/merge.ts';
import { atMost, inFull, paged, perTag } from '../../stores/rows-read.ts';

/** A page of images starts after this one. */
export interface UsePosition {
  /** When the image was last pulled (to the hour) or pushed, in milliseconds since the epoch. */
  readonly used_at: number;
  readonly repository: string;
  readonly digest: string;
}

interface UsedManifest {
  readonly used_at: number;
  readonly repository: RepositoryName;
  readonly digest: Digest;
  /** 1 if a live index lists it. */
  readonly listed: number;
}

/** SQL that is true if an index lists the manifest. */
export const hasParent = (repository: string, digest: string): string => `EXISTS (
  SELECT 1 FROM manifest_references r
  WHERE r.digest = ${digest} AND r.repository = ${repository} AND r.kind = 'child')`;

const SELECT_USED = sql`
  SELECT m.used_at, m.repository, m.digest, ${hasParent('m.repository', 'm.digest')} AS listed
  FROM manifests m INDEXED BY manifests_used
  WHERE m.evictable = 1 AND m.created_version > m.deleted_version
    AND (m.used_at, m.repository, m.digest) > (CAST(?1 AS INTEGER), ?2, ?3)
  ORDER BY m.used_at, m.repository, m.digest LIMIT CAST(?4 AS INTEGER)`.reading(paged(4, 4));

/** Returns a page of live manifests, least recently used first. */
export function leastUsed(node: Database, after: UsePosition, limit: number): Promise<UsedManifest[]> {
  return node.all<UsedManifest>(SELECT_USED, after.used_at, after.repository, after.digest, limit);
}

/** Manifests on each level below an image. Those beyond stay, and become images of their own. */
const MOST_LISTED = 25_000;
/**
 * References that all manifests of an image may have together: a little more than one manifest of 4 MiB can hold.
 * {@link imagesAt} counts them before it reads them.
 */
const MOST_REFERENCES = 60_000;

const MEMBERS = `
  WITH ${reachedFrom('?1', '?2', String(MOST_LISTED))}, member (digest, depth, used_at) AS MATERIALIZED (
    SELECT m.digest, reached.depth, m.used_at FROM reached
    CROSS JOIN manifests m ON m.repository = ?1 AND m.digest = reached.digest
    WHERE m.created_version > m.deleted_version
  )`;
const ofMembers = atMost(12 * MOST_LISTED);
const COUNT_REFERENCES = sql<{ count: number }>`${MEMBERS}
  SELECT coalesce(sum(json_array_length(${descriptorsOf('m')})), 0) AS count FROM member
  CROSS JOIN manifests m ON m.repository = ?1 AND m.digest = member.digest`.reading(ofMembers);
const SELECT_MEMBERS = sql<Member>`${MEMBERS} SELECT digest, depth, used_at FROM member ORDER BY depth, digest`.reading(
  ofMembers,
);

// Another image, in any repository, may need the bytes as well. A blob with links from very many repositories counts as
// shared.
const SELECT_BLOBS = sql<NeededBlob>`${MEMBERS}, named AS MATERIALIZED (
    SELECT DISTINCT digest FROM (
      SELECT d.value ->> 'digest' AS digest FROM member
      CROSS JOIN manifests m ON m.repository = ?1 AND m.digest = member.digest
      CROSS JOIN json_each(${descriptorsOf('m')}) AS d LIMIT ${String(MOST_REFERENCES)})
  )
  SELECT named.digest, l.size, l.lease_until, (EXISTS (
      SELECT 1 FROM manifest_references o WHERE o.digest = named.digest AND o.repository = ?1
        AND o.manifest NOT IN (SELECT digest FROM member))
    OR EXISTS (
      SELECT 1 FROM (
        SELECT k.repository FROM links k WHERE k.digest = named.digest LIMIT ${String(LINKS_PER_BLOB)}) AS linked
      CROSS JOIN manifest_references o ON o.digest = named.digest AND o.repository = linked.repository
      WHERE linked.repository <> ?1)
    OR EXISTS (SELECT 1 FROM links k WHERE k.digest = named.digest LIMIT 1 OFFSET ${String(LINKS_PER_BLOB)})) AS shared
  FROM named
  CROSS JOIN links k ON k.repository = ?1 AND k.digest = named.digest
  LEFT JOIN locations l ON l.digest = named.digest AND l.store = ?3`.reading(
  (run) => ofMembers(run) + 8 * MOST_REFERENCES + 4 * LINKS_PER_BLOB * run.returned,
);

export interface ImageAtNode {
  readonly repository: RepositoryName;
  readonly digest: Digest;
  /** The manifest and everything that it lists, as far as the node has it. Parents come before their children. */
  readonly members: readonly Member[];
  readonly blobs: readonly NeededBlob[];
}

interface Member {
  readonly digest: Digest;
  readonly depth: number;
  readonly used_at: number;
}

interface NeededBlob {
  readonly digest: Digest;
  /** Bytes; null if the node does not hold the blob. */
  readonly size: number | null;
  /** Milliseconds since the epoch. */
  readonly lease_until: number | null;
  /** 1 if another image needs it. */
  readonly shared: number;
}

/**
 * Reads the manifests and blobs of images at a node: of the first `roots`, as many as fit into the limit of references,
 * and at least one.
 * @param references the most references to read at once; a manifest of 4 MB has tens of thousands
 */
export async function imagesAt(
  node: { readonly name: string; readonly database: Database },
  roots: readonly Root[],
  references: number,
): Promise<ImageAtNode[]> {
  const counts = await node.database.batch(
    byName(roots, ({ repository, digest }) => [COUNT_REFERENCES, repository, digest]),
  );
  let referencesLeft = references;
  const read = roots.filter((root, i) => (referencesLeft -= counts[nameOf(root)]?.[0]?.count ?? 0) >= 0 || i === 0);
  const images = await node.database.batch(
    byName(read, ({ repository, digest }) => ({
      members: [SELECT_MEMBERS, repository, digest],
      blobs: [SELECT_BLOBS, repository, digest, node.name],
    })),
  );
  return read.map(({ repository, digest }) => {
    const { members, blobs } = images[nameOf({ repository, digest })] ?? { members: [], blobs: [] };
    return { repository, digest, members, blobs };
  });
}

type Root = Pick<ImageAtNode, 'repository' | 'digest'>;

function byName<const Asked extends BoundStatement<unknown> | Batch>(
  roots: readonly Root[],
  ask: (root: Root) => Asked,
): Record<string, Asked> {
  return Object.fromEntries(roots.map((root) => [nameOf(root), ask(root)]));
}

function nameOf({ repository, digest }: Root): string {
  return `${repository}@${digest}`;
}

const SELECT_UNSETTLED = sql`
  SELECT asked.value AS digest FROM json_each(?1) AS asked
  WHERE NOT EXISTS (SELECT 1 FROM locations l WHERE l.digest = asked.value AND l.store = ?2 AND l.damage IS NULL)`;

/** Returns those of the blobs that central has no sound copy of. */
export async function unsettledAmong(
  central: { readonly name: string; readonly database: Database },
  digests: readonly Digest[],
): Promise<Set<Digest>> {
  const unsettled = new Set<Digest>();
  for (const part of jsonParts(digests, DIGESTS_PER_PARAMETER)) {
    const rows = await central.database.all<{ digest: Digest }>(SELECT_UNSETTLED, part, central.name);
    for (const { digest } of rows) unsettled.add(digest);
  }
  return unsettled;
}

// ?1: token. ?2: repository. ?3: the image's digest.
const BEGIN = sql`
  INSERT INTO evictions (token) SELECT ?1 WHERE
    EXISTS (SELECT 1 FROM manifests WHERE repository = ?2 AND digest = ?3 AND created_version > deleted_version)
    AND NOT ${hasParent('?2', '?3')}`;

const TAGS_OF_MEMBERS = `json_each(?3) AS member
  CROSS JOIN tags t INDEXED BY tags_by_digest ON t.repository = ?2 AND t.digest = member.value`;

// ?3: digests of its members. ?4: when it was last used.
const GIVE_UP = sql`
  DELETE FROM evictions WHERE token = ?1 AND (
    EXISTS (SELECT 1 FROM json_each(?3) AS member CROSS JOIN outbox k
      ON k.kind = 'manifest' AND k.repository = ?2 AND k.key = member.value)
    OR EXISTS (SELECT 1 FROM ${TAGS_OF_MEMBERS} CROSS JOIN outbox k
      ON k.kind = 'tag' AND k.repository = ?2 AND k.key = t.name)
    OR EXISTS (SELECT 1 FROM json_each(?3) AS member CROSS JOIN pins p
      ON p.repository = ?2 AND p.reference = member.value)
    OR EXISTS (SELECT 1 FROM ${TAGS_OF_MEMBERS} CROSS JOIN pins p ON p.repository = ?2 AND p.reference = t.name
      CROSS JOIN manifests m ON m.repository = ?2 AND m.digest = t.digest WHERE t.version > m.deleted_version)
    OR EXISTS (SELECT 1 FROM json_each(?3) AS member CROSS JOIN manifests m
      ON m.repository = ?2 AND m.digest = member.value WHERE m.used_at > CAST(?4 AS INTEGER)))`.reading(perTag);

const BEGUN = 'EXISTS (SELECT 1 FROM evictions WHERE token = ?1)';
const LISTED = '(SELECT value FROM json_each(?3))';

// Manifests of one depth, after those that list them. A child that another index lists, or that has a tag, stays.
// ?3: digests. ?4: 1 for the image itself.
const MAY_GO = `repository = ?2 AND digest IN ${LISTED} AND created_version > deleted_version AND ${BEGUN}
  AND NOT ${hasParent('manifests.repository', 'manifests.digest')}
  AND (?4 = 1 OR NOT EXISTS (SELECT 1 FROM tags t INDEXED BY tags_by_digest
    WHERE t.repository = ?2 AND t.digest = manifests.digest AND t.version > manifests.deleted_version))`;
// If a manifest was ever deleted, its row stays as a tombstone, because the deletion may hide tags.
const LEAVE_TOMBSTONES = sql`
  UPDATE manifests SET created_version = 0, media_type = '', artifact_type = '', typed = '', typed_otherwise = '',
    subject = NULL, size = 0, last_pull = 0, image_size = NULL, image_kind = NULL, image_platform = NULL,
    descriptors = NULL
  WHERE ${MAY_GO} AND deleted_version > 0`.reading(inFull(16));
const DELETE_MANIFESTS = sql`DELETE FROM manifests WHERE ${MAY_GO}`.reading(inFull(16));

const HAS_GONE = (digest: string): string => `NOT EXISTS (SELECT 1 FROM manifests m
  WHERE m.repository = ?2 AND m.digest = ${digest} AND m.created_version > m.deleted_version) AND ${BEGUN}`;
const DELETE_CONTENTS = sql`
  DELETE FROM manifest_contents WHERE repository = ?2 AND digest IN ${LISTED}
    AND ${HAS_GONE('manifest_contents.digest')}`.reading(inFull());
const DELETE_DESCRIPTORS = sql`
  DELETE FROM large_descriptors WHERE repository = ?2 AND digest IN ${LISTED}
    AND ${HAS_GONE('large_descriptors.digest')}`.reading(inFull());
// Tags that a deletion hides are deleted with its tombstone. Tags with a history stay, since this store may be the only
// one that knows the writes.
const DELETE_TAGS = sql`
  DELETE FROM tags INDEXED BY tags_by_digest WHERE repository = ?2 AND digest IN ${LISTED}
    AND ${HAS_GONE('tags.digest')}
    AND NOT EXISTS (SELECT 1 FROM manifests m
      WHERE m.repository = ?2 AND m.digest = tags.digest AND m.deleted_version >= tags.version)
    AND NOT EXISTS (SELECT 1 FROM tag_history h WHERE h.repository = ?2 AND h.name = tags.name)`.reading(perTag);
const HIDE_TAGS = sql`
  UPDATE tags INDEXED BY tags_by_digest SET visible = 0
  WHERE repository = ?2 AND digest IN ${LISTED} AND visible = 1 AND ${HAS_GONE('tags.digest')}`.reading(perTag);
const DELETE_LINKS = sql`
  DELETE FROM links WHERE repository = ?2 AND digest IN ${LISTED} AND ${BEGUN}
    AND (usable_until IS NULL OR usable_until <= CAST(?4 AS INTEGER)) AND NOT ${isPromised('links.digest', '?4')}
    AND NOT EXISTS (SELECT 1 FROM manifest_references r
      WHERE r.digest = links.digest AND r.repository = ?2)`;
const UNLIST_REPOSITORY = sql`
  UPDATE repositories SET listed = 0 WHERE name = ?2 AND ${BEGUN} AND NOT EXISTS (
    SELECT 1 FROM manifests INDEXED BY manifests_live WHERE repository = ?2 AND created_version > deleted_version)`;
const FORGET_EMPTY_REPOSITORY = sql`
  DELETE FROM repositories WHERE name = ?2 AND ${BEGUN}
    AND NOT EXISTS (SELECT 1 FROM manifests WHERE repository = ?2) AND NOT EXISTS (SELECT 1 FROM tags
      WHERE repository = ?2)`;
const RESUME_AT = sql`UPDATE maintenance_tasks SET position = ?2 WHERE task = 'evict' AND ${BEGUN}`;
const COUNT = sql`
  INSERT INTO maintenance_counters (name, value) SELECT 'evicted_images', 1 WHERE ${BEGUN}
  ON CONFLICT (name) DO UPDATE SET value = value + 1`;
const END = sql<{ token: string }>`DELETE FROM evictions WHERE token = ?1 RETURNING token`;

/**
 * Removes an image's rows at a node, if it may still be evicted. Its bytes stay until they are released.
 * @param now milliseconds since the epoch
 * @param resumeAt the position where the task goes on if it is killed before it has removed the bytes
 * @returns whether the image was evicted
 */
export async function evictImage(
  node: Database,
  { repository, digest, members, blobs }: ImageAtNode,
  now: number,
  resumeAt: string,
): Promise<boolean> {
  const token = crypto.randomUUID();
  const lists = partsOf(members);
  const used = members.reduce((latest, { used_at: at }) => Math.max(latest, at), 0);
  const levels = [...Map.groupBy(members, ({ depth }) => depth)].toSorted(([a], [b]) => a - b);
  const { ended } = await node.batch({
    begin: [BEGIN, token, repository, digest],
    giveUp: lists.map((list) => [GIVE_UP, token, repository, list, used] as const),
    manifests: levels.flatMap(([depth, level]) =>
      partsOf(level).flatMap((digests): BoundStatement[] => [
        [LEAVE_TOMBSTONES, token, repository, digests, depth === 0 ? 1 : 0],
        [DELETE_MANIFESTS, token, repository, digests, depth === 0 ? 1 : 0],
      ]),
    ),
    parts: lists.flatMap((list): BoundStatement[] => [
      [DELETE_CONTENTS, token, repository, list],
      [DELETE_DESCRIPTORS, token, repository, list],
      [DELETE_TAGS, token, repository, list],
      [HIDE_TAGS, token, repository, list],
    ]),
    links: partsOf(blobs).map((list) => [DELETE_LINKS, token, repository, list, now] as const),
    repository: [
      [UNLIST_REPOSITORY, token, repository],
      [FORGET_EMPTY_REPOSITORY, token, repository],
    ],
    resume: [RESUME_AT, token, resumeAt],
    count: [COUNT, token],
    audit: auditEviction(token, repository, digest, now),
    ended: [END, token],
  });
  return ended.length > 0;
}

function partsOf(rows: readonly { readonly digest: Digest }[]): string[] {
  return jsonParts(
    rows.map(({ digest }) => digest),
    DIGESTS_PER_PARAMETER,
  );
}
