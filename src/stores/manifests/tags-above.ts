/**
 * Finds tags on indexes that list a manifest, at any depth. Deleting the manifest would break the images that these
 * tags name, so Berth refuses it until the tags are gone. A tag can always be deleted, and so can an index that no
 * tagged index lists.
 */
import type { Digest } from '../../oci/digest.ts';
import { OciError } from '../../oci/errors.ts';
import type { RepositoryName, Tag } from '../../oci/reference.ts';
import { type Database, sql } from '../database.ts';
import { indexesAbove } from './listed-manifests.ts';
import { isAliveManifest, removedVersion } from '../deletion/removals.ts';
import { atMost } from '../rows-read.ts';
import { selectGreatestTagVersion } from './tag-history.ts';

/** A visible tag, and the index that it is on. */
export interface TagAbove {
  readonly tag: Tag;
  readonly index: Digest;
  readonly version: number;
  readonly origin: string;
}

/**
 * The most indexes that are examined on each level above. If there are more, a tag may be overlooked, and the deletion
 * goes through.
 */
const MAX_INDEXES = 1000;
/** The most tags that an error names. */
const MAX_TAGS = 10;

// An index that a removal hides shows no tags, but counts among the indexes that are examined.
const TAGS_ABOVE = (repository: string, manifests: string): string => `
  WITH ${indexesAbove(`SELECT ${repository}, value FROM json_each(${manifests})`, String(MAX_INDEXES))}
  SELECT t.name AS tag, t.digest AS "index", t.version, t.origin FROM above
  CROSS JOIN manifests m ON m.repository = ${repository} AND m.digest = above.digest AND ${isAliveManifest('m')}
  CROSS JOIN tags t INDEXED BY tags_by_digest ON t.repository = ${repository} AND t.digest = above.digest
  WHERE t.visible = 1 AND t.version > ${removedVersion(repository)}`;

/** SQL that holds if a tag is above one of the manifests, which the parameter lists as JSON. */
export const IS_BELOW_TAG = (repository: string, manifests: string): string =>
  `EXISTS (${TAGS_ABOVE(repository, manifests)})`;

/** For each index on each level: its reference to what it lists, its row, and its tags. */
export const READS_TAGS_ABOVE = atMost(40 * MAX_INDEXES);

/** Selects the tags above some manifests, those of one index together. ?1 repository, ?2 JSON array of digests. */
export const SELECT_TAGS_ABOVE = sql<TagAbove>`${TAGS_ABOVE('?1', '?2')} LIMIT ${String(MAX_TAGS)}`.reading(
  READS_TAGS_ABOVE,
);

// Central itself checks the tags that have been announced to it.
const SELECT_UNANNOUNCED_TAGS_ABOVE = sql<TagAbove>`
  SELECT tag, "index", version, origin FROM (${TAGS_ABOVE('?1', '?2')} LIMIT ${String(MAX_INDEXES)})
  WHERE EXISTS (SELECT 1 FROM outbox k WHERE k.kind = 'tag' AND k.repository = ?1 AND k.key = tag)
    OR EXISTS (SELECT 1 FROM outbox k
      WHERE k.kind = 'manifest' AND k.repository = ?1 AND k.key = "index" AND k.tag = tag)
  LIMIT ${String(MAX_TAGS)}`.reading(READS_TAGS_ABOVE);

/**
 * Returns, at a node, the greatest version of the manifest's tags (0 for none), and the tags above it that central may
 * not know yet.
 */
export async function tagsOfManifest(
  database: Database,
  repository: RepositoryName,
  digest: Digest,
): Promise<{ readonly version: number; readonly above: readonly TagAbove[] }> {
  const { greatest, above } = await database.batch(
    {
      greatest: selectGreatestTagVersion(repository, [digest]),
      above: [SELECT_UNANNOUNCED_TAGS_ABOVE, repository, JSON.stringify([digest])],
    },
    { again: true },
  );
  return { version: greatest[0]?.version ?? 0, above };
}

/**
 * Refuses the deletion of a manifest with tags above it.
 * @throws OciError MANIFEST_IN_USE, which names the first index and its tags
 */
export function requireNoTagAbove(repository: RepositoryName, digest: Digest, above: readonly TagAbove[]): void {
  const [first] = above;
  if (first === undefined) return;
  const { index } = first;
  const tags = above.filter((each) => each.index === index).map(({ tag }) => tag);
  throw new OciError('MANIFEST_IN_USE', {
    message:
      `the index ${index} lists this manifest and is tagged ${tags.join(', ')} in ${repository}: ` +
      'delete the index, or its tags, first',
    detail: { digest, index, tags },
  });
}
