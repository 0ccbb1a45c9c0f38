/**
 * The SQL of copies. It finds the blobs that central still needs from a node, and writes the rows that make a copied
 * object a location of its blob.
 */
import type { Digest } from '../oci/digest.ts';
import type { OrganizationName, RepositoryName } from '../oci/reference.ts';
import { isReferenced, LINKS_PER_BLOB } from '../stores/retention.ts';
import { type Database, sql } from '../stores/database.ts';
import { atMost } from '../stores/rows-read.ts';
import { isAfterRemovals, isAliveLink } from '../stores/deletion/removals.ts';
import { leaveBlobToCentral } from '../stores/organizations/usage-rows.ts';

/** A blob that was announced by a node, and that still has to be copied up to central. */
export interface Copy {
  readonly digest: Digest;
  readonly organization: OrganizationName;
  /** Bytes. */
  readonly size: number;
  /** When central heard of it, in milliseconds since the epoch. */
  readonly announced_at: number;
  /** The key of the node's object. */
  readonly key: string;
}

/** The most organizations that one statement covers. */
const ORGANIZATIONS_PER_LOOK = 100;

/**
 * The most copies that one statement examines for all organizations together. Copies of blobs that nothing references
 * any more stay until they are collected, and there may be more of them than of those that are due.
 */
const COPIES_EXAMINED = 5000;

const TO_COPY_UP = 'locations INDEXED BY locations_to_copy_up';

/** A position among an organization's copies: the size and digest of the last copy that was examined. */
export interface CopyPosition {
  /** Bytes. */
  readonly size: number;
  readonly digest: string;
}

const EXAMINED_OF_EACH = `(${String(COPIES_EXAMINED)} / (SELECT count(name) FROM organizations))`;
const WANTED_OF_EACH = 'max(1, CAST(?3 AS INTEGER) / (SELECT count(name) FROM organizations))';
const startOf = (organization: string, part: keyof CopyPosition): string =>
  `json_extract(?5, '$."' || ${organization} || '".${part}')`;
const REST_OF = (organization: string): string => `
  l.store = ?1 AND l.copy_up_for = ${organization}
    AND (l.size, l.digest) > (coalesce(${startOf(organization, 'size')}, -1), coalesce(${startOf(organization, 'digest')}, ''))
  ORDER BY l.size, l.digest`;

// This steps through the index from one organization to the next, and takes equally many copies of each, however many
// the organization has. If an examined share gave too few copies, it also looks up where the share ends.
const SELECT_COPIES_UP = sql`
  WITH RECURSIVE organizations (name) AS (
    SELECT * FROM (SELECT copy_up_for FROM ${TO_COPY_UP} WHERE store = ?1 AND copy_up_for > ?2 ORDER BY copy_up_for
      LIMIT 1)
    UNION ALL
    SELECT (SELECT o.copy_up_for FROM locations AS o INDEXED BY locations_to_copy_up
      WHERE o.store = ?1 AND o.copy_up_for > organizations.name ORDER BY o.copy_up_for LIMIT 1)
    FROM organizations WHERE organizations.name IS NOT NULL
    LIMIT ${String(ORGANIZATIONS_PER_LOOK)}
  ),
  found (name, due) AS MATERIALIZED (
    SELECT organizations.name, (
      SELECT json_group_array(json_object('digest', digest, 'size', size, 'announced_at', announced_at, 'key', key))
      FROM (
      SELECT * FROM (
        SELECT l.digest, l.size, l.created_at AS announced_at, l.key, l.damage
        FROM locations AS l INDEXED BY locations_to_copy_up
        WHERE ${REST_OF('organizations.name')} LIMIT ${EXAMINED_OF_EACH}) AS l
      WHERE l.damage IS NULL AND l.digest NOT IN (SELECT value FROM json_each(?4)) AND ${isReferenced('l.digest')}
      ORDER BY l.size, l.digest LIMIT ${WANTED_OF_EACH}))
    FROM organizations WHERE organizations.name IS NOT NULL
  )
  SELECT 'copy' AS kind, found.name AS organization, due.value ->> 'digest' AS digest, due.value ->> 'size' AS size,
    due.value ->> 'announced_at' AS announced_at, due.value ->> 'key' AS key,
    row_number() OVER (PARTITION BY found.name ORDER BY due.value ->> 'size', due.value ->> 'digest') AS turn
  FROM found CROSS JOIN json_each(found.due) AS due
  UNION ALL
  SELECT 'examined', found.name, e.digest, e.size, 0, '', 0
  FROM found CROSS JOIN locations AS e ON e.store = ?1 AND e.digest = (
    SELECT l.digest FROM locations AS l INDEXED BY locations_to_copy_up
    WHERE ${REST_OF('found.name')} LIMIT 1 OFFSET ${EXAMINED_OF_EACH} - 1)
  WHERE json_array_length(found.due) < ${WANTED_OF_EACH}
  UNION ALL
  SELECT * FROM (SELECT 'end', name, '', 0, 0, '', 0 FROM organizations ORDER BY name
    LIMIT 1 OFFSET ${String(ORGANIZATIONS_PER_LOOK - 1)})
  ORDER BY turn, size, digest`.reading(atMost((4 * LINKS_PER_BLOB + 6) * COPIES_EXAMINED));

