/**
 * The schemas of the management API; images, queues and series have files of their own. They check requests, and the
 * OpenAPI document is generated from them. The command line infers the types of answers from them, so these files
 * import nothing that needs the Workers runtime.
 */
import { z } from '@hono/zod-openapi';
import { isPatternOf, RIGHTS } from '../../auth/credential.ts';
import {
  isOrganizationName,
  isRepositoryName,
  type OrganizationName,
  type RepositoryName,
} from '../../oci/reference.ts';

export const time = z.iso.datetime({ offset: true }).openapi({ example: '2027-01-31T00:00:00Z' });

const organizationName = z
  .custom<OrganizationName>((value) => typeof value === 'string' && isOrganizationName(value), {
    error: 'must be 1 to 128 lowercase letters and digits, separated by ".", "_" or "-"',
  })
  .openapi({ type: 'string', example: 'alice' });

const credentialName = z
  .string()
  .regex(
    /^[a-z0-9][a-z0-9._-]{0,62}$/,
    'must be 1 to 63 of a-z, 0-9, ".", "_" and "-", and start with a letter or digit',
  )
  .openapi({ example: 'ci' });

/** The part of a repository's name after its organization. */
const repositoryPath = z
  .string()
  .refine(
    (path) => isRepositoryName(`o/${path}`),
    'must be lowercase letters and digits, separated by ".", "_", "__", "-" or "/"',
  )
  .openapi({
    example: 'app',
    description: 'Name of the repository within its organization; encode "/" as %2F in a path',
  });

export const organizationParam = z.object({ organization: organizationName });
export const credentialParam = z.object({ name: credentialName });
export const organizationCredentialParam = organizationParam.extend({ name: credentialName });
export const repositoryParam = organizationParam.extend({ repository: repositoryPath });

export const newOrganization = z.strictObject({ name: organizationName }).openapi('NewOrganization');
export const quotaBytes = z
  .int()
  .nonnegative()
  .nullable()
  .openapi({ example: 10_000_000_000, description: 'Bytes; null for no limit' });

export const organization = z
  .object({ name: organizationName, created_at: time, quota: quotaBytes })
  .openapi('Organization');
export const newQuota = z.strictObject({ bytes: quotaBytes }).openapi('NewQuota');

const rights = z
  .array(z.enum(RIGHTS))
  .min(1, 'needs at least one right')
  .openapi({ example: ['pull', 'push'] });

const pattern = z
  .string()
  .openapi({ example: 'alice/*', description: 'A repository or, with /* at the end, all repositories below a path' });

const expiry = time
  .nullable()
  .optional()
  .openapi({ description: "When the credential expires; null for never. The default is the caller's own expiry" });

const registries = z
  .array(z.string().regex(/^[a-z0-9]+(?:-[a-z0-9]+)*$/, 'must be "central" or the name of a node'))
  .min(1)
  .max(64)
  .openapi({
    example: ['node1'],
    description:
      'The registries where the credential is valid: "central" and names of nodes. The default is those of the caller',
  });

export const newOrganizationCredential = z
  .strictObject({
    name: credentialName,
    rights,
    repositories: z
      .array(pattern)
      .min(1)
      .max(32)
      .optional()
      .openapi({ description: "The default is the caller's own, or all of the organization for an administrator" }),
    registries: registries.optional(),
    expires_at: expiry,
  })
  .openapi('NewOrganizationCredential');

/** Returns the index of the first pattern that is not of the organization; undefined if all are. */
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
    last_used_at: time.nullable().openapi({ description: 'The last use, accurate to an hour' }),
  })
  .openapi('Credential');

export const createdCredential = credential
  .extend({ secret: z.string().openapi({ description: 'The password. It is shown only once, and stored as a hash' }) })
  .openapi('CreatedCredential');

