/**
 * Refused logins in the audit log: one entry for each hour, user and address, with how many there were. What was
 * presented may be a secret in the wrong field, so a user is named only if it is one: anything else counts under no
 * name.
 */
import { HOUR } from '../../durations.ts';
import { type BoundStatement, sql } from '../database.ts';
import { paged } from '../rows-read.ts';

/** Entries of one hour in one store. Whatever comes beyond counts in one entry without user and address. */
export const REFUSED_LOGINS_AN_HOUR = 1000;

export interface RefusedLogin {
  /** What was presented: an organization, the name of a credential, or anything else. */
  readonly user: string;
  /** The organization that the user stands for, if there is one of that name. */
  readonly organization: string;
  /** What stands for the address in the log. */
  readonly address: string;
  /** The host name that was asked. */
  readonly host: string;
  /** How many to add. */
  readonly count: number;
}

// A user who is an organization is shown to that organization.
const INSERT_REFUSED = sql`
  WITH
    room (free) AS (SELECT count(*) < CAST(?7 AS INTEGER) FROM (
      SELECT 1 FROM audit INDEXED BY audit_refused
      WHERE action = 'refuse login' AND at = CAST(?1 AS INTEGER) LIMIT CAST(?7 AS INTEGER))),
    known (organization, name) AS (
      SELECT name, name FROM organizations WHERE name = ?3 AND removed_at IS NULL
      UNION ALL SELECT '', name FROM credentials INDEXED BY credentials_named WHERE name = ?2
      UNION ALL SELECT '', ?2 WHERE ?2 = 'bootstrap'
      UNION ALL SELECT '', '' LIMIT 1)
  INSERT INTO audit (at, action, organization, repository, key, subject, name, host, count)
  SELECT CAST(?1 AS INTEGER), 'refuse login', iif(free, organization, ''), '', iif(free, known.name, ''), iif(free, ?4,
    ''), '',
    iif(free, ?5, ''), CAST(?6 AS INTEGER)
  FROM room CROSS JOIN known WHERE true
  ON CONFLICT (at, organization, key, subject) WHERE action = 'refuse login' DO UPDATE
    SET count = count + excluded.count`.reading(paged(7));

/** @param now milliseconds since the epoch: the entry is of the hour that it is in */
export function countRefusedLogin(
  { user, organization, address, host, count }: RefusedLogin,
  now: number,
): BoundStatement {
  const hour = now - (now % HOUR);
  return [INSERT_REFUSED, hour, user, organization, address, host, count, REFUSED_LOGINS_AN_HOUR];
}
