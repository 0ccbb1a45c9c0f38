/**
 * Refused logins in the audit log: one entry for each hour, user and address, with a count. The presented user name may
 * be a secret in the wrong field, so it is only logged if such a user exists; all others are counted without a name.
 */
import { HOUR } from '../../durations.ts';
import { type BoundStatement, sql } from '../database.ts';
import { paged } from '../rows-read.ts';

/** The most entries of one hour in one store. Further logins are counted in one entry without user and address. */
const REFUSED_LOGINS_AN_HOUR = 1000;

export interface RefusedLogin {
  /** The presented user: an organization, the name of a credential, or anything else. */
  readonly user: string;
  /** The organization that the user stands for, if there is one by that name. */
  readonly organization: string;
  /** A keyed hash of the address, always the same for one address. */
  readonly address: string;
  /** The host name of the request. */
  readonly host: string;
  /** The number of refused logins to add. */
  readonly count: number;
}

// An organization sees the refused logins of its own name.
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

/**
 * Adds refused logins to the entry of the hour that contains `now`.
 * @param now milliseconds since the epoch
 */
export function countRefusedLogin(
  { user, organization, address, host, count }: RefusedLogin,
  now: number,
): BoundStatement {
  const hour = now - (now % HOUR);
  return [INSERT_REFUSED, hour, user, organization, address, host, count, REFUSED_LOGINS_AN_HOUR];
}
