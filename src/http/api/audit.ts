/** The audit log over HTTP. It also records the actions that no transaction records by itself. */
import { type OpenAPIHono, z } from '@hono/zod-openapi';
import { matches } from '../../auth/credential.ts';
import { administeredPatterns } from '../../auth/delegation.ts';
import type { StoreName } from '../../namespaces/namespace.ts';
import { OciError } from '../../oci/errors.ts';
import { type OrganizationName, organizationOf, type RepositoryName, type Tag } from '../../oci/reference.ts';
import { AUDIT_ACTIONS, type AuditAction, AuditLog, type LoggedAction } from '../../registry/audit-log.ts';
import { composeControlData } from '../../registry/compose.ts';
import type { AppContext, AppEnv } from '../context.ts';
import { formatTime } from './administration.ts';
import { callerAsActor, requireAdministrator, requireAdministratorOf } from './caller.ts';
import { describe, json } from './describe.ts';
import { lastOfPage, pageQuery } from './paging.ts';
import { organizationParam, time } from './schemas.ts';

const auditQuery = pageQuery.extend({
  last: z.string().optional().openapi({ description: '`last` of the previous page' }),
  by: z.string().default('').openapi({
    description: 'Show only the actions of this credential: its name or id, or the address of refused logins',
  }),
  action: z.enum(AUDIT_ACTIONS).optional().openapi({ description: 'Show only this action' }),
  store: z.string().optional().openapi({ description: 'Show only the log of this store' }),
  from: time.optional().openapi({ description: 'Show only entries of this time or later' }),
  before: time.optional().openapi({ description: 'Show only earlier entries' }),
});

export const auditEntry = z
  .object({
    at: time,
    action: z.enum(AUDIT_ACTIONS),
    organization: z.string().nullable(),
    repository: z.string().nullable(),
    key: z.string().nullable().openapi({
      description:
        'The tag, the digest, the name of the credential or store, the import, the upstream, or the quota in bytes',
    }),
    by: z
      .object({ id: z.string(), name: z.string().nullable() })
      .nullable()
      .openapi({ description: "The credential that acted; null for Berth's own maintenance" }),
    host: z.string().nullable().openapi({ description: 'The host that received the request' }),
    address: z.string().nullable().openapi({
      description: 'Refused logins only: equal for equal addresses. The address cannot be recovered from it',
    }),
    count: z.int().openapi({
      description: 'The least number of times in the hour; above 1 only for refused logins, prefetches and full hours',
    }),
    store: z.string().openapi({ description: 'The store whose log has the entry' }),
  })
  .openapi('AuditEntry');

const page = {
  description: 'A page of entries, latest first. A page may be short although more pages follow',
  ...json(
    z.object({
      entries: z.array(auditEntry),
      last: lastOfPage,
    }),
  ),
};

export function auditRoutes(api: OpenAPIHono<AppEnv>): void {
  const all = describe(
    'get',
    '/api/audit',
    'List changes, deletions and refused logins, with the caller of each',
    { query: auditQuery },
    { 200: page },
  );
  api.openapi(all, async (c) => {
    requireAdministrator(c);
    return c.json(await auditPage(c, undefined, c.req.valid('query')), 200);
  });

  const ofOrganization = describe(
    'get',
    '/api/organizations/{organization}/audit',
    'List the changes, deletions and refused logins of an organization, with the caller of each',
    { params: organizationParam, query: auditQuery },
    { 200: page },
  );
  api.openapi(ofOrganization, async (c) => {
    const { organization } = c.req.valid('param');
    requireAdministratorOf(c, organization);
    return c.json(await auditPage(c, organization, c.req.valid('query')), 200);
  });
}

/** Records an action on a queue or a store, in central's audit log. */
export function recordStoreAction(c: AppContext, action: AuditAction, store: StoreName): Promise<void> {
  return recordAtCentral(c, action, '', store);
}

/** Records an action on an import, in central's audit log. */
export function recordImport(
  c: AppContext,
  action: AuditAction,
  organization: OrganizationName,
  id: string,
): Promise<void> {
  return recordAtCentral(c, action, organization, id);
}

