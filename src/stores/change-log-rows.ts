/**
 * The change log: central's numbered log of deletions and changes to control data. Every node applies it from its own
 * position. The entry for a deletion carries the deletion's version. The entry for control data only says what changed:
 * its reader gets the row in its current state, or learns that it is gone.
 *
 * The entry for the deletion of a tag, a manifest or a link replaces the earlier entry for the same one, whose version
 * is lower. It takes a new position at the end, so readers that have passed the earlier entry read it, too. Entries of
 * other kinds are not replaced. If the removal of an organization moved to the end, a node that is behind would create
 * the next organization of that name first. The new organization would then hold the content of the removed one.
 */
import type { Digest } from '../oci/digest.ts';
import type { RepositoryName, Tag } from '../oci/reference.ts';
import { committed } from './clock.ts';
import { type BoundStatement, type Database, sql, sqlOfWholeTable } from './database.ts';
import { configured, paged } from './rows-read.ts';
import type { RemovedName } from './deletion/removals.ts';
import { MIRROR_AS_JSON } from './organizations/mirrors.ts';
import { type CentralUsage, selectChangedUsage } from './organizations/usage-rows.ts';

export type ChangeLogEntry = { readonly position: number; readonly recorded_at: number } & (
  | {
      readonly kind: 'tag';
      readonly name: RepositoryName;
      readonly key: Tag;
      readonly version: number;
      readonly author: string;
    }
  | {
      readonly kind: 'manifest' | 'link';
      readonly name: RepositoryName;
      readonly key: Digest;
      readonly version: number;
    }
  /** Removes a repository, or everything that an organization has, at that version. */
  | { readonly kind: 'repository'; readonly name: RemovedName; readonly version: number }
  /** `row` is JSON; null if the row is gone. */
  | {
      readonly kind: 'visibility' | 'organization' | 'credential' | 'mirror';
      readonly name: string;
      readonly row: string | null;
    }
);

/** ?1 repository, ?2 tag, ?3 milliseconds, ?4 commit id, ?5 author. */
export const CHANGE_LOG_TAG = sql`
  INSERT OR REPLACE INTO change_log (kind, name, key, version, recorded_at, author)
  SELECT 'tag', ?1, ?2, clock.version, CAST(?3 AS INTEGER), ?5 FROM clock WHERE ${committed('?4')}`;

/** ?1 repository, ?2 JSON array of digests, ?3 milliseconds, ?4 commit id. */
export const CHANGE_LOG_MANIFESTS = sql`
  INSERT OR REPLACE INTO change_log (kind, name, key, version, recorded_at)
  SELECT 'manifest', ?1, deleted.value, clock.version, CAST(?3 AS INTEGER)
  FROM clock CROSS JOIN json_each(?2) AS deleted WHERE ${committed('?4')}`;

const SELECT_CHANGE_LOG = sql<ChangeLogEntry>`
  SELECT f.position, f.kind, f.name, f.key, f.version, f.recorded_at, f.author, CASE f.kind
    WHEN 'visibility' THEN (SELECT json_object('name', p.name) FROM public_repositories p WHERE p.name = f.name)
    WHEN 'organization' THEN (SELECT json_object('name', o.name, 'created_at', o.created_at, 'removed_at', o.removed_at,
      'quota_bytes', o.quota_bytes) FROM organizations o WHERE o.name = f.name)
    WHEN 'credential' THEN (SELECT json_object('id', c.id, 'kind', c.kind, 'organization', c.organization, 'name',
      c.name,
      'rights', c.rights, 'repositories', c.repositories, 'secret_hash', c.secret_hash, 'created_at', c.created_at,
      'expires_at', c.expires_at, 'registries', c.registries) FROM credentials c WHERE c.id = f.name)
    WHEN 'mirror' THEN (SELECT ${MIRROR_AS_JSON} FROM mirrors m WHERE m.organization = f.name)
    END AS row
  FROM change_log f WHERE f.position > CAST(?1 AS INTEGER) ORDER BY f.position LIMIT CAST(?2 AS INTEGER)`.reading(
  paged(2, 4),
);

/** The age of `applied_at`, in milliseconds, at which an unchanged position is written again. */
const SAME_POSITION_MILLISECONDS = 5000;
const MOVES_OR_IS_OLD = `(change_log_positions.position <> excluded.position
  OR abs(excluded.applied_at - change_log_positions.applied_at) >= ${SAME_POSITION_MILLISECONDS})`;

