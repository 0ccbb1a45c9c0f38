/**
 * The SQL for the states of a page of tags at one store: what the store knows of the tags, what it has yet to announce,
 * and what it lacks of their images. One batch reads all of it.
 */
import type { Digest } from '../oci/digest.ts';
import type { RepositoryName, Tag } from '../oci/reference.ts';
import { sql } from '../stores/database.ts';
import { type KnownVersions, selectVersions, versionsIn } from '../stores/list-rows.ts';
import { descriptorsOf } from '../stores/manifests/descriptors.ts';
import type { ImageKind } from '../stores/manifests/image-measure.ts';
import { reachedFrom } from '../stores/manifests/listed-manifests.ts';
import { keyed } from '../stores/rows-read.ts';
import type { Store } from '../stores/store.ts';

/** The most descriptors of one image that are read. An image with more may have the state `unknown`. */
const MOST_DESCRIPTORS = 300;
/** The most outbox entries, and the most lacking blobs, that are named for one image. */
const MOST_NAMED = 20;
const most = String(MOST_DESCRIPTORS);
/** The largest index, and the largest config, whose platforms are read, in bytes. */
const MOST_BYTES = 64 * 1024;
/** The most platforms of an index. */
const MOST_PLATFORMS = 20;
/** The most characters of a platform. */
export const MOST_CHARACTERS = 100;

const SELECT_TAG_ENTRIES = sql<Entry<Tag>>`
  SELECT k.key, k.version FROM json_each(?2) AS asked
  CROSS JOIN outbox k ON k.kind = 'tag' AND k.repository = ?1 AND k.key = asked.value`;

// The parts of an image: its manifest, and everything below it. One limit applies to each level, and to the descriptors
// of all levels together. So an image with fewer descriptors was read whole. A blob without a link, such as a foreign
// layer, is not stored.
const PARTS = `(
  WITH ${reachedFrom('?1', 'image.digest', most)}, alive (digest, descriptors) AS MATERIALIZED (
    SELECT m.digest, ${descriptorsOf('m')} FROM reached
    CROSS JOIN manifests m ON m.repository = ?1 AND m.digest = reached.digest AND m.created_version > m.deleted_version
    LIMIT ${most}
  ), named (digest) AS MATERIALIZED (
    SELECT d.value ->> 'digest' FROM alive CROSS JOIN json_each(alive.descriptors) AS d LIMIT ${most}
  )
  SELECT json_object(
    'manifests', (SELECT count(*) FROM alive),
    'descriptors', (SELECT count(*) FROM named),
    'entries', (SELECT json_group_array(json_object('key', key, 'version', version)) FROM (
      SELECT k.key, k.version FROM alive
      CROSS JOIN outbox k ON k.kind = 'manifest' AND k.repository = ?1 AND k.key = alive.digest
      LIMIT ${String(MOST_NAMED)})),
    'lacking', (SELECT json_group_array(digest) FROM (
      SELECT DISTINCT named.digest FROM named
      CROSS JOIN links k ON k.repository = ?1 AND k.digest = named.digest
      WHERE NOT EXISTS (
        SELECT 1 FROM locations l WHERE l.digest = named.digest AND l.store = ?3 AND l.damage IS NULL)
      LIMIT ${String(MOST_NAMED)}))))`;
// The platforms of an index. Its document is a tenant's, so any field may be missing, or of another type.
const PLATFORMS = `(
  SELECT json_group_array(platform) FROM (
    SELECT DISTINCT substr((each.value ->> '$.platform.os') || '/' || (each.value ->> '$.platform.architecture')
      || coalesce('/' || (each.value ->> '$.platform.variant'), ''), 1, ${String(MOST_CHARACTERS)}) AS platform
    FROM manifest_contents c
    CROSS JOIN json_each(iif(json_valid(c.content), c.content, '{}'), '$.manifests') AS each
    WHERE c.repository = ?1 AND c.digest = image.digest AND c.part = 0 AND i.size <= ${String(MOST_BYTES)}
      AND each.type = 'object'
    LIMIT ${String(MOST_PLATFORMS)})
  WHERE platform IS NOT NULL AND platform <> 'unknown/unknown')`;
// The config that names the platform of an image, if no page has read it. Lists of descriptors begin with the config.
const UNREAD_CONFIG = `iif(i.image_platform IS NULL, (
  SELECT l.key FROM (SELECT value FROM json_each(${descriptorsOf('i')}) LIMIT 1) AS d
  CROSS JOIN locations l ON l.digest = d.value ->> 'digest' AND l.store = ?3 AND l.damage IS NULL
  WHERE d.value ->> 'kind' = 'config' AND l.size <= ${String(MOST_BYTES)}), NULL)`;
