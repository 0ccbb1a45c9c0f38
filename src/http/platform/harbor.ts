/**
 * The two requests of Harbor's API that Unikraft's clients make: one removes a repository, the other reads an
 * organization's quota.
 */
import type { Hono } from 'hono';
import { administers } from '../../auth/credential.ts';
import { OciError } from '../../oci/errors.ts';
import {
  isOrganizationName,
  type OrganizationName,
  parseRepositoryName,
  type RepositoryName,
} from '../../oci/reference.ts';
import { actor, requireWrite } from '../access.ts';
import { administrationOf } from '../api/administration.ts';
import { usageOf } from '../../registry/organization-usage.ts';
import type { AppContext, AppEnv } from '../context.ts';
import { callerOf } from './caller.ts';

/** Harbor's value for no limit. */
const UNLIMITED = -1;

export function harborRoutes(platform: Hono<AppEnv>): void {
  platform.delete('/api/v2.0/projects/:project/repositories/:name{.+}', async (c) => {
    const repository = repositoryOf(c);
    const by = actor(c, requireWrite(c, 'delete', repository));
    await c.get('registry').deleteRepository(repository, by);
    return c.body(null, 200);
  });

  platform.get('/api/v2.0/projects/:project/summary', async (c) => {
    const organization = projectOf(c);
    requireMember(c, organization);
    await administrationOf(c).organization(organization);
    const { quota: limit, used } = await usageOf(c.get('runtime').config, c.env, organization);
    const quota = { hard: { storage: limit ?? UNLIMITED }, used: { storage: used } };
    return c.json({ quota }, 200, { 'Cache-Control': 'no-store' });
  });
}

/**
 * Returns the repository that the path names. Clients encode the slashes in its name, Harbor's own clients twice.
 * @throws OciError NAME_INVALID
 */
function repositoryOf(c: AppContext): RepositoryName {
  const name = c.req.param('name') ?? '';
  const repository = parseRepositoryName(`${projectOf(c)}/${name.replaceAll(/%2f/gi, '/')}`);
  c.get('logFields')['repository'] = repository;
  return repository;
}

/** Returns the organization that the path names as a project. @throws OciError NAME_INVALID */
function projectOf(c: AppContext): OrganizationName {
  const project = c.req.param('project') ?? '';
  if (isOrganizationName(project)) return project;
  throw new OciError('NAME_INVALID', { message: 'the project must be the name of an organization' });
}

/** Checks that the caller belongs to the organization or administers it. @throws OciError DENIED */
function requireMember(c: AppContext, organization: OrganizationName): void {
  const caller = callerOf(c);
  if (administers(caller, organization) || (caller.kind === 'organization' && caller.organization === organization))
    return;
  throw new OciError('DENIED', { message: `this credential does not belong to ${organization}` });
}