const REPORT_POSITION = sql`
  INSERT INTO change_log_positions (store, position, applied_at) VALUES (?1, CAST(?2 AS INTEGER), CAST(?3 AS INTEGER))
  ON CONFLICT (store) DO UPDATE SET position = excluded.position, applied_at = excluded.applied_at
  WHERE ${MOVES_OR_IS_OLD}`;

/** The position of a node: in the change log, and in the changes of organizations' usage at central. */
export interface ChangeLogState {
  /** The position of the last entry that the node applied. */
  readonly position: number;
  /** The last change of usage that the node applied (`usage.changed`); undefined if it has applied none. */
  readonly usageChanged: number | undefined;
}

/**
 * At central, returns the entries and the changes of usage after those that the node `store` has applied, and records
 * how far the node has come.
 */
export async function readChangeLog(
  central: Database,
  store: string,
  { position, usageChanged }: ChangeLogState,
  limit: number,
  now: number,
): Promise<{ readonly entries: readonly ChangeLogEntry[]; readonly usage: readonly CentralUsage[] }> {
  const { entries, usage } = await central.batch({
    report: [REPORT_POSITION, store, position, now],
    entries: [SELECT_CHANGE_LOG, position, limit],
    usage: selectChangedUsage(usageChanged ?? 0, limit),
  });
  return { entries, usage };
}

interface StorePosition {
  readonly store: string;
  /** The position of the last entry that the store applied; 0 for none. */
  readonly position: number;
  /** When the store last read the change log, in milliseconds since the epoch. */
  readonly applied_at: number;
}

const SELECT_POSITIONS = sqlOfWholeTable<StorePosition>`
  SELECT store, position, applied_at FROM change_log_positions ORDER BY store`.reading(configured);
const SELECT_START = sqlOfWholeTable`
  SELECT coalesce((SELECT min(position) - 1 FROM change_log), (SELECT seq FROM sqlite_sequence
    WHERE name = 'change_log'), 0) AS position`;

/** At central, returns the position before the first entry that is still there. */
export async function startOfChangeLog(central: Database): Promise<number> {
  return (await central.first<{ position: number }>(SELECT_START))?.position ?? 0;
}

const SELECT_END = sql<{
  position: number;
}>`SELECT coalesce(max(seq), 0) AS position FROM sqlite_sequence WHERE name = 'change_log'`;

/** At central, returns the position of the last entry (0 if there has been none), and how far each node has come. */
export async function changeLogProgress(
  central: Database,
): Promise<{ readonly end: number; readonly stores: readonly StorePosition[] }> {
  const { end, stores } = await central.batch({ end: [SELECT_END], stores: [SELECT_POSITIONS] }, { again: true });
  return { end: end[0]?.position ?? 0, stores };
}

const ADVANCE = sql`
  INSERT INTO change_log_positions (store, position, applied_at) VALUES (?1, CAST(?3 AS INTEGER), CAST(?4 AS INTEGER))
  ON CONFLICT (store) DO UPDATE SET position = excluded.position, applied_at = excluded.applied_at
  WHERE change_log_positions.position = CAST(?2 AS INTEGER) AND ${MOVES_OR_IS_OLD}`;

/** At a node, records that it has applied everything between two positions. */
export function advancePosition(store: string, from: number, to: number, now: number): BoundStatement {
  return [ADVANCE, store, from, to, now];
}

const DELETE_APPLIED = sql`
  DELETE FROM change_log WHERE position IN (
    SELECT position FROM change_log WHERE position <= (
      SELECT coalesce(min(coalesce(f.position, 0)), 9223372036854775807)
      FROM json_each(?1) AS node LEFT JOIN change_log_positions f ON f.store = node.value)
    AND recorded_at < CAST(?2 AS INTEGER) ORDER BY position LIMIT CAST(?3 AS INTEGER))
  RETURNING position`.reading(paged(3, 4));

/** At central, removes entries that every node has applied and that are older than `before`. Returns how many. */
export async function deleteAppliedEntries(
  central: Database,
  nodes: readonly string[],
  before: number,
  limit: number,
): Promise<number> {
  return (await central.all(DELETE_APPLIED, JSON.stringify(nodes), before, limit)).length;
}
