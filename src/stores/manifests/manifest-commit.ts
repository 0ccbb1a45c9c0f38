/**
 * Writes manifests.
 *
 * Invariant 1: a manifest is acknowledged only after one transaction has written all of it. The transaction writes only
 * if every blob that the manifest needs is there, and the organization has room for the manifest and for the blobs that
 * did not count yet.
 */
import type { Digest } from '../../oci/digest.ts';
import type { OciError } from '../../oci/errors.ts';
import type { Manifest } from '../../oci/manifest.ts';
import type { RepositoryName, Tag } from '../../oci/reference.ts';
import { committed, versionOf, takeVersion, type CommitContext } from '../clock.ts';
import { type Database, sql } from '../database.ts';
import { perTag } from '../rows-read.ts';
import { authorOf } from '../organizations/audit-rows.ts';
import type { StoreLimits } from '../organizations/limits.ts';
import { forgetIndexesAbove, KEEPS_MEASURE, measureIndexes, measureOf } from './image-measure.ts';
import { CLAIM, IS_OF_MANIFEST } from './manifest-type.ts';
import {
  addition,
  bytesOfManifest,
  excessOf,
  type KnownAtCentral,
  limitExceeded,
  readsAddition,
  reportNearLimits,
} from '../organizations/organization-limits.ts';
import { SELECT_STILL_SHOWN, type Shown, ShownChanged, shownParameter, STILL_SHOWN } from '../deletion/shown.ts';
import { CONTRADICTIONS, SELECT_CONTRADICTIONS, sizesContradicted } from './stated-sizes.ts';
import { addedByManifest, exceedsQuota, inUnits, quotaExceeded } from '../organizations/usage-rows.ts';
import { inline, mayBeLarge, MOST_INLINE } from './descriptors.ts';
import { INSERT_HISTORY, TRIM_HISTORY } from './tag-history.ts';
import { hiddenUntil, isAliveManifest, removedVersion, isAliveLink } from '../deletion/removals.ts';

export interface ManifestContext extends CommitContext {
  /** The limits of organizations. */
  readonly limits: StoreLimits;
}

/** The most UTF-8 bytes in one row of content. D1 allows 2 MB per row. */
const CONTENT_ROW_BYTES = 1_000_000;

/**
 * Selects the blobs that the repository does not link, and those whose bytes are in no location and that central has
 * not promised to keep beyond `now`.
 */
const MISSING_BLOBS = (blobs: string, repository: string, now: string): string => `
  SELECT blob.value AS digest FROM json_each(${blobs}) AS blob WHERE NOT EXISTS (
    SELECT 1 FROM links k WHERE k.repository = ${repository} AND k.digest = blob.value AND ${isAliveLink('k')}
      AND (k.usable_until > CAST(${now} AS INTEGER) OR EXISTS (SELECT 1 FROM locations l WHERE l.digest = k.digest
        AND l.damage IS NULL)))`;

const SELECT_MISSING_BLOBS = sql<{ digest: Digest }>`${MISSING_BLOBS('?1', '?2', '?3')}`;

// Pushed blobs count already. Blobs that only dead manifests named start to count again here.
const TAKE_VERSION_IF_BLOBS_ARE_THERE = takeVersion(
  `NOT EXISTS (${MISSING_BLOBS('?3', '?4', '?5')}) AND NOT EXISTS (${CONTRADICTIONS('?8', '?4')})
    AND ${STILL_SHOWN('?9', '?4')} AND ${excessOf('?4', '?7', '?6')} IS NULL
    AND NOT ${exceedsQuota('?4', `(${addedByManifest('?4', '?6')} + ${bytesOfManifest('?4', '?7')})`)}`,
).reading(readsAddition);

/** Keeps bytes that were being released, now that a manifest needs them. */
const KEEP_BLOBS = sql`
  UPDATE locations SET releasing = NULL
  WHERE digest IN (SELECT value FROM json_each(?1)) AND store = ?2 AND releasing IS NOT NULL
    AND EXISTS (SELECT 1 FROM clock WHERE ${committed('?3')})`;

