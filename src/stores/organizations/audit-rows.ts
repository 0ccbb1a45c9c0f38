/**
 * The audit log: who changed or deleted what, when, and through which host. An entry is written in the transaction of
 * its change, so neither exists without the other. Changes are in central's log; evictions and pins are in the log of
 * the node's store. If a change is not a row of a store, such as pausing a queue, it is logged before its caller is
 * answered.
 *
 * Refused logins are counted instead, in the store that decided: see refused-login-rows.ts.
 */
import { HOUR } from '../../durations.ts';
import type { Digest } from '../../oci/digest.ts';
import { type OrganizationName, organizationOf, type RepositoryName } from '../../oci/reference.ts';
import { committed } from '../clock.ts';
import { type BoundStatement, type Database, sql } from '../database.ts';
import { atMost, paged } from '../rows-read.ts';

/** The credential that asks for a change, and the host that it asks. */
export interface Actor {
  /** The id of the credential; '' for Berth itself. */
  readonly subject: string;
  /** The credential's name; undefined if it has none. */
  readonly name?: string | undefined;
  /** The host name of the request; '' for none. */
  readonly host: string;
}

/** The actor of changes that nobody asked for, such as those of maintenance. */
export const BERTH_ITSELF: Actor = { subject: '', host: '' };

/** Returns the author of the actor's writes: see `AuthoredTag`. */
export function authorOf({ name, subject }: Actor = BERTH_ITSELF): string {
  return name ?? subject;
}

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
  'set mirror',
  'remove mirror',
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
  'start import',
  'cancel import',
  'refuse login',
] as const;

export type AuditAction = (typeof AUDIT_ACTIONS)[number];

export interface AuditEntry {
  readonly id: number;
  /** Milliseconds since the epoch. */
  readonly at: number;
  readonly action: AuditAction;
  /** '' for a credential that belongs to no organization. */
  readonly organization: string;
  /** '' if the action does not concern one; {@link MANY_REPOSITORIES} if the entry counts actions of a full hour. */
  readonly repository: string;
  /**
   * A tag, a digest, the name of a credential or store, a quota in bytes, an import's id, or the upstream of a mirror;
   * '' if none of these applies.
   */
  readonly key: string;
  /** See {@link Actor}. For refused logins, a keyed hash of the address. */
  readonly subject: string;
  /** The credential's name at that time; '' if it has none. */
  readonly name: string;
  readonly host: string;
  /**
   * How often it happened in the hour, at least. Above 1 only for refused logins, prefetches and full hours.
   */
  readonly count: number;
}

/** The thing that an entry is about. */
export type AuditSubject = Pick<AuditEntry, 'organization' | 'repository' | 'key'>;

/**
 * The most entries that one action of an organization gets in an hour, in one store. Further ones are only counted, by
 * action and subject, because a tenant can delete as often as it likes, and entries are kept for long. Each action has
 * its own count, so deletions cannot hide which credentials were created.
 */
const MOST_ENTRIES = 1000;
/** Stands for many repositories in an entry that counts. No repository has this name. */
const MANY_REPOSITORIES = '*';

const HOUR_OF_ENTRY = `at - at % ${String(HOUR)}`;
// Refused logins, which strangers cause, have a limit of their own.
const HOUR_IS_FULL = (at: string, organization: string, action: string): string => `EXISTS (
  SELECT 1 FROM audit INDEXED BY audit_by_action WHERE organization = ${organization} AND action = ${action}
    AND at >= ${at} - ${at} % ${String(HOUR)} AND action <> 'refuse login' LIMIT 1 OFFSET ${String(MOST_ENTRIES - 1)})`;
const readsHour = atMost(16 * MOST_ENTRIES);

/** SQL for the values of an entry. */
interface Values {
  readonly at: string;
  readonly action: string;
  readonly organization: string;
  readonly repository: string;
  readonly key: string;
  readonly subject: string;
  readonly host: string;
}

/** SQL that writes entries, or counts them in a full hour. @param from the rest of the SELECT */
function insert({ at, action, organization, repository, key, subject, host }: Values, from: string): string {
  const isFull = HOUR_IS_FULL(at, organization, action);
  return `
    INSERT INTO audit (at, action, organization, repository, key, subject, name, host)
    SELECT ${at}, ${action}, ${organization}, iif(${isFull}, '${MANY_REPOSITORIES}', ${repository}),
      iif(${isFull}, '', ${key}),
      ${subject}, coalesce((SELECT name FROM credentials WHERE id = ${subject}), ''), ${host} ${from}
    ON CONFLICT (${HOUR_OF_ENTRY}, organization, action, subject) WHERE repository = '${MANY_REPOSITORIES}'
      DO UPDATE SET count = count + 1`;
}

const ABOUT = {
  at: 'CAST(?1 AS INTEGER)',
  action: '?2',
  organization: '?3',
  repository: '?4',
  key: '?5',
  subject: '?6',
  host: '?7',
};