const SELECT_IMAGES = sql<ImageRow>`
  SELECT image.digest, i.size AS bytes, i.image_size AS size, i.image_kind AS kind, i.last_pull AS pulled,
    i.image_platform AS platform, ${UNREAD_CONFIG} AS config, ${PLATFORMS} AS platforms, ${PARTS} AS parts
  FROM (SELECT DISTINCT t.digest FROM json_each(?2) AS asked
    CROSS JOIN tags t ON t.repository = ?1 AND t.name = asked.value AND t.visible = 1) AS image
  CROSS JOIN manifests i ON i.repository = ?1 AND i.digest = image.digest`.reading(
  (run) => keyed(run) + 20 * MOST_DESCRIPTORS * run.keys,
);

interface Entry<Key> {
  readonly key: Key;
  readonly version: number;
}

interface ImageRow {
  readonly digest: Digest;
  readonly bytes: number;
  readonly size: number | null;
  readonly kind: ImageKind | null;
  readonly pulled: number;
  /** That of its config; '' if the config names none, null if no page has read it. */
  readonly platform: string | null;
  /** The key of the object with its config, if a page may read it. */
  readonly config: string | null;
  /** A JSON array of texts. */
  readonly platforms: string;
  /** {@link Parts}, as JSON. */
  readonly parts: string;
}

interface Parts {
  readonly manifests: number;
  readonly descriptors: number;
  readonly entries: readonly Entry<Digest>[];
  readonly lacking: readonly Digest[];
}

/** An image that a tag of the store is on. */
export interface ImageAtStore {
  readonly digest: Digest;
  /** Bytes of the manifest's document. */
  readonly bytes: number;
  /** Bytes of its distinct blobs; null if they have not been added up. */
  readonly size: number | null;
  readonly kind: ImageKind | null;
  /** The hour of its last pull from this store, in milliseconds since the epoch; 0 for never. */
  readonly pulled: number;
  /** Its platforms, such as `linux/arm64/v8`, as far as they are known. */
  readonly platforms: readonly string[];
  /** The key of the object with its config, if a page may read it for the platform. */
  readonly unreadConfig: string | undefined;
  /** Whether a page has read the config for the platform. */
  readonly isConfigRead: boolean;
  /** The number of its manifests that are alive in the store. */
  readonly manifests: number;
  /** Whether all of it was read. If not, the store may lack more of it than the other fields say. */
  readonly isWhole: boolean;
  /** The outbox entries of its manifests, or some of them. */
  readonly entries: readonly Entry<Digest>[];
  /** The blobs that the store lacks, or some of them. */
  readonly lacking: readonly Digest[];
}

/** A store's knowledge of a page of tags. */
export interface TagsAtStore {
  readonly versions: KnownVersions;
  /** The versions of the tags' outbox entries. */
  readonly entries: ReadonlyMap<Tag, number>;
  readonly images: ReadonlyMap<Digest, ImageAtStore>;
}

/**
 * Reads what a store knows of some tags.
 * @param digests the manifests that other stores have the tags on
 */
export async function readTagsAtStore(
  { name, database }: Store,
  repository: RepositoryName,
  names: readonly Tag[],
  digests: readonly Digest[],
): Promise<TagsAtStore> {
  const asked = JSON.stringify(names);
  const { versions, entries, images } = await database.batch(
    {
      versions: selectVersions(repository, names, digests),
      entries: [SELECT_TAG_ENTRIES, repository, asked],
      images: [SELECT_IMAGES, repository, asked, name],
    },
    { again: true },
  );
  return {
    versions: versionsIn(versions),
    entries: new Map(entries.map(({ key, version }) => [key, version])),
    images: new Map(images.map((row) => [row.digest, imageIn(row)])),
  };
}

function imageIn({ parts, platforms, platform, config, ...row }: ImageRow): ImageAtStore {
  const { descriptors, ...read } = JSON.parse(parts) as Parts;
  return {
    ...row,
    ...read,
    platforms: platform ? [platform] : (JSON.parse(platforms) as string[]),
    unreadConfig: config ?? undefined,
    isConfigRead: platform !== null,
    isWhole: descriptors < MOST_DESCRIPTORS,
  };
}
