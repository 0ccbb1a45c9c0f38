/**
 * Locations as the integrity tasks see them: what to hash next, and what is damaged.
 *
 * Every statement that changes a location checks that the key is still the one that was read, so that it does not undo
 * a push that has replaced the object meanwhile.
 */
import type { StoreName } from '../../namespaces/namespace.ts';
import type { Digest } from '../../oci/digest.ts';
import type { RepositoryName } from '../../oci/reference.ts';
import type { CheckedLocationRow, Damage } from '../../stores/blob-rows.ts';
import { type BoundStatement, type Database, sql } from '../../stores/database.ts';
import { atMost, paged } from '../../stores/rows-read.ts';

export interface Location {
  readonly digest: Digest;
  readonly key: string;
  /** Bytes. */
  readonly size: number;
}

/** The most locations that one statement searches for sound ones, whatever their store and damage. */
const LOCATIONS_PER_LOOK = 5000;
const SELECT_SOUND_LOCATIONS = sql`
  WITH page AS MATERIALIZED (SELECT digest, store, key, size, damage FROM locations WHERE digest > ?1 ORDER BY digest
    LIMIT ${String(LOCATIONS_PER_LOOK)})
  SELECT * FROM (SELECT 0 AS last, digest, key, size FROM page WHERE store = ?2 AND damage IS NULL ORDER BY digest
    LIMIT CAST(?3 AS INTEGER))
  UNION ALL
  SELECT 1, digest, '', 0 FROM (SELECT digest FROM page ORDER BY digest
    LIMIT 1 OFFSET ${String(LOCATIONS_PER_LOOK - 1)})`.reading(atMost(6 * LOCATIONS_PER_LOOK));

type SoundRow = Location & { readonly last: number };

/**
 * Returns a page of a store's locations by digest, without those known to be damaged. Only the last page is empty.
 * @param after '' for the first page
 */
export async function soundLocations(
  database: Database,
  store: string,
  after: string,
  limit: number,
): Promise<Location[]> {
  for (let from = after; ;) {
    const rows = await database.all<SoundRow>(SELECT_SOUND_LOCATIONS, from, store, limit);
    const sound = rows.flatMap(({ last, digest, key, size }) => (last === 0 ? [{ digest, key, size }] : []));
    const end = rows.find(({ last }) => last === 1);
    if (sound.length > 0 || end === undefined) return sound;
    from = end.digest;
  }
}

const SELECT_SOUND_AMONG = sql`
  SELECT l.digest, l.key, l.size FROM json_each(?1) AS asked CROSS JOIN locations l ON l.digest = asked.value
    AND l.store = ?2
  WHERE l.damage IS NULL`;

/** Returns a store's own sound locations of some digests. */
export function soundAmong(database: Database, store: string, digests: readonly Digest[]): Promise<Location[]> {
  return database.all<Location>(SELECT_SOUND_AMONG, JSON.stringify(digests), store);
}

// A key belongs to one location, so it need not be compared together with its digest.
const MARK_DAMAGED = sql<{ digest: Digest; key: string }>`
  UPDATE locations SET damage = ?4 WHERE digest IN (SELECT value FROM json_each(?1)) AND store = ?2
    AND key IN (SELECT value FROM json_each(?3)) AND damage IS NULL RETURNING digest, key`;

/** Marks locations as damaged. Returns those that still had that key and were not known to be damaged. */
export function markDamaged(
  locations: readonly { readonly digest: Digest; readonly key: string }[],
  store: string,
  damage: Damage,
): BoundStatement<{ digest: Digest; key: string }> {
  const [digests, keys] = [locations.map(({ digest }) => digest), locations.map(({ key }) => key)];
  return [MARK_DAMAGED, JSON.stringify(digests), store, JSON.stringify(keys), damage];
}

/** A damaged location of this store or, at central, of a node. */
export interface DamagedLocation extends CheckedLocationRow {
  readonly digest: Digest;
  readonly damage: Damage;
}

const SELECT_DAMAGED = sql`
  SELECT digest, store, key, size, lease_until, damage FROM locations INDEXED BY locations_damaged
  WHERE damage IS NOT NULL AND (digest, store) > (?1, ?2) ORDER BY digest, store LIMIT CAST(?3 AS INTEGER)`.reading(
  paged(3),
);

export function damagedLocations(
  database: Database,
  after: { readonly digest: string; readonly store: string },
  limit: number,
): Promise<DamagedLocation[]> {
  return database.all<DamagedLocation>(SELECT_DAMAGED, after.digest, after.store, limit);
}

/** A damaged location, for people. */
export interface DamageShown {
  readonly digest: Digest;
  readonly store: StoreName;
  readonly damage: Damage;
  /** 1 if a store has sound bytes. */
  readonly elsewhere: number;
  /** One of the repositories with the blob; null if none has it any more. */
  readonly repository: RepositoryName | null;
}

