/** The usage of organizations day by day, at central. Maintenance notes it once a day, so that no push writes a row. */
import { DAY } from '../../durations.ts';
import type { OrganizationName } from '../../oci/reference.ts';
import { type BoundStatement, type Database, sql } from '../database.ts';
import { paged } from '../rows-read.ts';
import type { UsedByOrganization } from './usage-shown.ts';

/** The number of days that are kept, today included. */
const DAYS_KEPT = 90;

const NOTE = sql`
  INSERT INTO usage_by_day (day, organization, noted_at, used, quota_bytes)
  SELECT CAST(?1 AS INTEGER), o.name, CAST(?2 AS INTEGER), noted.value ->> 'used', o.quota_bytes
  FROM json_each(?3) AS noted
  CROSS JOIN organizations o ON o.name = noted.value ->> 'name' AND o.removed_at IS NULL WHERE true
  ON CONFLICT (day, organization) DO UPDATE
  SET noted_at = excluded.noted_at, used = excluded.used, quota_bytes = excluded.quota_bytes`;

/**
 * Records the usage of organizations on a day.
 * @param day a time on that day, in milliseconds since the epoch, as is `readAt`
 * @param readAt when the usage was read
 */
export function noteUsage(day: number, readAt: number, organizations: readonly UsedByOrganization[]): BoundStatement {
  return [NOTE, dayOf(day), readAt, JSON.stringify(organizations)];
}

const DELETE_OLD = sql<{ day: number }>`
  DELETE FROM usage_by_day WHERE (day, organization) IN (SELECT day, organization FROM usage_by_day
    WHERE day <= CAST(?1 AS INTEGER) ORDER BY day, organization LIMIT CAST(?2 AS INTEGER))
  RETURNING day`.reading(paged(2, 4));

/** Removes rows that are too old. Returns how many. */
export async function deleteOldUsage(database: Database, time: number, limit: number): Promise<number> {
  return (await database.all(DELETE_OLD, dayOf(time) - DAYS_KEPT, limit)).length;
}

export interface UsageOfDay {
  /** The start of the day in UTC, in milliseconds since the epoch. */
  readonly at: number;
  /** Bytes that counted against the quota. */
  readonly used: number;
  /** In bytes; null for no limit. */
  readonly quota: number | null;
}

// The next owner of a name must not learn the usage of the last one.
const SELECT_DAYS = sql<UsageOfDay>`
  SELECT d.day * ${String(DAY)} AS at, d.used, d.quota_bytes AS quota FROM json_each(?2) AS asked
  CROSS JOIN usage_by_day d ON d.day = asked.value AND d.organization = ?1
  CROSS JOIN organizations o ON o.name = ?1 AND o.removed_at IS NULL
  WHERE d.noted_at >= o.created_at ORDER BY d.day`;

/** Returns the records of the last days, oldest first. */
export function usageByDay(central: Database, organization: OrganizationName, time: number): Promise<UsageOfDay[]> {
  const days = Array.from({ length: DAYS_KEPT }, (_, i) => dayOf(time) - i);
  return central.all(SELECT_DAYS, organization, JSON.stringify(days));
}

function dayOf(time: number): number {
  return Math.floor(time / DAY);
}
