/** What the management API takes and gives. Requests are checked by these, and the OpenAPI document is made of them. */
import { z } from '@hono/zod-openapi';
import { isPatternOf, RIGHTS } from '../../auth/credential.ts';
import { isOrganizationName, isRepositoryName, type OrganizationName, type RepositoryName } from '../../oci/reference.ts';

const time = z.iso.datetime({ offset: true }).openapi({ example: '2027-01-31T00:00:00Z' });

export const organizationName = z
  .custom<OrganizationName>((value) => typeof value === 'string' && isOrganizationName(value), {
    error: 'must be 1 to 128 lowercase letters and digits, separated by ".", "_" or "-"',
  })
  .openapi({ type: 'string', example: 'alice' });

const credentialName = z
  .string()
  .regex(/^[a-z0-9][a-z0-9._-]{0,62}$/, 'must be 1 to 63 of a-z, 0-9, ".", "_" and "-", and start with a letter or digit')
  .openapi({ example: 'ci' });

/** The part of a repository's name after its organization. */
export const repositoryPath = z
  .string()
  .refine(
    (path) => isRepositoryName(`o/${path}`),
    'must be lowercase letters and digits, separated by ".", "_", "__", "-" or "/"',
  )
  .openapi({ example: 'app', description: 'Name of the repository within its organization; encode "/" as %2F in a path' });

export const organizationParam = z.object({ organization: organizationName });
export const credentialParam = z.object({ name: credentialName });
export const organizationCredentialParam = organizationParam.extend({ name: credentialName });
export const repositoryParam = organizationParam.extend({ repository: repositoryPath });

export const pageQuery = z.object({
  n: z.coerce.number().int('must be a whole number').min(1).max(1000).default(100),
  last: z.string().default('').openapi({ description: 'Start after this name' }),
});

export const newOrganization = z.strictObject({ name: organizationName }).openapi('NewOrganization');
export const organization = z.object({ name: organizationName, created_at: time }).openapi('Organization');

const rights = z
  .array(z.enum(RIGHTS))
  .min(1, 'needs at least one right')
  .openapi({ example: ['pull', 'push'] });

const pattern = z.string().openapi({ example: 'alice/*', description: 'One repository, or with /* at its end all below a path' });

const expiry = time.nullable().default(null).openapi({ description: 'null for never' });

const registries = z
  .array(z.string().regex(/^[a-z0-9]+(?:-[a-z0-9]+)*$/, 'must be "central" or the name of a node'))
  .min(1)
  .max(64)
  .openapi({ example: ['node1'], description: 'Where it is good: "central" and names of nodes; without, everywhere' });

export const newOrganizationCredential = z
  .strictObject({
    name: credentialName,
    rights,
    repositories: z.array(pattern).min(1).max(32).optional(),
    registries: registries.optional(),
    expires_at: expiry,
  })
  .openapi('NewOrganizationCredential');

/** Patterns may name the credential's own organization only. */
export function foreignPattern(name: OrganizationName, patterns: readonly string[]): number | undefined {
  const index = patterns.findIndex((text) => !isPatternOf(name, text));
  return index < 0 ? undefined : index;
}

export const newRegistryCredential = z
  .strictObject({
    name: credentialName,
    kind: z.enum(['platform', 'administrator']),
    registries: registries.optional(),
    expires_at: expiry,
  })
  .openapi('NewRegistryCredential');

export const credential = z
  .object({
    kind: z.enum(['organization', 'platform', 'administrator']),
    organization: z.string().nullable(),
    name: credentialName,
    rights: z.array(z.enum(RIGHTS)),
    repositories: z.array(pattern),
    registries: registries.nullable(),
    created_at: time,
    expires_at: time.nullable(),
    last_used_at: time.nullable().openapi({ description: 'To the hour' }),
  })
  .openapi('Credential');

export const createdCredential = credential
  .extend({ secret: z.string().openapi({ description: 'The password. It is shown once and stored as a hash.' }) })
  .openapi('CreatedCredential');

const visibility = z.enum(['public', 'private']);

export const newRepository = z
  .strictObject({ name: repositoryPath, visibility: visibility.default('private') })
  .openapi('NewRepository');
export const repositoryChange = z.strictObject({ visibility }).openapi('RepositoryChange');
export const repository = z
  .object({
    name: z.custom<RepositoryName>().openapi({ type: 'string', example: 'alice/app' }),
    visibility,
    created_at: time,
  })
  .openapi('Repository');

export const usage = z
  .object({
    repositories: z.int(),
    manifests: z.int(),
    tags: z.int(),
    blobs: z.int().openapi({ description: 'Distinct blobs that the repositories of the organization may read' }),
    bytes: z.int().openapi({ description: 'Bytes of these blobs' }),
  })
  .openapi('Usage');

export const errorBody = z
  .object({ errors: z.array(z.object({ code: z.string(), message: z.string(), detail: z.record(z.string(), z.unknown()) })) })
  .openapi('Errors');
