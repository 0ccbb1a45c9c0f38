/**
 * Pages of a store's audit log, latest first. Entries are stored in the order of time, for the whole log and for each
 * organization. The other filters have no index, because it would cost every entry a row. So a page looks at a bounded
 * number of entries, and says where it stopped.
 */
import { type Database, sql } from '../database.ts';
import { paged } from '../rows-read.ts';
import type { AuditAction, AuditEntry } from './audit-rows.ts';

/** The entry before which a page of the log starts. */
export type AuditPosition = Pick<AuditEntry, 'at' | 'id'>;

export interface AuditFilter {
  /** The name or id of the credential that acted, or the address of a refused login; '' for any. */
  readonly by: string;
  /** '' for any. */
  readonly action: AuditAction | '';
  /** The earliest time, in milliseconds since the epoch. */
  readonly from: number;
}

export interface AuditPage {
  /** Latest first. */
  readonly entries: readonly AuditEntry[];
  /** The earliest entry that the page looked at; undefined if there are no earlier ones. */
  readonly end: AuditPosition | undefined;
}

interface LookedAt extends AuditEntry {
  readonly matches: number;
  /** The number of the entry among those that were looked at, from 1. */
  readonly place: number;
}

const COLUMNS = 'id, at, action, organization, repository, key, subject, name, host, count';

/** SQL that looks at the entries before (?1, ?2), and returns those that match, and the last one. */
const lookingAt = (index: string, condition: string): string => `
  SELECT * FROM (
    SELECT *, row_number() OVER (ORDER BY at DESC, id DESC) AS place,
      (?5 = '' OR action = ?5) AND (?6 = '' OR name = ?6 OR subject = ?6) AS matches
    FROM (
      SELECT ${COLUMNS} FROM audit INDEXED BY ${index}
      WHERE ${condition} (at, id) < (CAST(?1 AS INTEGER), CAST(?2 AS INTEGER)) AND at >= CAST(?3 AS INTEGER)
      ORDER BY at DESC, id DESC LIMIT CAST(?4 AS INTEGER)))
  WHERE matches OR place = CAST(?4 AS INTEGER) ORDER BY place`;

const PAGE_OF_ALL = sql<LookedAt>`${lookingAt('audit_by_time', '')}`.reading(paged(4, 4));
const PAGE_OF_ORGANIZATION = sql<LookedAt>`${lookingAt('audit_by_organization', 'organization = ?7 AND')}`.reading(
  paged(4, 4),
);

/**
 * Returns the entries that match among the next ones, of one organization or of all.
 * @param window the number of entries to look at
 */
export async function auditBefore(
  database: Database,
  organization: string | undefined,
  { by, action, from }: AuditFilter,
  before: AuditPosition,
  window: number,
): Promise<AuditPage> {
  const values = [before.at, before.id, from, window, action, by] as const;
  const found =
    organization === undefined
      ? await database.all(PAGE_OF_ALL, ...values)
      : await database.all(PAGE_OF_ORGANIZATION, ...values, organization);
  return {
    entries: found.flatMap(({ matches, place: _place, ...entry }) => (matches === 1 ? [entry] : [])),
    end: found.find(({ place }) => place === window),
  };
}