export const caller = z
  .object({
    kind: z.enum(['organization', 'platform', 'administrator']),
    organization: z.string().nullable(),
    rights: z.array(z.enum(RIGHTS)).openapi({ description: 'Rights of an organization credential' }),
    repositories: z.array(pattern).openapi({ description: 'Repositories that the rights are for' }),
    registries: z
      .array(z.object({ name: z.string(), host: z.string() }))
      .openapi({ description: 'Where the credential is valid: central and nodes, with a host of each' }),
    expires_at: time.nullable(),
  })
  .openapi('Caller');

export const visibility = z.enum(['public', 'private']);

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
    manifests: z.int().openapi({ description: 'Live manifests of all its repositories' }),
    manifest_bytes: z.int().openapi({ description: 'Bytes of these manifests, with each distinct one counted once' }),
    tags: z.int(),
    blobs: z.int().openapi({
      description: 'Distinct blobs that manifests of the organization reference, or that none has referenced yet',
    }),
    bytes: z.int().openapi({ description: 'Bytes of these blobs' }),
    used: z
      .int()
      .openapi({ description: 'Bytes that count against the quota: those of manifests, blobs and open uploads' }),
    in_flight: z
      .int()
      .openapi({ description: 'The part of `used` in open uploads and in blobs that no manifest has referenced yet' }),
    quota: quotaBytes,
    limits: z
      .object({
        manifests: z.int(),
        tags: z.int(),
        blobs: z.int().openapi({ description: 'Open uploads count as well' }),
      })
      .openapi({ description: 'The most that the organization may have, with or without a quota' }),
    complete: z.boolean().openapi({
      description: "false if a node's store does not answer. Then everything that only that node knows of is missing",
    }),
  })
  .openapi('Usage');

export const errorBody = z
  .object({
    errors: z.array(z.object({ code: z.string(), message: z.string(), detail: z.record(z.string(), z.unknown()) })),
  })
  .openapi('Errors');

export const storeMaintenance = z
  .object({
    store: z.string(),
    answers: z.boolean().openapi({ description: "Whether the store's database answers. If not, nothing is listed" }),
    tasks: z.array(
      z.object({
        task: z.string(),
        last_slice_at: time.openapi({ description: 'When the task last ran' }),
        next_at: time.openapi({ description: 'When the task may run again. It runs at the next full minute' }),
        round_started_at: time,
        round_ended_at: time
          .nullable()
          .openapi({ description: 'When the task last finished the whole store; null for never' }),
        slices: z.int().openapi({ description: 'Slices of the round in progress or, between rounds, of the last one' }),
        stopped: z.string().nullable().openapi({ description: 'The reason why the task is stopped, or null' }),
      }),
    ),
    counters: z
      .record(z.string(), z.int())
      .openapi({ description: 'The work that maintenance has done on the store so far' }),
  })
  .openapi('StoreMaintenance');

export const damagedBlob = z
  .object({
    digest: z.string(),
    store: z.string().openapi({ description: 'The store whose object is damaged' }),
    problem: z.enum(['missing', 'wrong bytes']),
    lost: z.boolean().openapi({ description: 'Whether no store has sound bytes. Maintenance repairs the others' }),
    repository: z
      .string()
      .nullable()
      .openapi({ description: 'One of the repositories with the blob; null if none has it any more' }),
  })
  .openapi('DamagedBlob');

const health = z.enum(['ok', 'unavailable']);

export const deployment = z
  .object({
    registries: z.array(
      z.object({
        name: z.string().openapi({ description: '"central", or the name of a node' }),
        hosts: z.array(z.string()).openapi({
          description: 'As in the configuration: a host name, <host>:<port>, or :<port> for any name',
        }),
        store: z.string(),
      }),
    ),
    stores: z.array(
      z.object({
        store: z.string(),
        database: health,
        bucket: health,
        missing_migrations: z.array(z.string()).nullable().openapi({
          description: "Migrations of the deployed code that the database lacks; null if that can't be read",
        }),
      }),
    ),
    secrets: z.array(z.string()).openapi({ description: 'The names of the secrets that are set' }),
    console: z.array(z.string()).openapi({ description: 'The hosts of the console, written like those of registries' }),
  })
  .openapi('Deployment');
