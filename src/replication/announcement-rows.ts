/**
 * The SQL of announcements. It reads, at a node, the rows that outbox entries stand for, and merges them into central
 * in one transaction.
 *
 * If a manifest of the node has no outbox entry, central already has it. So besides its own row, an outbox entry brings
 * only the manifests reachable from it that have outbox entries themselves. Children go before the index that lists
 * them, and manifests before their tags, so that an image never resolves elsewhere before all of its parts do.
 */
import { descriptorsOf } from '../stores/manifests/descriptors.ts';
import type { Digest } from '../oci/digest.ts';
import type { MediaType } from '../oci/media-type.ts';
import { organizationOf, type RepositoryName, type Tag } from '../oci/reference.ts';
import { selectClock } from '../stores/clock.ts';
import { type BoundStatement, type Database, sql } from '../stores/database.ts';
import { atMost, inFull } from '../stores/rows-read.ts';
import type { TypeClaim } from '../stores/manifests/manifest-type.ts';
import type { OutboxEntry } from '../stores/outbox-rows.ts';
import { type ManifestLifecycle, jsonParts, mergeRows, type Rows, type TagRow } from '../stores/merge.ts';
import { type ManifestHeadRecord, recordKey } from '../stores/manifests/manifest-records.ts';
import { isAliveManifest } from '../stores/deletion/removals.ts';
import type { StoreLimits } from '../stores/organizations/limits.ts';
import { compareTags } from '../stores/versions.ts';
import { reportNearLimits } from '../stores/organizations/organization-limits.ts';
import { type CentralUsage, selectUsageOf } from '../stores/organizations/usage-rows.ts';

/** A live manifest that has to be announced. */
export interface AnnouncedManifest extends ManifestHeadRecord {
  readonly outboxEntry: OutboxEntry;
  /** Whether its outbox entry also stands for a tag. If so, the entry stays until the tag is announced. */
  readonly hasTag: boolean;
  /** Steps from the outbox entry that needs this manifest. A child is deeper than its index. */
  readonly depth: number;
}

interface ManifestHead {
  readonly repository: RepositoryName;
  readonly digest: Digest;
  readonly media_type: MediaType;
  readonly artifact_type: string;
  readonly typed: TypeClaim;
  readonly typed_otherwise: TypeClaim;
  readonly subject: Digest | null;
  readonly size: number;
  readonly created: number;
  readonly deleted: number;
  readonly depth: number;
  readonly version: number;
  readonly written_at: number;
  /** The tag that its entry stands for, if the tag is still on it. */
  readonly tag: Tag | null;
  readonly tag_version: number;
  readonly tag_origin: string;
  readonly tag_author: string;
}

// A tag is announced even if its manifest has died: the write still replaces the tag's earlier manifest.
const SELECT_TAGS = sql<TagRow>`
  SELECT t.repository, t.name, t.digest, t.version, t.origin, t.author FROM json_each(?1) AS asked
  CROSS JOIN tags t ON t.repository = asked.value ->> 'repository' AND t.name = asked.value ->> 'key'
  WHERE asked.value ->> 'kind' = 'tag'
  UNION ALL
  SELECT t.repository, t.name, t.digest, t.version, t.origin, t.author FROM json_each(?1) AS asked
  CROSS JOIN outbox k ON k.kind = 'manifest' AND k.repository = asked.value ->> 'repository'
    AND k.key = asked.value ->> 'key'
  CROSS JOIN tags t ON t.repository = k.repository AND t.name = k.tag AND t.digest = k.key
  WHERE asked.value ->> 'kind' = 'manifest'`;

/**
 * The most children to look at on each level below an announced manifest. Any others are announced through their own
 * outbox entries.
 */
const CHILDREN_PER_LEVEL = 20_000;
const LEVELS = 4;

const CHILDREN_OF = (level: number): string => `
  wanted${level} (repository, digest) AS MATERIALIZED (
    SELECT DISTINCT child.repository, child.digest FROM (
      SELECT m.repository, d.value ->> 'digest' AS digest FROM wanted${level - 1}
      CROSS JOIN manifests m
        ON m.repository = wanted${level - 1}.repository AND m.digest = wanted${level - 1}.digest
      CROSS JOIN json_each(${descriptorsOf('m')}) AS d WHERE d.value ->> 'kind' = 'child'
      LIMIT ${CHILDREN_PER_LEVEL}) AS child
    WHERE EXISTS (SELECT 1 FROM outbox k
      WHERE k.kind = 'manifest' AND k.repository = child.repository AND k.key = child.digest))`;
const BELOW = Array.from({ length: LEVELS }, (_, i) => i + 1);