const AUDIT = sql`${insert(ABOUT, 'WHERE true')}`.reading(readsHour);

/** Writes an entry, whatever else the batch does. */
export function audit(action: AuditAction, about: AuditSubject, by: Actor, now: number): BoundStatement {
  return [AUDIT, now, action, about.organization, about.repository, about.key, by.subject, by.host];
}

const AUDIT_PREFETCH = sql`
  ${insert(ABOUT, 'WHERE true')}
  ON CONFLICT (${HOUR_OF_ENTRY}, repository, key, subject)
    WHERE action = 'prefetch image' AND repository <> '${MANY_REPOSITORIES}' DO UPDATE SET count = count + 1`.reading(
  readsHour,
);

/**
 * Writes an entry for a prefetch, or counts it in the entry of the same image, actor and hour: a caller may ask again
 * as often as it likes, to see how far the copy is.
 */
export function auditPrefetch(about: AuditSubject, by: Actor, now: number): BoundStatement {
  return [AUDIT_PREFETCH, now, 'prefetch image', about.organization, about.repository, about.key, by.subject, by.host];
}

const AUDIT_CHANGED = sql`${insert(ABOUT, 'WHERE changes() > 0')}`.reading(readsHour);

/**
 * Writes an entry if the statement before it changed something. It must come directly after the statement that makes
 * the change.
 */
export function auditChanged(action: AuditAction, about: AuditSubject, by: Actor, now: number): BoundStatement {
  return [AUDIT_CHANGED, now, action, about.organization, about.repository, about.key, by.subject, by.host];
}

/** Returns the audit subject for a whole repository. */
export function ofRepository(repository: RepositoryName): AuditSubject {
  return { organization: organizationOf(repository), repository, key: '' };
}

/**
 * Writes an entry for a blob if the statement before it changed something. It must come directly after the statement
 * that writes the change log's entry.
 */
export function auditLink(repository: RepositoryName, digest: Digest, by: Actor, now: number): BoundStatement {
  return auditChanged('delete blob', { ...ofRepository(repository), key: digest }, by, now);
}

const AUDIT_COMMITTED = sql`${insert(
  { ...ABOUT, key: 'key.value' },
  `FROM clock CROSS JOIN json_each(?5) AS key WHERE ${committed('?8')}`,
)}`.reading((run) => readsHour(run) + 3 * MOST_ENTRIES * run.keys);

/** Writes an entry for each key, if the batch took a version under `commitId`. */
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

const INSERT = 'INSERT INTO audit (at, action, organization, repository, key, subject, name, host)';
const AUDIT_EVICTION = sql`
  ${INSERT} SELECT CAST(?2 AS INTEGER), 'evict image', ?3, ?4, ?5, '', '', '' FROM evictions WHERE token = ?1`;

/** At a node, writes an entry if the transaction evicts an image under `token`. */
export function auditEviction(token: string, repository: RepositoryName, digest: Digest, now: number): BoundStatement {
  return [AUDIT_EVICTION, token, now, organizationOf(repository), repository, digest];
}

const AUDIT_CREDENTIAL = sql`${insert(
  {
    at: 'CAST(?2 AS INTEGER)',
    action: "'remove credential'",
    organization: 'c.organization',
    repository: "''",
    key: 'c.name',
    subject: '?3',
    host: '?4',
  },
  'FROM credentials c WHERE c.id = ?1',
)}`.reading(readsHour);

/** Writes an entry for the removal of a credential, if it exists. It must come before the removal. */
export function auditCredential(id: string, by: Actor, now: number): BoundStatement {
  return [AUDIT_CREDENTIAL, id, now, by.subject, by.host];
}

const AUDIT_ORGANIZATION = sql`
  ${INSERT} SELECT CAST(?2 AS INTEGER), 'remove organization', name, '', '', ?3,
    coalesce((SELECT name FROM credentials WHERE id = ?3), ''), ?4 FROM organizations WHERE name = ?1 AND removed_at = CAST(?2 AS INTEGER)`;

/** Writes an entry for the removal of an organization, if the same batch has removed it. */
export function auditOrganization(name: OrganizationName, by: Actor, now: number): BoundStatement {
  return [AUDIT_ORGANIZATION, name, now, by.subject, by.host];
}

const DELETE_OLD = sql`
  DELETE FROM audit WHERE id IN (
    SELECT id FROM audit INDEXED BY audit_by_time WHERE at < CAST(?1 AS INTEGER) ORDER BY at, id
      LIMIT CAST(?2 AS INTEGER))
  RETURNING id`.reading(paged(2, 6));

/** Removes entries from before `before`, in milliseconds since the epoch. Returns how many. */
export async function deleteOldAudit(database: Database, before: number, limit: number): Promise<number> {
  return (await database.all(DELETE_OLD, before, limit)).length;
}