type CopyUpRow = Copy & { readonly kind: 'copy' | 'examined' | 'end' };

/**
 * Lists, at central, the blobs to copy up next from a node, if a live manifest references them. The order is fair
 * between organizations: first the smallest blob of each, then the next of each.
 * @param after the organization after which to start; '' for the first
 * @param limit about how many to return. Each organization that was covered gets at least one.
 * @param except blobs to leave out
 * @param positions the positions to go on from, for organizations whose first copies were examined before
 * @returns `end` is the last organization that was covered; undefined if there are no more after it. `examined` has the
 *   positions to go on from, for organizations that have unexamined copies and had too few due ones among those
 *   examined.
 */
export async function copiesUpFrom(
  central: Database,
  store: string,
  after: string,
  limit: number,
  except: readonly Digest[],
  positions: ReadonlyMap<string, CopyPosition> = new Map(),
): Promise<{
  readonly copiesUp: readonly Copy[];
  readonly examined: ReadonlyMap<string, CopyPosition>;
  readonly end: string | undefined;
}> {
  const from = JSON.stringify(Object.fromEntries(positions));
  const rows = await central.all<CopyUpRow>(SELECT_COPIES_UP, store, after, limit, JSON.stringify(except), from);
  const examined = rows.filter(({ kind }) => kind === 'examined');
  return {
    copiesUp: rows
      .filter(({ kind }) => kind === 'copy')
      .map(({ digest, organization, size, announced_at, key }) => ({ digest, organization, size, announced_at, key })),
    examined: new Map(examined.map(({ organization, size, digest }) => [organization, { size, digest }])),
    end: rows.find(({ kind }) => kind === 'end')?.organization,
  };
}

// Replaces a damaged location. If a copy was interrupted for so long that its object is being deleted as an orphan,
// this writes nothing, and the copy is made again.
const ADD_LOCATION = sql`
  INSERT INTO locations (digest, store, key, size, created_at, lease_until)
  SELECT ?1, ?2, ?3, CAST(?4 AS INTEGER), CAST(?5 AS INTEGER), CAST(?6 AS INTEGER)
  WHERE NOT EXISTS (SELECT 1 FROM orphans WHERE key = ?3 AND deleting = 1)
  ON CONFLICT (digest, store) DO UPDATE SET key = excluded.key, size = excluded.size, damage = NULL
  WHERE locations.damage IS NOT NULL`;
const SELECT_KEY = sql<{ key: string }>`SELECT key FROM locations WHERE digest = ?1 AND store = ?2 AND damage IS NULL`;

interface CopiedBlob {
  readonly digest: Digest;
  /** The key of the object that was written. */
  readonly key: string;
  /** Bytes. */
  readonly size: number;
}

