/**
 * The audit log: who changed or deleted what, when, through which host. An entry is written in the transaction of the
 * change, so that there is no change without one and no entry without its change. Changes are in central's log;
 * evictions and pins in that of the node's store. What is no row of a store, such as a paused queue, is noted before
 * its caller is answered.
 *
 * Refused logins are counted instead, in the store that decided: refused-login-rows.ts.
 */
import type { Digest } from '../../oci/digest.ts';
import { type OrganizationName, organizationOf, type RepositoryName } from '../../oci/reference.ts';
import { committed } from '../clock.ts';
import { type BoundStatement, type Database, sql } from '../database.ts';
import { paged } from '../rows-read.ts';

/** Who asks for a change, and where. */
export interface Actor {
  /** The id of the credential; '' for Berth itself. */
  readonly subject: string;
  /** The host name that was asked; '' for none. */
  readonly host: string;
}

/** What is done without anybody asking for it: by maintenance. */
export const BERTH_ITSELF: Actor = { subject: '', host: '' };

export const AUDIT_ACTIONS = [
  'delete tag',
  'delete manifest',
  'delete blob',
  'create repository',
  'publish repository',
  'hide repository',
  'delete repository',
  'create credential',
  'remove credential',
  'create organization',
  'remove organization',
  'set quota',
  'restore tag',
  'prefetch image',
  'pin image',
  'unpin image',
  'evict image',
  'pause queue',
  'resume queue',
  'retry jobs',
  'announce all',
  'forget store',
  'refuse login',
] as const;

export type AuditAction = (typeof AUDIT_ACTIONS)[number];

export interface AuditEntry {
  readonly id: number;
  /** Milliseconds since the epoch. */
  readonly at: number;
  readonly action: AuditAction;
  /** '' for a credential above all organizations. */
  readonly organization: string;
  /** '' where the action is about none. */
  readonly repository: string;
  /** A tag, a digest, the name of a credential or store, or a quota in bytes; '' where there is nothing more to say. */
  readonly key: string;
  /** See {@link Actor}; of refused logins, what stands for their address. */
  readonly subject: string;
  /** The credential's name at that time; '' where it has none. */
  readonly name: string;
  readonly host: string;
  /** How often, at least: of refused logins. */
  readonly count: number;
}

/** What an entry is about. */
export type AuditSubject = Pick<AuditEntry, 'organization' | 'repository' | 'key'>;

const INSERT = 'INSERT INTO audit (at, action, organization, repository, key, subject, name, host)';
const WHO = (subject: string, host: string): string =>
  `${subject}, coalesce((SELECT name FROM credentials WHERE id = ${subject}), ''), ${host}`;

const AUDIT = sql`${INSERT} VALUES (CAST(?1 AS INTEGER), ?2, ?3, ?4, ?5, ${WHO('?6', '?7')})`;

/** An entry, whatever else the batch does. */
export function audit(action: AuditAction, about: AuditSubject, by: Actor, now: number): BoundStatement {
  return [AUDIT, now, action, about.organization, about.repository, about.key, by.subject, by.host];
}

const AUDIT_CHANGED = sql`
  ${INSERT} SELECT CAST(?1 AS INTEGER), ?2, ?3, ?4, ?5, ${WHO('?6', '?7')} WHERE changes() > 0`;

/** An entry, as the statement straight after the one that makes the change: none where that changed nothing. */
export function auditChanged(action: AuditAction, about: AuditSubject, by: Actor, now: number): BoundStatement {
  return [AUDIT_CHANGED, now, action, about.organization, about.repository, about.key, by.subject, by.host];
}

/** What is done to a whole repository. */
export function ofRepository(repository: RepositoryName): AuditSubject {
  return { organization: organizationOf(repository), repository, key: '' };
}

/**
 * An entry for a blob, as the statement straight after that of the change log's entry: none where that wrote nothing.
 */
export function auditLink(repository: RepositoryName, digest: Digest, by: Actor, now: number): BoundStatement {
  return auditChanged('delete blob', { ...ofRepository(repository), key: digest }, by, now);
}

const AUDIT_COMMITTED = sql`
  ${INSERT} SELECT CAST(?1 AS INTEGER), ?2, ?3, ?4, key.value, ${WHO('?6', '?7')}
  FROM clock CROSS JOIN json_each(?5) AS key WHERE ${committed('?8')}`;

/** An entry for each key, in a batch that takes a version under `commitId`; none if it did not. */
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

const AUDIT_EVICTION = sql`
  ${INSERT} SELECT CAST(?2 AS INTEGER), 'evict image', ?3, ?4, ?5, '', '', '' FROM evictions WHERE token = ?1`;

/** At a node: within the transaction that evicts an image under `token`; no entry if it does not. */
export function auditEviction(token: string, repository: RepositoryName, digest: Digest, now: number): BoundStatement {
  return [AUDIT_EVICTION, token, now, organizationOf(repository), repository, digest];
}

const AUDIT_CREDENTIAL = sql`
  ${INSERT} SELECT CAST(?2 AS INTEGER), 'remove credential', organization, '', name, ${WHO('?3', '?4')}
  FROM credentials WHERE id = ?1`;

/** Before it is removed; no entry where there is none. */
export function auditCredential(id: string, by: Actor, now: number): BoundStatement {
  return [AUDIT_CREDENTIAL, id, now, by.subject, by.host];
}

const AUDIT_ORGANIZATION = sql`
  ${INSERT} SELECT CAST(?2 AS INTEGER), 'remove organization', name, '', '', ${WHO('?3', '?4')}
  FROM organizations WHERE name = ?1 AND removed_at = CAST(?2 AS INTEGER)`;

/** After it was removed in the same batch; no entry where it was not. */
export function auditOrganization(name: OrganizationName, by: Actor, now: number): BoundStatement {
  return [AUDIT_ORGANIZATION, name, now, by.subject, by.host];
}

const COLUMNS = 'id, at, action, organization, repository, key, subject, name, host, count';
const SELECT_ALL = sql`
  SELECT ${COLUMNS} FROM audit INDEXED BY audit_by_time WHERE (at, id) < (CAST(?1 AS INTEGER), CAST(?2 AS INTEGER))
  ORDER BY at DESC, id DESC LIMIT CAST(?3 AS INTEGER)`.reading(paged(3));
const SELECT_OF_ORGANIZATION = sql`
  SELECT ${COLUMNS} FROM audit INDEXED BY audit_by_organization
  WHERE organization = ?1 AND (at, id) < (CAST(?2 AS INTEGER), CAST(?3 AS INTEGER)) AND at >= CAST(?5 AS INTEGER)
  ORDER BY at DESC, id DESC LIMIT CAST(?4 AS INTEGER)`.reading(paged(4));

/** Where a page of the log starts: before this entry. */
export type AuditPosition = Pick<AuditEntry, 'at' | 'id'>;

/**
 * The latest first; of one organization, or of all.
 * @param since milliseconds since the epoch: an organization's next owner is not shown what was done under its name
 *   before
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
    SELECT id FROM audit INDEXED BY audit_by_time WHERE at < CAST(?1 AS INTEGER) ORDER BY at, id
      LIMIT CAST(?2 AS INTEGER))
  RETURNING id`.reading(paged(2, 6));

/** Removes entries from before `before`, in milliseconds since the epoch. Answers how many. */
export async function deleteOldAudit(database: Database, before: number, limit: number): Promise<number> {
  return (await database.all(DELETE_OLD, before, limit)).length;
}
