/** The schemas of imports. Like `schemas.ts`, they import nothing that needs the Workers runtime. */
import { z } from '@hono/zod-openapi';
import { PRESET_NAMES } from '../../upstream/presets.ts';
import { organizationParam, time } from './schemas.ts';

export const importParam = organizationParam.extend({
  import: z.uuid().openapi({ description: 'The id of an import' }),
});

const names = (what: string, example: string) =>
  z
    .array(z.string().min(1).max(255))
    .min(1)
    .max(100)
    .openapi({ example: [example], description: `${what}, or patterns of them: * stands for any characters` });

export const upstreamAddress = z
  .string()
  .min(1)
  .max(300)
  .openapi({
    example: 'https://registry.example.com',
    description: `The URL of a registry, or one of ${PRESET_NAMES}`,
  });
export const upstreamUser = z
  .string()
  .min(1)
  .max(255)
  .regex(/^[^:]*$/, 'must not have a colon');
export const loginHost = z
  .string()
  .regex(/^[a-z0-9.-]+(?::\d{1,5})?$/, 'must be <host> or <host>:<port>')
  .openapi({ description: "The host of the token service, if it is not the registry's" });

export const newImport = z
  .strictObject({
    from: upstreamAddress,
    credential: z
      .strictObject({
        user: upstreamUser,
        secret: z.string().min(1).max(8192),
        login_host: loginHost.optional(),
      })
      .optional()
      .openapi({ description: 'Kept until the import ends, and never shown' }),
    repositories: names('Names of repositories at the upstream', 'team/*'),
    tags: names('Tags', 'v1.*').default(['*']),
    platforms: z
      .array(z.string().regex(/^[a-z0-9]+\/[a-z0-9_]+(?:\/[a-z0-9.]+)?$/, 'must be like linux/amd64 or linux/arm/v7'))
      .min(1)
      .max(20)
      .optional()
      .openapi({ description: 'The platforms to copy from an index; all by default' }),
    referrers: z
      .boolean()
      .default(false)
      .openapi({ description: 'Whether to copy signatures and other referrers, too' }),
    as: z
      .string()
      .min(1)
      .max(255)
      .default('*')
      .openapi({ example: 'mirror/*', description: "The name in the organization. * stands for the upstream's name" }),
    every_seconds: z
      .int()
      .min(300)
      .max(2_592_000)
      .optional()
      .openapi({ example: 3600, description: 'Keeps the copy in step: the import runs again at this interval' }),
    prune: z
      .boolean()
      .default(false)
      .openapi({ description: 'Whether to remove tags that the import has set, once the upstream has removed them' }),
    dry_run: z
      .boolean()
      .default(false)
      .openapi({ description: 'Whether to only count the images and bytes, without copying them' }),
  })
  .openapi('NewImport');

const amount = z.object({
  done: z.int(),
  total: z.int().openapi({ description: 'The number known so far. It grows while lists are read' }),
});
const copied = z.object({
  copied: z.int(),
  present: z.int().openapi({ description: 'The organization had them already' }),
});

export const importReport = z
  .object({
    id: z.uuid(),
    state: z.enum(['running', 'waiting', 'done', 'failed', 'cancelled']),
    error: z.string().nullable().openapi({ description: 'Why the import, or its last run, failed' }),
    created_at: time,
    ended_at: time.nullable(),
    waits_until: time.nullable().openapi({ description: 'When the import continues, if it waits for the upstream' }),
    every_seconds: z.int().nullable().openapi({ description: 'The interval of its runs; null for one run' }),
    last_run_at: time.nullable().openapi({ description: 'When the last run ended, if the import is kept in step' }),
    next_run_at: time.nullable().openapi({ description: 'When the next run is due, if the import waits for it' }),
    from: z.string(),
    prune: z.boolean(),
    dry_run: z.boolean(),
    repositories: amount,
    tags: amount,
    removed: z.int().openapi({ description: 'The number of tags that were removed' }),
    manifests: copied,
    blobs: copied,
    bytes: amount.openapi({ description: 'Bytes of the blobs that are copied' }),
    skipped: z.int().openapi({ description: 'The number of repositories and images that were skipped' }),
    report: z
      .array(z.object({ what: z.string(), reason: z.string() }))
      .openapi({ description: 'The first 100 of them, each with its reason' }),
  })
  .openapi('Import');

/** An entry of a list of imports. */
export const importSummary = importReport.omit({ report: true }).openapi('ImportSummary');