/**
 * Settles a blob at central: writes central's location of the copied object, after which no copy is due any more.
 * @param from the node's store
 * @param lease the time until which central keeps the blob, in milliseconds since the epoch, like `now`
 * @returns the key of central's location. It names another object if central had the blob already.
 */
export async function settle(
  central: { readonly name: string; readonly database: Database },
  from: string,
  blob: CopiedBlob,
  now: number,
  lease: number,
): Promise<string | undefined> {
  const { kept } = await central.database.batch({
    location: [ADD_LOCATION, blob.digest, central.name, blob.key, blob.size, now, lease],
    copy: [FORGET_IF_THERE, from, blob.digest, central.name],
    kept: [SELECT_KEY, blob.digest, central.name],
  });
  return kept[0]?.key;
}

/**
 * Notes at central that a copy is not due any more, if central has a location of the blob by now.
 * @returns the key of that location
 */
export async function alreadySettled(
  central: { readonly name: string; readonly database: Database },
  from: string,
  digest: Digest,
): Promise<string | undefined> {
  const { kept } = await central.database.batch({
    kept: [SELECT_KEY, digest, central.name],
    copy: [FORGET_IF_THERE, from, digest, central.name],
  });
  return kept[0]?.key;
}

const FORGET_IF_THERE = sql`
  UPDATE locations SET copy_up_for = NULL WHERE store = ?1 AND digest = ?2 AND copy_up_for IS NOT NULL
    AND EXISTS (SELECT 1 FROM locations WHERE digest = ?2 AND store = ?3 AND damage IS NULL)`;

// A link that a removal hides counts as missing, so it is replaced.
const LINK_ANEW = `
  ON CONFLICT (repository, digest) DO UPDATE SET created_at = excluded.created_at WHERE NOT ${isAliveLink('links')}`;
const ADD_LINK = sql`
  INSERT INTO links (repository, digest, created_at) SELECT ?1, ?2, CAST(?3 AS INTEGER)
  WHERE ${isAfterRemovals('?1', '?3')} ${LINK_ANEW}`;

/**
 * Writes, at a node, the location of a blob that was copied down.
 * @param lease the time until which the node keeps the blob, in milliseconds since the epoch, like `now`
 * @param link whether to link the blob in the repository. False if it was linked before: if that link is gone now, it
 *   was removed on purpose.
 * @returns the key of the store's location
 */
export async function keepCopiedDown(
  node: { readonly name: string; readonly database: Database },
  repository: RepositoryName,
  blob: CopiedBlob,
  now: number,
  lease: number,
  link: boolean,
): Promise<string | undefined> {
  const { kept } = await node.database.batch({
    location: [ADD_LOCATION, blob.digest, node.name, blob.key, blob.size, now, lease],
    link: link ? [[ADD_LINK, repository, blob.digest, now], ...leaveBlobToCentral(repository, blob.digest)] : [],
    kept: [SELECT_KEY, blob.digest, node.name],
  });
  return kept[0]?.key;
}

const ADD_LINK_IF_THERE = sql`
  INSERT INTO links (repository, digest, created_at) SELECT ?1, ?2, CAST(?3 AS INTEGER)
  WHERE EXISTS (SELECT 1 FROM locations WHERE digest = ?2 AND store = ?4) AND ${isAfterRemovals('?1', '?3')}
  ${LINK_ANEW}`;

/**
 * Links, at a node, a blob that was to be copied down and that the node already has. If its location has been deleted
 * since, it is not written again, because its object is about to be deleted.
 * @returns the key of the store's location; undefined if it has none any more
 */
export async function linkCopiedDown(
  node: { readonly name: string; readonly database: Database },
  repository: RepositoryName,
  digest: Digest,
  now: number,
): Promise<string | undefined> {
  const { kept } = await node.database.batch({
    link: [ADD_LINK_IF_THERE, repository, digest, now, node.name],
    usage: leaveBlobToCentral(repository, digest),
    kept: [SELECT_KEY, digest, node.name],
  });
  return kept[0]?.key;
}
