import { type OpenAPIHono, z } from '@hono/zod-openapi';
import type { OrganizationSummary } from '../../auth/administration.ts';
import { usageOf } from '../../registry/organization-usage.ts';
import type { AppEnv } from '../context.ts';
import { administrationOf, formatTime } from './administration.ts';
import { callerAsActor, requireAdministrator, requireAdministratorOf, requireValidAt } from './caller.ts';
import { body, describe, json } from './describe.ts';
import { pageQuery } from './paging.ts';
import { newOrganization, newQuota, organization, organizationParam, usage } from './schemas.ts';

const ORGANIZATIONS = '/api/organizations';
const ORGANIZATION = '/api/organizations/{organization}';

export function organizationRoutes(api: OpenAPIHono<AppEnv>): void {
  const list = describe(
    'get',
    ORGANIZATIONS,
    'List organizations',
    { query: pageQuery },
    {
      200: {
        description: 'A page of organizations, in order of their names',
        ...json(z.object({ organizations: z.array(organization) })),
      },
    },
  );
  api.openapi(list, async (c) => {
    requireAdministrator(c);
    const { n, last } = c.req.valid('query');
    const found = await administrationOf(c).organizations(last, n);
    return c.json({ organizations: found.map(shown) }, 200);
  });

  const create = describe('post', ORGANIZATIONS, 'Create an organization', body(newOrganization), {
    201: { description: 'Created', ...json(organization) },
  });
  api.openapi(create, async (c) => {
    requireAdministrator(c);
    requireValidAt(c);
    return c.json(shown(await administrationOf(c).createOrganization(c.req.valid('json').name, callerAsActor(c))), 201);
  });

  const get = describe(
    'get',
    ORGANIZATION,
    'Show an organization',
    { params: organizationParam },
    {
      200: { description: 'The organization', ...json(organization) },
    },
  );
  api.openapi(get, async (c) => {
    const { organization: wanted } = c.req.valid('param');
    requireAdministratorOf(c, wanted);
    return c.json(shown(await administrationOf(c).organization(wanted)), 200);
  });

  const remove = describe(
    'delete',
    ORGANIZATION,
    'Remove an organization that has no repositories, with its credentials',
    { params: organizationParam },
    {
      204: { description: 'Removed' },
    },
  );
  api.openapi(remove, async (c) => {
    requireAdministrator(c);
    requireValidAt(c);
    await administrationOf(c).removeOrganization(c.req.valid('param').organization, callerAsActor(c));
    return c.body(null, 204);
  });

  const limit = describe(
    'put',
    `${ORGANIZATION}/quota`,
    'Limit what an organization may store, or lift the limit',
    { params: organizationParam, ...body(newQuota) },
    {
      200: { description: 'Changed', ...json(organization) },
    },
  );
  api.openapi(limit, async (c) => {
    requireAdministrator(c);
    requireValidAt(c);
    const changed = await administrationOf(c).setQuota(
      c.req.valid('param').organization,
      c.req.valid('json').bytes,
      callerAsActor(c),
    );
    return c.json(shown(changed), 200);
  });

  const use = describe(
    'get',
    `${ORGANIZATION}/usage`,
    'Show how much an organization stores',
    { params: organizationParam },
    {
      200: { description: 'Counts and bytes', ...json(usage) },
    },
  );
  api.openapi(use, async (c) => {
    const { organization: wanted } = c.req.valid('param');
    requireAdministratorOf(c, wanted);
    await administrationOf(c).organization(wanted);
    const { config } = c.get('runtime');
    const { manifests, tags, blobs } = config.limits;
    return c.json({ ...(await usageOf(config, c.env, wanted)), limits: { manifests, tags, blobs } }, 200);
  });
}

function shown({ name, createdAt, quota }: OrganizationSummary) {
  return { name, created_at: formatTime(createdAt), quota };
}