const SELECT_SHOWN = sql<DamageShown>`
  SELECT l.digest, l.store, l.damage,
    EXISTS (SELECT 1 FROM locations o WHERE o.digest = l.digest AND o.damage IS NULL) AS elsewhere,
    (SELECT k.repository FROM links k INDEXED BY links_by_digest WHERE k.digest = l.digest LIMIT 1) AS repository
  FROM locations l INDEXED BY locations_damaged WHERE l.damage IS NOT NULL AND l.digest > ''
  ORDER BY l.digest, l.store LIMIT CAST(?1 AS INTEGER)`.reading(paged(1, 16));

/** Returns the first damaged locations that central knows of, at any store. */
export function damageShown(central: Database, limit: number): Promise<DamageShown[]> {
  return central.all(SELECT_SHOWN, limit);
}

const REPAIR_LOCATION = sql<{ digest: Digest }>`
  UPDATE locations SET key = ?4, size = CAST(?5 AS INTEGER), damage = NULL
  WHERE digest = ?1 AND store = ?2 AND key = ?3 AND damage IS NOT NULL RETURNING digest`;

/**
 * Points a damaged location at an object with the right bytes. Returns a row if it was still damaged under that key.
 */
export function repairLocation(
  digest: Digest,
  store: string,
  from: string,
  to: { key: string; size: number },
): BoundStatement<{ digest: Digest }> {
  return [REPAIR_LOCATION, digest, store, from, to.key, to.size];
}

const ADD_WANTED_LOCATION = sql<{ digest: Digest }>`
  INSERT INTO locations (digest, store, key, size, created_at, lease_until)
  SELECT ?1, ?2, ?3, CAST(?4 AS INTEGER), CAST(?5 AS INTEGER), CAST(?6 AS INTEGER)
  WHERE EXISTS (SELECT 1 FROM links WHERE digest = ?1) ON CONFLICT DO NOTHING RETURNING digest`;

/**
 * Adds a location for a blob that a repository has a link to. Returns a row unless the store has a location already.
 * `now` and `lease` (the end of the lease) are milliseconds since the epoch.
 */
export function addWantedLocation(
  { digest, key, size }: Location,
  store: string,
  now: number,
  lease: number,
): BoundStatement<{ digest: Digest }> {
  return [ADD_WANTED_LOCATION, digest, store, key, size, now, lease];
}

/** A blob that a live manifest needs, without any location to read it from. */
interface WantedBlob {
  readonly digest: Digest;
  /** Bytes, as the manifest says; 0 if it does not. */
  readonly size: number;
}

export interface LinkPosition {
  readonly digest: string;
  readonly repository: string;
}

type WantedRow = LinkPosition & { readonly last: number; readonly size: number };

const NAMED = `manifest_references r
  WHERE r.digest = page.digest AND r.repository = page.repository LIMIT 1`;
const SELECT_WANTED = sql`
  WITH page AS MATERIALIZED (
    SELECT digest, repository FROM links INDEXED BY links_by_digest
    WHERE (digest, repository) > (?1, ?2) ORDER BY digest, repository LIMIT CAST(?3 AS INTEGER))
  SELECT 0 AS last, page.digest, page.repository, (SELECT r.size FROM ${NAMED}) AS size FROM page
  WHERE EXISTS (SELECT 1 FROM ${NAMED}) AND NOT EXISTS (SELECT 1 FROM locations l WHERE l.digest = page.digest
    AND (l.damage IS NULL OR l.store = ?4))
  UNION ALL
  SELECT * FROM (SELECT 1, digest, repository, 0 FROM page ORDER BY digest DESC, repository DESC LIMIT 1)`.reading(
  paged(3, 12),
);

/**
 * Reads a page of central's links. Returns the blobs that a live manifest needs and no store is known to have, by
 * digest. Blobs with a damaged location at central are left out: the repair task finds those.
 * @returns `end`: the last link of the page, where the next one starts; undefined after the last page
 */
export async function wantedBlobs(
  central: { readonly name: string; readonly database: Database },
  after: LinkPosition,
  links: number,
): Promise<{ readonly wanted: readonly WantedBlob[]; readonly end: LinkPosition | undefined }> {
  const rows = await central.database.all<WantedRow>(
    SELECT_WANTED,
    after.digest,
    after.repository,
    links,
    central.name,
  );
  const sizes = new Map<string, number>();
  for (const { last, digest, size } of rows) if (last === 0) sizes.set(digest, Math.max(size, sizes.get(digest) ?? 0));
  const end = rows.find(({ last }) => last === 1);
  return {
    wanted: [...sizes]
      .map(([digest, size]) => ({ digest: digest as Digest, size }))
      .toSorted((a, b) => (a.digest < b.digest ? -1 : 1)),
    end: end && { digest: end.digest, repository: end.repository },
  };
}