function recordAtCentral(
  c: AppContext,
  action: AuditAction,
  organization: OrganizationName | '',
  key: string,
): Promise<void> {
  const about = { organization, repository: '', key } as const;
  return auditLogOf(c).note(c.get('runtime').config.central.store, action, about, callerAsActor(c), Date.now());
}

/** Records that a tag was restored, in the audit log of the host's store. */
export function recordRestore(c: AppContext, repository: RepositoryName, tag: Tag): Promise<void> {
  const about = { organization: organizationOf(repository), repository, key: tag };
  return auditLogOf(c).note(c.get('namespace').store, 'restore tag', about, callerAsActor(c), Date.now());
}

/** Records that an image was prefetched, in the audit log of the node's store. */
export function recordPrefetch(
  c: AppContext,
  store: StoreName,
  repository: RepositoryName,
  reference: string,
): Promise<void> {
  const about = { organization: organizationOf(repository), repository, key: reference };
  return auditLogOf(c).notePrefetch(store, about, callerAsActor(c), Date.now());
}

function auditLogOf(c: AppContext): AuditLog {
  return new AuditLog(c.get('runtime').config, c.env);
}

/** Reads a page. @throws OciError NOT_FOUND for an organization that is gone, unless the caller is an administrator */
async function auditPage(
  c: AppContext,
  organization: OrganizationName | undefined,
  { n, last, by, action, store, from, before }: z.infer<typeof auditQuery>,
): Promise<{ entries: z.infer<typeof auditEntry>[]; last: string | null }> {
  const since = organization === undefined ? 0 : await ownedSince(c, organization);
  const filter = {
    organization,
    by,
    action: action ?? '',
    store,
    from: from === undefined ? since : Math.max(since, Date.parse(from)),
    before: before === undefined ? Number.MAX_SAFE_INTEGER : Date.parse(before),
  } as const;
  const found = await auditLogOf(c).page(filter, last, n);
  const entries = found.entries.filter(({ entry }) => organization === undefined || mayRead(c, organization, entry));
  return { entries: entries.map(viewOfEntry), last: found.last ?? null };
}

/**
 * Returns whether a caller may see an entry: one about a repository that it administers, one about the organization, or
 * an action of its own. Entries about credentials are only for callers who administer the whole organization.
 */
function mayRead(c: AppContext, organization: OrganizationName, entry: LoggedAction['entry']): boolean {
  const delegate = c.get('delegate');
  const patterns = administeredPatterns(delegate, organization);
  if (patterns.includes(`${organization}/*`) || entry.subject === delegate.credential.id) return true;
  if (entry.repository !== '') return patterns.some((pattern) => matches(pattern, entry.repository as RepositoryName));
  return entry.action !== 'create credential' && entry.action !== 'remove credential';
}

/**
 * Returns when the organization was created. It asks central, because a node's copy may still be of an earlier
 * organization with this name, whose log the caller must not see.
 */
async function ownedSince(c: AppContext, name: OrganizationName): Promise<number> {
  const organization = await composeControlData(c.env, c.get('runtime').config.central).organization(name);
  if (organization !== undefined) return organization.created_at;
  if (c.get('caller').kind === 'administrator') return 0;
  throw new OciError('NOT_FOUND', { message: `there is no organization ${name}` });
}

function viewOfEntry({ store, entry }: LoggedAction): z.infer<typeof auditEntry> {
  const isRefusal = entry.action === 'refuse login';
  return {
    at: formatTime(entry.at),
    action: entry.action,
    organization: entry.organization === '' ? null : entry.organization,
    repository: entry.repository === '' ? null : entry.repository,
    key: entry.key === '' ? null : entry.key,
    by: isRefusal || entry.subject === '' ? null : { id: entry.subject, name: entry.name === '' ? null : entry.name },
    host: entry.host === '' ? null : entry.host,
    address: isRefusal && entry.subject !== '' ? entry.subject : null,
    count: entry.count,
    store,
  };
}