const UPSERT_REPOSITORY = sql`
  INSERT INTO repositories (name, created_at, listed)
  SELECT ?1, CAST(?2 AS INTEGER), 1 FROM clock WHERE ${committed('?3')}
  ON CONFLICT (name) DO UPDATE SET listed = 1 WHERE listed = 0`;

// Shows the tags of a manifest that is pushed again after its eviction, which only hid them. The tags of a live
// manifest are visible already.
const SHOW_TAGS_OF_MANIFEST = sql`
  UPDATE tags INDEXED BY tags_by_digest SET visible = 1
  WHERE repository = ?1 AND digest = ?2 AND visible = 0 AND EXISTS (SELECT 1 FROM clock WHERE ${committed('?3')})
    AND NOT EXISTS (SELECT 1 FROM manifests m WHERE m.repository = ?1 AND m.digest = ?2
      AND m.created_version > m.deleted_version)
    AND NOT EXISTS (SELECT 1 FROM manifests m WHERE m.repository = ?1 AND m.digest = ?2
      AND m.deleted_version >= tags.version)
    AND version > ${removedVersion('?1')}`.reading(perTag);

const HIDDEN_UNTIL = hiddenUntil('manifests');
const KEEPS_TYPE = `(${isAliveManifest('manifests')})`;
const TYPE = `iif(${KEEPS_TYPE}, manifests.media_type, excluded.media_type)`;
const TYPE_OF_ARTIFACT = `iif(${KEEPS_TYPE}, manifests.artifact_type, excluded.artifact_type)`;
const NEW_CLAIM = CLAIM('clock.version', '?3', '?4');
const RENEWED_CLAIM = CLAIM('excluded.created_version', TYPE, TYPE_OF_ARTIFACT);

// A row that only records a deletion has neither size nor subject. `claimsAfterPush` defines the rule for media types.
// The size of a blob is that of its bytes if this database has a location for it; otherwise the size that the
// descriptor states.
const NAMED = (references: string): string => `
  WITH named (descriptors) AS MATERIALIZED (
    SELECT json_group_array(json_object('kind', named.value ->> 'kind', 'digest', named.value ->> 'digest', 'size',
      coalesce((SELECT max(l.size) FROM locations l WHERE l.digest = named.value ->> 'digest'),
        named.value ->> 'size', 0)))
    FROM json_each(${references}) AS named WHERE named.value ->> 'kind' <> 'subject')`;
const INSERT_LARGE_DESCRIPTORS = sql`${NAMED('?3')}
  INSERT INTO large_descriptors (repository, digest, descriptors)
  SELECT ?1, ?2, named.descriptors FROM clock CROSS JOIN named
  WHERE ${committed('?4')} AND length(named.descriptors) > ${String(MOST_INLINE)} ON CONFLICT DO NOTHING`;
const UPSERT_MANIFEST = sql`${NAMED('?8')}
  INSERT INTO manifests (repository, digest, media_type, artifact_type, subject, size, created_version, deleted_version,
    last_pull, typed, typed_otherwise, evictable, descriptors, image_size, image_kind)
  SELECT ?1, ?2, ?3, ?4, ?5, CAST(?6 AS INTEGER), clock.version, 0, 0,
    iif(${IS_OF_MANIFEST('?3')}, ${NEW_CLAIM}, ''), iif(${IS_OF_MANIFEST('?3')}, '', ${NEW_CLAIM}), CAST(?9 AS INTEGER),
    ${inline('named.descriptors')},
    ${measureOf('?1', '?2', 'named.descriptors')}
  FROM clock CROSS JOIN named WHERE ${committed('?7')}
  ON CONFLICT (repository, digest) DO UPDATE SET
    evictable = excluded.evictable, descriptors = coalesce(manifests.descriptors, excluded.descriptors),
    ${KEEPS_MEASURE},
    media_type = ${TYPE}, artifact_type = ${TYPE_OF_ARTIFACT}, subject = excluded.subject, size = excluded.size,
    created_version = excluded.created_version, deleted_version = max(manifests.deleted_version, ${HIDDEN_UNTIL}),
    typed = iif(${IS_OF_MANIFEST(TYPE)}, ${RENEWED_CLAIM}, manifests.typed),
    typed_otherwise = iif(${IS_OF_MANIFEST(TYPE)}, manifests.typed_otherwise, ${RENEWED_CLAIM})`;

