import { type OpenAPIHono, z } from '@hono/zod-openapi';
import type { CredentialSummary } from '../../auth/administration.ts';
import { OciError } from '../../oci/errors.ts';
import { actor } from '../access.ts';
import type { AppContext, AppEnv } from '../context.ts';
import { administrationOf, formatTime } from './administration.ts';
import { requireAdministrator, requireAdministratorOf } from './caller.ts';
import { body, describe, json } from './describe.ts';
import {
  createdCredential,
  credential,
  credentialParam,
  foreignPattern,
  newOrganizationCredential,
  newRegistryCredential,
  organizationCredentialParam,
  organizationParam,
  pageQuery,
} from './schemas.ts';

const OF_ORGANIZATION = '/api/organizations/{organization}/credentials';
const OF_REGISTRY = '/api/credentials';

const page = { description: 'A page, by name', ...json(z.object({ credentials: z.array(credential) })) };
const created = { description: 'Created: the only time that the secret is shown', ...json(createdCredential) };
const removed = { description: 'Removed. Access tokens that it was given for run out within five minutes' };

export function credentialRoutes(api: OpenAPIHono<AppEnv>): void {
  const list = describe(
    'get',
    OF_ORGANIZATION,
    'List the credentials of an organization',
    { params: organizationParam, query: pageQuery },
    { 200: page },
  );
  api.openapi(list, async (c) => {
    const { organization } = c.req.valid('param');
    requireAdministratorOf(c, organization);
    const { n, last } = c.req.valid('query');
    return c.json({ credentials: (await administrationOf(c).credentials(organization, last, n)).map(view) }, 200);
  });

  const create = describe(
    'post',
    OF_ORGANIZATION,
    'Create a credential of an organization',
    { params: organizationParam, ...body(newOrganizationCredential) },
    { 201: created },
  );
  api.openapi(create, async (c) => {
    const { organization } = c.req.valid('param');
    requireAdministratorOf(c, organization);
    const { name, rights, repositories = [`${organization}/*`], expires_at, registries } = c.req.valid('json');
    const foreign = foreignPattern(organization, repositories);
    if (foreign !== undefined) {
      const field = `repositories.${foreign}`;
      const message = `${field}: must be ${organization}/<name>, or end in /* below ${organization}/`;
      throw new OciError('FIELD_INVALID', { message, detail: { field } });
    }
    const added = await administrationOf(c).createCredential({
      kind: 'organization',
      organization,
      name,
      rights: [...new Set(rights)],
      repositories,
      registries: knownRegistries(c, registries),
      expiresAt: expires_at === null ? null : Date.parse(expires_at),
    });
    return c.json({ ...view(added), secret: added.secret }, 201);
  });

  const remove = describe(
    'delete',
    `${OF_ORGANIZATION}/{name}`,
    'Remove a credential of an organization',
    { params: organizationCredentialParam },
    { 204: removed },
  );
  api.openapi(remove, async (c) => {
    const { organization, name } = c.req.valid('param');
    requireAdministratorOf(c, organization);
    await administrationOf(c).removeCredential(organization, name, actor(c, c.get('caller').id));
    return c.body(null, 204);
  });

  const listOfRegistry = describe(
    'get',
    OF_REGISTRY,
    'List platform and administrator credentials',
    { query: pageQuery },
    { 200: page },
  );
  api.openapi(listOfRegistry, async (c) => {
    requireAdministrator(c);
    const { n, last } = c.req.valid('query');
    return c.json({ credentials: (await administrationOf(c).credentials('', last, n)).map(view) }, 200);
  });

  const createOfRegistry = describe(
    'post',
    OF_REGISTRY,
    'Create a platform or administrator credential',
    body(newRegistryCredential),
    { 201: created },
  );
  api.openapi(createOfRegistry, async (c) => {
    requireAdministrator(c);
    const { name, kind, expires_at, registries } = c.req.valid('json');
    const added = await administrationOf(c).createCredential({
      kind,
      organization: '',
      name,
      rights: kind === 'platform' ? ['pull'] : ['admin'],
      repositories: [],
      registries: knownRegistries(c, registries),
      expiresAt: expires_at === null ? null : Date.parse(expires_at),
    });
    return c.json({ ...view(added), secret: added.secret }, 201);
  });

  const removeOfRegistry = describe(
    'delete',
    `${OF_REGISTRY}/{name}`,
    'Remove a platform or administrator credential',
    { params: credentialParam },
    { 204: removed },
  );
  api.openapi(removeOfRegistry, async (c) => {
    requireAdministrator(c);
    await administrationOf(c).removeCredential('', c.req.valid('param').name, actor(c, c.get('caller').id));
    return c.body(null, 204);
  });
}

/** Nobody makes a credential that is good where their own is not. @throws OciError FIELD_INVALID, DENIED */
function knownRegistries(c: AppContext, names: readonly string[] | undefined): string[] | null {
  const own = c.get('callerRegistries');
  if (names === undefined) return own === null ? null : [...own];
  const known = ['central', ...c.get('runtime').config.nodes.map(({ name }) => name)];
  const unknown = names.find((name) => !known.includes(name));
  const beyond = names.find((name) => own?.includes(name) === false);
  if (beyond !== undefined && unknown === undefined) {
    throw new OciError('DENIED', { message: `the credential is not good at ${beyond} itself` });
  }
  if (unknown === undefined) return [...new Set(names)];
  throw new OciError('FIELD_INVALID', {
    message: `registries: there is no registry ${unknown}; there are ${known.join(', ')}`,
    detail: { field: 'registries' },
  });
}

function view(summary: CredentialSummary): z.infer<typeof credential> {
  return {
    kind: summary.kind,
    organization: summary.organization === '' ? null : summary.organization,
    name: summary.name,
    rights: [...summary.rights],
    repositories: [...summary.repositories],
    registries: summary.registries === null ? null : [...summary.registries],
    created_at: formatTime(summary.createdAt),
    expires_at: summary.expiresAt === null ? null : formatTime(summary.expiresAt),
    last_used_at: summary.lastUsedAt === null ? null : formatTime(summary.lastUsedAt),
  };
}
