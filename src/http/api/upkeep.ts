/** What the cron trigger does with the stores, and the audit log. */
import { type OpenAPIHono, z } from '@hono/zod-openapi';
import { type AuditAction, type LoggedAction, type StoreUpkeep, Upkeep } from '../../maintenance/operations.ts';
import type { StoreName } from '../../namespaces/namespace.ts';
import { OciError } from '../../oci/errors.ts';
import { type OrganizationName, organizationOf, type RepositoryName } from '../../oci/reference.ts';
import { composeControlData } from '../../registry/compose.ts';
import type { AppContext, AppEnv } from '../context.ts';
import { formatTime } from './administration.ts';
import { callerAsActor, requireAdministrator, requireAdministratorOf } from './caller.ts';
import { describe, json } from './describe.ts';
import { auditEntry, auditQuery, organizationParam, storeUpkeep } from './schemas.ts';

const page = {
  description: 'A page, the latest first',
  ...json(
    z.object({
      entries: z.array(auditEntry),
      last: z.string().nullable().openapi({ description: 'How to ask for the next page; null where there is none' }),
    }),
  ),
};

const upkeep = z.object({
  collects: z.boolean().openapi({ description: 'Whether the configuration lets anything be collected or evicted' }),
  stores: z.array(storeUpkeep),
});

export function upkeepRoutes(api: OpenAPIHono<AppEnv>): void {
  const get = describe(
    'get',
    '/api/maintenance',
    'Look at collection, eviction and the scrub: when they last ran, what they did, what stopped them',
    {},
    { 200: { description: 'One for each store', ...json(upkeep) } },
  );
  api.openapi(get, async (c) => {
    requireAdministrator(c);
    const { collects } = c.get('runtime').config;
    return c.json({ collects, stores: (await upkeepOf(c).report()).map(view) }, 200);
  });

  const all = describe(
    'get',
    '/api/audit',
    'List who changed or deleted what, and refused logins',
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
    'List who changed or deleted what of an organization, and refused logins for it',
    { params: organizationParam, query: auditQuery },
    { 200: page },
  );
  api.openapi(ofOrganization, async (c) => {
    const { organization } = c.req.valid('param');
    requireAdministratorOf(c, organization);
    return c.json(await auditPage(c, organization, c.req.valid('query')), 200);
  });
}

/** Notes in central's log what is done to a queue, or to a store. */
export function noteOfStore(c: AppContext, action: AuditAction, store: StoreName): Promise<void> {
  const about = { organization: '', repository: '', key: store };
  return upkeepOf(c).note(c.get('runtime').config.central.store, action, about, callerAsActor(c), Date.now());
}

/** Notes what is done to an image, in the log of the store where it is done. */
export function noteOfImage(c: AppContext, store: StoreName, action: AuditAction, repository: RepositoryName, key: string) {
  return upkeepOf(c).note(
    store,
    action,
    { organization: organizationOf(repository), repository, key },
    callerAsActor(c),
    Date.now(),
  );
}

function upkeepOf(c: AppContext): Upkeep {
  return new Upkeep(c.get('runtime').config, c.env);
}

/** @throws OciError NOT_FOUND for an organization that is gone, unless to an administrator */
async function auditPage(
  c: AppContext,
  organization: OrganizationName | undefined,
  { n, last }: z.infer<typeof auditQuery>,
): Promise<{ entries: z.infer<typeof auditEntry>[]; last: string | null }> {
  const since = organization === undefined ? 0 : await ownedSince(c, organization);
  const found = await upkeepOf(c).audit(organization, since, last, n);
  return { entries: found.entries.map(viewOfEntry), last: found.last ?? null };
}

/** Central's answer: a node's copy may still be of an earlier organization of this name, whose log is not the caller's. */
async function ownedSince(c: AppContext, name: OrganizationName): Promise<number> {
  const organization = await composeControlData(c.env, c.get('runtime').config.central).organization(name);
  if (organization !== undefined) return organization.created_at;
  if (c.get('caller').kind === 'administrator') return 0;
  throw new OciError('NOT_FOUND', { message: `there is no organization ${name}` });
}

function view({ store, known }: StoreUpkeep): z.infer<typeof storeUpkeep> {
  return {
    store,
    answers: known !== undefined,
    tasks: (known?.tasks ?? []).map((task) => ({
      task: task.task,
      last_slice_at: formatTime(task.last_slice_at),
      next_at: formatTime(task.next_at),
      round_started_at: formatTime(task.round_started_at),
      round_ended_at: task.round_ended_at === null ? null : formatTime(task.round_ended_at),
      slices: task.slices,
      stopped: task.stopped,
    })),
    counters: Object.fromEntries(known?.counters ?? []),
  };
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