// Central knows a child without an outbox entry, and everything below it.
const SELECT_MANIFESTS = sql<ManifestHead>`
  WITH wanted0 (repository, digest) AS MATERIALIZED (
    SELECT asked.value ->> 'repository', asked.value ->> 'key' FROM json_each(?1) AS asked
    WHERE asked.value ->> 'kind' = 'manifest'
    UNION
    SELECT t.repository, t.digest FROM json_each(?1) AS asked
    CROSS JOIN tags t ON t.repository = asked.value ->> 'repository' AND t.name = asked.value ->> 'key'
    WHERE asked.value ->> 'kind' = 'tag' AND t.digest IS NOT NULL
  ), ${BELOW.map(CHILDREN_OF).join(', ')}, wanted (repository, digest, depth) AS MATERIALIZED (
    SELECT repository, digest, 0 FROM wanted0
    ${BELOW.map((level) => `UNION ALL SELECT repository, digest, ${level} FROM wanted${level}`).join(' ')}
  )
  SELECT m.repository, m.digest, m.media_type, m.artifact_type, m.typed, m.typed_otherwise, m.subject, m.size,
    m.created_version AS created,
    m.deleted_version AS deleted, max(wanted.depth) AS depth, k.version, k.written_at,
    t.name AS tag, t.version AS tag_version, t.origin AS tag_origin, t.author AS tag_author
  FROM wanted
  CROSS JOIN outbox k ON k.kind = 'manifest' AND k.repository = wanted.repository AND k.key = wanted.digest
  CROSS JOIN manifests m ON m.repository = wanted.repository AND m.digest = wanted.digest
  LEFT JOIN tags t ON t.repository = k.repository AND t.name = k.tag AND t.digest = k.key
  WHERE m.created_version > m.deleted_version
  GROUP BY m.repository, m.digest`.reading(atMost(LEVELS * 6 * CHILDREN_PER_LEVEL));

/**
 * Reads the tags that outbox entries stand for, and the manifests that have to be announced with them, children first.
 */
export async function readToAnnounce(
  node: Database,
  outboxEntries: readonly OutboxEntry[],
): Promise<{ readonly tags: readonly TagRow[]; readonly manifests: readonly AnnouncedManifest[] }> {
  const asked = JSON.stringify(outboxEntries.map(({ kind, repository, key }) => ({ kind, repository, key })));
  const { tags, heads } = await node.batch({
    tags: [SELECT_TAGS, asked],
    heads: [SELECT_MANIFESTS, asked],
  });
  const manifests = heads.map((head): AnnouncedManifest => ({
    repository: head.repository,
    digest: head.digest,
    mediaType: head.media_type,
    artifactType: head.artifact_type,
    typed: head.typed,
    typedOtherwise: head.typed_otherwise,
    subject: head.subject,
    size: head.size,
    created: head.created,
    deleted: head.deleted,
    depth: head.depth,
    hasTag: head.tag !== null,
    outboxEntry: {
      kind: 'manifest',
      repository: head.repository,
      key: head.digest,
      version: head.version,
      written_at: head.written_at,
    },
  }));
  const withManifests = heads.flatMap(
    ({ repository, digest, tag, tag_version: version, tag_origin: origin, tag_author: author }): TagRow[] =>
      tag === null ? [] : [{ repository, name: tag, digest, version, origin, author }],
  );
  const all = new Map([...tags, ...withManifests].map((tag) => [recordKey(tag.repository, tag.name), tag]));
  return { tags: [...all.values()], manifests: manifests.toSorted((a, b) => b.depth - a.depth) };
}

// A late announcement may name bytes that the node has released since. This happens only if their manifest was deleted.
const IS_NEEDED = `EXISTS (SELECT 1 FROM manifests m WHERE m.repository = blob.value ->> 'repository'
  AND m.digest = blob.value ->> 'manifest' AND ${isAliveManifest('m')})`;
const CENTRAL_LACKS_IT = `NOT EXISTS (SELECT 1 FROM locations l WHERE l.digest = blob.value ->> 'digest'
  AND l.store = ?5 AND l.damage IS NULL)`;
const IS_REPAIRED = 'locations.damage IS NOT NULL AND locations.key <> excluded.key';
const MUST_BE_COPIED = 'locations.copy_up_for IS NULL AND excluded.copy_up_for IS NOT NULL';
const ADD_LOCATIONS = sql`
  INSERT INTO locations (digest, store, key, size, created_at, lease_until, copy_up_for)
  SELECT DISTINCT blob.value ->> 'digest', ?2, blob.value ->> 'key', blob.value ->> 'size', CAST(?3 AS INTEGER),
    CAST(?4 AS INTEGER), iif(${CENTRAL_LACKS_IT}, blob.value ->> 'organization', NULL)
  FROM json_each(?1) AS blob WHERE ${IS_NEEDED}
  ON CONFLICT (digest, store) DO UPDATE SET
    key = iif(${IS_REPAIRED}, excluded.key, key), size = iif(${IS_REPAIRED}, excluded.size, size),
    damage = iif(${IS_REPAIRED}, NULL, damage), created_at = iif(${MUST_BE_COPIED}, excluded.created_at, created_at),
    copy_up_for = coalesce(copy_up_for, excluded.copy_up_for)
  WHERE (${IS_REPAIRED}) OR (${MUST_BE_COPIED})`.reading(inFull(8));
