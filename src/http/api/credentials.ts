import { type OpenAPIHono, z } from '@hono/zod-openapi';
import type { CredentialSummary } from '../../auth/administration.ts';
import type { Right } from '../../auth/credential.ts';
import { administeredPatterns, beyondReach, mayExpireAt, type Reach } from '../../auth/delegation.ts';
import { OciError } from '../../oci/errors.ts';
import type { AppContext, AppEnv } from '../context.ts';
import { administrationOf, formatTime } from './administration.ts';
import { callerAsActor, registryNames, requireAdministrator, requireAdministratorOf } from './caller.ts';
import { body, describe, json } from './describe.ts';
import { pageQuery, pageSize } from './paging.ts';
import {
  createdCredential,
  credential,
  credentialParam,
  foreignPattern,
  newOrganizationCredential,
  newRegistryCredential,
  organizationCredentialParam,
  organizationParam,
} from './schemas.ts';

const OF_ORGANIZATION = '/api/organizations/{organization}/credentials';
const OF_REGISTRY = '/api/credentials';

/** The most credentials on a page. Few, because each may have 32 patterns of 255 characters. */
const MAX_CREDENTIALS_ON_PAGE = 100;
const credentialPageQuery = pageQuery.extend({ n: pageSize(MAX_CREDENTIALS_ON_PAGE) });

const page = {
  description: 'A page of credentials, in order of their names',
  ...json(z.object({ credentials: z.array(credential) })),
};
const created = { description: 'Created. The secret is not shown again', ...json(createdCredential) };
const removed = { description: 'Removed. Access tokens issued to it expire within five minutes' };

export function credentialRoutes(api: OpenAPIHono<AppEnv>): void {
  const list = describe(
    'get',
    OF_ORGANIZATION,
    "List an organization's credentials, as far as the caller administers their repositories",
    { params: organizationParam, query: credentialPageQuery },
    { 200: page },
  );
  api.openapi(list, async (c) => {
    const { organization } = c.req.valid('param');
    requireAdministratorOf(c, organization);
    const { n, last } = c.req.valid('query');
    const within = administeredPatterns(c.get('delegate'), organization);
    const found = await administrationOf(c).credentials(organization, last, n, within);
    return c.json({ credentials: found.map(view) }, 200);
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
    const asked = c.req.valid('json');
    const own = c.get('caller');
    const {
      name,
      rights,
      repositories = own.kind === 'organization' ? own.repositories : [`${organization}/*`],
    } = asked;
    const foreign = foreignPattern(organization, repositories);
    if (foreign !== undefined) {
      const field = `repositories.${foreign}`;
      const message = `${field}: must be ${organization}/<name>, or end in /* below ${organization}/`;
      throw new OciError('FIELD_INVALID', { message, detail: { field } });
    }
    const reach = { rights: [...new Set(rights)], repositories, registries: registriesFor(c, asked.registries) };
    requireWithinReach(c, reach);
    const expiresAt = endFor(c, asked.expires_at);
    const added = await administrationOf(c).createCredential(
      { kind: 'organization', organization, name, ...reach, expiresAt },
      callerAsActor(c),
    );
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
    const within = administeredPatterns(c.get('delegate'), organization);
    await administrationOf(c).removeCredential(organization, name, { ...removal(c), within });
    return c.body(null, 204);
  });

  const listOfRegistry = describe(
    'get',
    OF_REGISTRY,
    'List platform and administrator credentials',
    { query: credentialPageQuery },
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
    const rights: Right[] = kind === 'platform' ? ['pull'] : ['admin'];
    const reach = { rights, repositories: [], registries: registriesFor(c, registries) };
    requireWithinReach(c, reach);
    const expiresAt = endFor(c, expires_at);
    const added = await administrationOf(c).createCredential(
      { kind, organization: '', name, ...reach, expiresAt },
      callerAsActor(c),
    );
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
    await administrationOf(c).removeCredential('', c.req.valid('param').name, removal(c));
    return c.body(null, 204);
  });
}

/** Returns the registries of a new credential: those of the caller by default. @throws OciError FIELD_INVALID */
function registriesFor(c: AppContext, names: readonly string[] | undefined): readonly string[] | null {
  if (names === undefined) return c.get('delegate').registries;
  const known = registryNames(c);
  const unknown = names.find((name) => !known.includes(name));
  if (unknown === undefined) return [...new Set(names)];
  throw new OciError('FIELD_INVALID', {
    message: `registries: there is no registry ${unknown}; choose from ${known.join(', ')}`,
    detail: { field: 'registries' },
  });
}

/** Returns when a new credential expires: with the caller by default. @throws OciError DENIED */
function endFor(c: AppContext, asked: string | null | undefined): number | null {
  const delegate = c.get('delegate');
  if (asked === undefined) return delegate.expiresAt ?? null;
  const end = asked === null ? null : Date.parse(asked);
  if (mayExpireAt(delegate, end)) return end;
  const latest = formatTime(delegate.expiresAt ?? 0);
  throw new OciError('DENIED', {
    message: `expires_at: must not be later than ${latest}, when the caller's own credential expires`,
  });
}

/** Checks that the caller has everything that `reach` has. @throws OciError DENIED */
function requireWithinReach(c: AppContext, reach: Reach): void {
  const beyond = beyondReach(c.get('delegate'), reach);
  if (beyond !== undefined)
    throw new OciError('DENIED', { message: `the caller's own credential does not have ${beyond}` });
}

/**
 * Returns the options of a removal. They refuse to remove a credential that may do more than the caller. Its expiry
 * does not matter, because a removal outlasts the caller anyway.
 */
function removal(c: AppContext) {
  return { by: callerAsActor(c), require: (found: Reach) => requireWithinReach(c, found) };
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