// At a node, makes the links newer than a removal that the node has yet to apply, so that the removal leaves them.
const RENEW_LINKS = sql`
  UPDATE links SET created_at = CAST(?3 AS INTEGER)
  WHERE repository = ?1 AND digest IN (SELECT value FROM json_each(?2)) AND created_at < CAST(?3 AS INTEGER)
    AND EXISTS (SELECT 1 FROM clock WHERE ${committed('?4')})`;

const INSERT_CONTENT = sql`
  INSERT INTO manifest_contents (repository, digest, part, content)
  SELECT ?1, ?2, CAST(?3 AS INTEGER), ?4 FROM clock WHERE ${committed('?5')} ON CONFLICT DO NOTHING`;

const UPSERT_TAGS = sql`
  INSERT INTO tags (repository, name, digest, version, origin, visible, author)
  SELECT ?1, tag.value, ?3, clock.version, ?4, 1, ?6 FROM clock CROSS JOIN json_each(?2) AS tag WHERE ${committed('?5')}
  ON CONFLICT (repository, name) DO UPDATE SET
    digest = excluded.digest, version = excluded.version, origin = excluded.origin, visible = 1,
    author = excluded.author`;

// The manifest's entry also stands for one tag. Other tags have entries of their own.
const UPSERT_OUTBOX_ENTRY = sql`
  INSERT INTO outbox (kind, repository, key, version, written_at, tag)
  SELECT 'manifest', ?1, ?2, clock.version, CAST(?4 AS INTEGER), coalesce(?3 ->> 0, '')
  FROM clock WHERE ${committed('?5')}
  ON CONFLICT (kind, repository, key) DO UPDATE SET version = excluded.version, written_at = excluded.written_at,
    tag = iif(outbox.tag = '', excluded.tag, outbox.tag)`;
const UPSERT_OUTBOX_ENTRIES_OF_TAGS = sql`
  INSERT INTO outbox (kind, repository, key, version, written_at)
  SELECT 'tag', ?1, tag.value, clock.version, CAST(?4 AS INTEGER) FROM clock CROSS JOIN json_each(?3) AS tag
  WHERE ${committed('?5')} AND NOT EXISTS (SELECT 1 FROM outbox m
    WHERE m.kind = 'manifest' AND m.repository = ?1 AND m.key = ?2 AND m.tag = tag.value)
  ON CONFLICT (kind, repository, key) DO UPDATE SET version = excluded.version, written_at = excluded.written_at`;

export interface ManifestCommit {
  readonly repository: RepositoryName;
  readonly digest: Digest;
  readonly manifest: Manifest;
  /** Bytes. */
  readonly size: number;
  readonly tags: readonly Tag[];
  /** The state that the store must still show. */
  readonly shown?: Shown | undefined;
  /** At a node, the part of this push that central already counts. */
  readonly known?: KnownAtCentral;
}

/** The version of the write, or the missing blobs if nothing was written. */
export type Committed =
  | { readonly version: number; readonly missing?: undefined }
  | { readonly missing: readonly Digest[]; readonly version?: undefined };

/**
 * Writes a manifest with its references, tags, history and outbox entries in one transaction, if every blob that it
 * needs is there.
 * @throws OciError QUOTA_EXCEEDED, or MANIFEST_INVALID if descriptors contradict the sizes of the repository's content
 * @throws ShownChanged
 */