const SELECT_MERGED_TAGS = sql<TagRow>`
  SELECT t.repository, t.name, t.digest, t.version, t.origin, t.author FROM json_each(?1) AS sent
  CROSS JOIN tags t ON t.repository = sent.value ->> 'repository' AND t.name = sent.value ->> 'name'`;
const SELECT_MERGED_LIFECYCLES = sql<ManifestLifecycle>`
  SELECT m.repository, m.digest, m.created_version AS created, m.deleted_version AS deleted, m.typed,
    m.typed_otherwise AS typedOtherwise FROM json_each(?1) AS sent
  CROSS JOIN manifests m ON m.repository = sent.value ->> 'repository' AND m.digest = sent.value ->> 'digest'`;

/** The rows that a node sends to central. */
interface Announcement extends Pick<Rows, 'tags' | 'manifests' | 'blobs'> {
  /** The node's store. */
  readonly store: string;
}

/** Central's answer to an announcement: the rows as they are after the merge. */
interface AnnouncementReply {
  readonly tags: readonly TagRow[];
  readonly lifecycles: readonly ManifestLifecycle[];
  /** Central's clock. */
  readonly clock: number;
  /** The usage of organizations with a quota or near a limit, after the announcement. */
  readonly usage: readonly CentralUsage[];
}

/**
 * Merges an announcement into central in one transaction: the rows, the links of the blobs, and the locations of their
 * bytes, which say whether central has to copy them. It refuses nothing that the node has accepted.
 * @param lease the time until which central keeps the blobs, in milliseconds since the epoch
 * @param limits the reply tells the node the usage of organizations that are near these; nothing is refused
 */
export async function announceTo(
  central: { readonly name: string; readonly database: Database },
  { store, tags, manifests, blobs }: Announcement,
  now: number,
  lease: number,
  limits: StoreLimits,
): Promise<AnnouncementReply> {
  const located = blobs.filter(({ key }) => key !== null);
  const locations = jsonParts(
    located.map(({ repository, manifest, digest, key, size }) => ({
      repository,
      manifest,
      digest,
      key,
      size,
      organization: organizationOf(repository),
    })),
  );
  const repositories = [...tags, ...manifests].map(({ repository }) => repository);
  // Locations come before links, because a link is counted at once, with the size that the location gives.
  const sizes = locations.map((part): BoundStatement => [ADD_LOCATIONS, part, store, now, lease, central.name]);
  const sent = JSON.stringify(manifests.map(({ repository, digest }) => ({ repository, digest })));
  const { merged, lifecycles, clock, usage } = await central.database.batch({
    merge: mergeRows({ tags, lifecycles: [], manifests, blobs }, now, { evictable: false, beforeLinks: sizes }),
    limits: reportNearLimits(repositories, limits),
    merged: [SELECT_MERGED_TAGS, JSON.stringify(tags.map(({ repository, name }) => ({ repository, name })))],
    lifecycles: [SELECT_MERGED_LIFECYCLES, sent],
    clock: selectClock(),
    usage: selectUsageOf(repositories),
  });
  return { tags: merged, lifecycles, clock: clock[0]?.version ?? 0, usage };
}

/** Returns the rows of a reply that the node does not know yet: other writes that won, or deletions. */
export function news(
  reply: AnnouncementReply,
  sent: Pick<Rows, 'tags' | 'manifests'>,
): Pick<Rows, 'tags' | 'lifecycles'> {
  const versions = new Map(sent.tags.map((tag) => [recordKey(tag.repository, tag.name), tag]));
  const lifecycles = new Map(
    sent.manifests.map((lifecycle) => [recordKey(lifecycle.repository, lifecycle.digest), lifecycle]),
  );
  return {
    tags: reply.tags.filter((tag) => {
      const local = versions.get(recordKey(tag.repository, tag.name));
      return local === undefined || compareTags(local, tag) !== 0;
    }),
    lifecycles: reply.lifecycles.filter((lifecycle) => {
      const local = lifecycles.get(recordKey(lifecycle.repository, lifecycle.digest));
      const isKnown = local?.created === lifecycle.created && local.deleted === lifecycle.deleted;
      return !isKnown || local.typed !== lifecycle.typed || local.typedOtherwise !== lifecycle.typedOtherwise;
    }),
  };
}
