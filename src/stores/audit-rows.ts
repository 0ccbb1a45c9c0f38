/**
 * The audit log: who deleted what, when, through which host. An entry is written in the transaction of the deletion, so that
 * there is no deletion without one and no entry without its deletion. Deletions are in central's log, evictions in that of
 * the node's store.
 */
import type { Digest } from '../oci/digest.ts';
import { type OrganizationName, organizationOf, type RepositoryName } from '../oci/reference.ts';
import { committed } from './clock.ts';
import { type BoundStatement, type Database, sql } from './database.ts';

/** Who asks for a deletion, and where. */
export interface Actor {
  /** The id of the credential; '' for Berth itself. */
  readonly subject: string;
  /** The host name that was asked; '' for none. */
  readonly host: string;
}

/** What is done without anybody asking for it: by the cron trigger. */
export const BERTH_ITSELF: Actor = { subject: '', host: '' };

export type AuditAction =
  | 'delete tag'
  | 'delete manifest'
  | 'delete blob'
  | 'delete repository'
  | 'remove credential'
  | 'remove organization'
  | 'evict image';

export interface AuditEntry {
  readonly id: number;
  /** Milliseconds since the epoch. */
  readonly at: number;
  readonly action: AuditAction;
  /** '' for a credential above all organizations. */
  readonly organization: string;
  /** '' where the action is about none. */
  readonly repository: string;
  /** A tag, a digest, or the name of a credential; '' where the action is about a whole repository or organization. */
  readonly key: string;
  /** See {@link Actor}. */
  readonly subject: string;
  /** The credential's name at that time; '' where it has none. */
  readonly name: string;
  readonly host: string;
}

const INSERT = 'INSERT INTO audit (at, action, organization, repository, key, subject, name, host)';
const WHO = (subject: string, host: string): string =>
  `${subject}, coalesce((SELECT name FROM credentials WHERE id = ${subject}), ''), ${host}`;

const AUDIT = sql`${INSERT} VALUES (CAST(?1 AS INTEGER), ?2, ?3, ?4, ?5, ${WHO('?6', '?7')})`;

/** An entry, whatever else the batch does. */
export function audit(
  action: AuditAction,
  about: Pick<AuditEntry, 'organization' | 'repository' | 'key'>,
  by: Actor,
  now: number,
): BoundStatement {
  return [AUDIT, now, action, about.organization, about.repository, about.key, by.subject, by.host];
}

const AUDIT_COMMITTED = sql`
  ${INSERT} SELECT CAST(?1 AS INTEGER), ?2, ?3, ?4, key.value, ${WHO('?6', '?7')}
  FROM clock CROSS JOIN json_each(?5) AS key WHERE ${committed('?8')}`;

/** An entry for each key, in a batch that takes a stamp under `commitId`; none if it did not. */
export function auditCommitted(
  action: AuditAction,
  repository: RepositoryName,
  keys: readonly string[],
  by: Actor,
  now: number,
  commitId: string,
): BoundStatement {
  const organization = organizationOf(repository);
  return [AUDIT_COMMITTED, now, action, organization, repository, JSON.stringify(keys), by.subject, by.host, commitId];
}

const AUDIT_LINK = sql`
  ${INSERT} SELECT CAST(?4 AS INTEGER), 'delete blob', ?1, ?2, ?3, ${WHO('?5', '?6')} WHERE changes() > 0`;

/** An entry for a blob, as the statement straight after that of the feed's entry: none where that wrote nothing. */
export function auditLink(repository: RepositoryName, digest: Digest, by: Actor, now: number): BoundStatement {
  return [AUDIT_LINK, organizationOf(repository), repository, digest, now, by.subject, by.host];
}

const AUDIT_EVICTION = sql`
  ${INSERT} SELECT CAST(?2 AS INTEGER), 'evict image', ?3, ?4, ?5, '', '', '' FROM evictions WHERE token = ?1`;

/** At a node: within the transaction that evicts an image under `token`; no entry if it does not. */
export function auditEviction(token: string, repository: RepositoryName, digest: Digest, now: number): BoundStatement {
  return [AUDIT_EVICTION, token, now, organizationOf(repository), repository, digest];
}

const AUDIT_CREDENTIAL = sql`
  ${INSERT} SELECT CAST(?3 AS INTEGER), 'remove credential', organization, '', name, ${WHO('?4', '?5')}
  FROM credentials WHERE organization = ?1 AND name = ?2`;

/** Before it is removed; no entry where there is none. */
export function auditCredential(organization: OrganizationName | '', name: string, by: Actor, now: number): BoundStatement {
  return [AUDIT_CREDENTIAL, organization, name, now, by.subject, by.host];
}

const AUDIT_ORGANIZATION = sql`
  ${INSERT} SELECT CAST(?2 AS INTEGER), 'remove organization', name, '', '', ${WHO('?3', '?4')}
  FROM organizations WHERE name = ?1 AND removed_at = CAST(?2 AS INTEGER)`;

/** After it was removed in the same batch; no entry where it was not. */
export function auditOrganization(name: OrganizationName, by: Actor, now: number): BoundStatement {
  return [AUDIT_ORGANIZATION, name, now, by.subject, by.host];
}

const COLUMNS = 'id, at, action, organization, repository, key, subject, name, host';
const SELECT_ALL = sql`
  SELECT ${COLUMNS} FROM audit INDEXED BY audit_by_time WHERE (at, id) < (CAST(?1 AS INTEGER), CAST(?2 AS INTEGER))
  ORDER BY at DESC, id DESC LIMIT CAST(?3 AS INTEGER)`;
const SELECT_OF_ORGANIZATION = sql`
  SELECT ${COLUMNS} FROM audit INDEXED BY audit_by_organization
  WHERE organization = ?1 AND (at, id) < (CAST(?2 AS INTEGER), CAST(?3 AS INTEGER)) AND at >= CAST(?5 AS INTEGER)
  ORDER BY at DESC, id DESC LIMIT CAST(?4 AS INTEGER)`;

/** Where a page of the log starts: before this entry. */
export type AuditPosition = Pick<AuditEntry, 'at' | 'id'>;

/**
 * The latest first; of one organization, or of all.
 * @param since milliseconds since the epoch: an organization's next owner is not shown what was done under its name before
 */
export function auditBefore(
  database: Database,
  organization: string | undefined,
  since: number,
  before: AuditPosition,
  limit: number,
): Promise<AuditEntry[]> {
  return organization === undefined
    ? database.all<AuditEntry>(SELECT_ALL, before.at, before.id, limit)
    : database.all<AuditEntry>(SELECT_OF_ORGANIZATION, organization, before.at, before.id, limit, since);
}

const DELETE_OLD = sql`
  DELETE FROM audit WHERE id IN (
    SELECT id FROM audit INDEXED BY audit_by_time WHERE at < CAST(?1 AS INTEGER) ORDER BY at, id LIMIT CAST(?2 AS INTEGER))
  RETURNING id`;

/** Removes entries from before `before`, in milliseconds since the epoch. Answers how many. */
export async function deleteOldAudit(database: Database, before: number, limit: number): Promise<number> {
  return (await database.all(DELETE_OLD, before, limit)).length;
}