export async function commitManifest(
  database: Database,
  context: ManifestContext,
  commit: ManifestCommit,
): Promise<Committed> {
  const { repository, digest, manifest, size, tags, known } = commit;
  const shown = shownParameter(commit.shown);
  const added = addition(digest, size, tags, context.limits, known);
  const id = crypto.randomUUID();
  const required = JSON.stringify(manifest.requiredBlobs);
  const references = JSON.stringify(manifest.references);
  const tagList = JSON.stringify(tags);
  const named = JSON.stringify([
    ...new Set(manifest.references.flatMap(({ kind, digest: blob }) => (kind === 'subject' ? [] : [blob]))),
  ]);
  const { missing, versioned, contradicted, judged } = await database.batch(
    {
      missing: [SELECT_MISSING_BLOBS, required, repository, context.now],
      versioned: [
        TAKE_VERSION_IF_BLOBS_ARE_THERE,
        versionOf(context.now),
        id,
        required,
        repository,
        context.now,
        named,
        added,
        references,
        shown,
      ],
      contradicted: [SELECT_CONTRADICTIONS, references, repository],
      judged: [SELECT_STILL_SHOWN, shown, repository],
      blobs: [KEEP_BLOBS, required, context.origin, id],
      repository: [UPSERT_REPOSITORY, repository, context.now, id],
      tagsOfManifest: [SHOW_TAGS_OF_MANIFEST, repository, digest, id],
      indexes: forgetIndexesAbove([commit], id),
      content: splitContent(manifest.text).map((part, i) => [INSERT_CONTENT, repository, digest, i, part, id] as const),
      descriptors: mayBeLarge(manifest.references)
        ? [[INSERT_LARGE_DESCRIPTORS, repository, digest, references, id] as const]
        : [],
      manifest: [
        UPSERT_MANIFEST,
        repository,
        digest,
        manifest.mediaType,
        manifest.artifactType,
        manifest.subject ?? null,
        size,
        id,
        references,
        context.announces ? 1 : 0,
      ],
      tags:
        tags.length === 0
          ? []
          : [
              [INSERT_HISTORY, repository, tagList, context.now, id],
              [TRIM_HISTORY, repository, tagList, context.limits.historyEntries, id],
              [UPSERT_TAGS, repository, tagList, digest, context.origin, id, authorOf(context.by)],
            ],
      announcement: context.announces
        ? [
            [UPSERT_OUTBOX_ENTRY, repository, digest, tagList, context.now, id],
            [UPSERT_OUTBOX_ENTRIES_OF_TAGS, repository, digest, tagList, context.now, id],
            [RENEW_LINKS, repository, required, context.now, id],
          ]
        : [],
      measure: measureIndexes([{ repository, digest, bytes: size, descriptors: manifest.references }]),
      limits: context.announces ? [] : [reportNearLimits([repository], context.limits)],
    },
    {
      // A second run cannot tell whether the first, or another request, has changed what the store shows.
      again: ({ versioned: taken, judged: seen }) => taken.length > 0 || seen[0]?.still === 1,
    },
  );
  const [clock] = versioned;
  // The first run may have committed the manifest, and a blob may have been found damaged before the second run.
  if (clock === undefined && missing.length > 0) return { missing: missing.map((row) => row.digest) };
  if (clock === undefined && contradicted.length > 0) throw sizesContradicted(contradicted);
  if (clock === undefined && judged[0]?.still === 0) throw new ShownChanged();
  if (clock === undefined) throw await refusal(database, context, commit, added, named);
  return { version: clock.version };
}

/** Returns the error for a manifest that has no room: it exceeds a limit of the organization, or its quota. */
async function refusal(
  database: Database,
  context: ManifestContext,
  commit: ManifestCommit,
  added: string,
  named: string,
): Promise<OciError> {
  const { repository, size } = commit;
  return (
    (await limitExceeded(database, repository, added, named, context.limits)) ??
    quotaExceeded(database, repository, `this manifest of ${inUnits(size)}, with the blobs that it uses again,`)
  );
}

/** Cuts a document into rows of at most {@link CONTENT_ROW_BYTES} of UTF-8, between code points. */
export function splitContent(text: string, rowBytes = CONTENT_ROW_BYTES): string[] {
  const parts: string[] = [];
  const buffer = new Uint8Array(rowBytes);
  const encoder = new TextEncoder();
  for (let start = 0; start < text.length;) {
    const { read } = encoder.encodeInto(text.slice(start, start + rowBytes), buffer);
    parts.push(text.slice(start, start + read));
    start += read;
  }
  return parts;
}
