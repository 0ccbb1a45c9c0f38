import { type OpenAPIHono, z } from '@hono/zod-openapi';
import type { RepositorySummary } from '../../auth/administration.ts';
import { administeredPatterns } from '../../auth/delegation.ts';
import { OciError } from '../../oci/errors.ts';
import {
  isRepositoryName,
  MAX_NAME_LENGTH,
  type OrganizationName,
  parseRepositoryName,
  type RepositoryName,
} from '../../oci/reference.ts';
import type { AppContext, AppEnv } from '../context.ts';
import { administrationOf, formatTime } from './administration.ts';
import { callerAsActor, requireAdministratorOf, requireAdministratorOfRepository, requireValidAt } from './caller.ts';
import { body, describe, json } from './describe.ts';
import { pageQuery } from './paging.ts';
import { newRepository, organizationParam, repository, repositoryChange, repositoryParam } from './schemas.ts';

const REPOSITORIES = '/api/organizations/{organization}/repositories';
const REPOSITORY = `${REPOSITORIES}/{repository}` as const;

export function repositoryRoutes(api: OpenAPIHono<AppEnv>): void {
  const list = describe(
    'get',
    REPOSITORIES,
    'List the repositories of an organization that the caller administers',
    { params: organizationParam, query: pageQuery },
    {
      200: {
        description: 'A page of repositories, in order of their names',
        ...json(z.object({ repositories: z.array(repository) })),
      },
    },
  );
  api.openapi(list, async (c) => {
    const { organization } = c.req.valid('param');
    requireAdministratorOf(c, organization);
    const { n, last } = c.req.valid('query');
    const within = administeredPatterns(c.get('delegate'), organization);
    const found = await administrationOf(c).repositories(organization, last, n, within);
    return c.json({ repositories: found.map(view) }, 200);
  });

  const create = describe(
    'post',
    REPOSITORIES,
    'Create a repository before its first push. A push would also create it',
    { params: organizationParam, ...body(newRepository) },
    { 201: { description: 'Created', ...json(repository) } },
  );
  api.openapi(create, async (c) => {
    const { organization } = c.req.valid('param');
    requireAdministratorOf(c, organization);
    const { name, visibility } = c.req.valid('json');
    requireShortName(`${organization}/${name}`);
    const full = administered(c, organization, name);
    if (visibility === 'public') requireValidAt(c);
    return c.json(
      view(await administrationOf(c).createRepository(organization, full, visibility === 'public', callerAsActor(c))),
      201,
    );
  });

  const get = describe(
    'get',
    REPOSITORY,
    'Show a repository',
    { params: repositoryParam },
    {
      200: { description: 'The repository', ...json(repository) },
    },
  );
  api.openapi(get, async (c) => {
    const { organization, repository: path } = c.req.valid('param');
    return c.json(view(await administrationOf(c).repository(administered(c, organization, path))), 200);
  });

  const change = describe(
    'patch',
    REPOSITORY,
    'Make a repository public or private',
    { params: repositoryParam, ...body(repositoryChange) },
    { 200: { description: 'Changed', ...json(repository) } },
  );
  api.openapi(change, async (c) => {
    const { organization, repository: path } = c.req.valid('param');
    const name = administered(c, organization, path);
    requireValidAt(c);
    const isPublic = c.req.valid('json').visibility === 'public';
    return c.json(view(await administrationOf(c).setVisibility(name, isPublic, callerAsActor(c))), 200);
  });

  const remove = describe(
    'delete',
    REPOSITORY,
    'Remove a repository with its tags, manifests and links to blobs',
    { params: repositoryParam },
    {
      204: { description: 'Removed' },
    },
  );
  api.openapi(remove, async (c) => {
    const { organization, repository: path } = c.req.valid('param');
    await c.get('registry').deleteRepository(administered(c, organization, path), callerAsActor(c));
    return c.body(null, 204);
  });
}

/** Returns the repository after checking that the caller administers it. @throws OciError DENIED */
function administered(c: AppContext, organization: OrganizationName, path: string): RepositoryName {
  const name = parseRepositoryName(`${organization}/${path}`);
  requireAdministratorOfRepository(c, organization, name);
  return name;
}

function view({ name, createdAt, public: isPublic }: RepositorySummary): z.infer<typeof repository> {
  return { name, visibility: isPublic ? 'public' : 'private', created_at: formatTime(createdAt) };
}

/**
 * Checks the length of the full name. The organization may make a valid name too long. @throws OciError FIELD_INVALID
 */
function requireShortName(full: string): void {
  if (isRepositoryName(full)) return;
  const message = `name: must have at most ${MAX_NAME_LENGTH} characters together with its organization`;
  throw new OciError('FIELD_INVALID', { message, detail: { field: 'name' } });
}
