/** The schemas of mirrors. Like `schemas.ts`, they import nothing that needs the Workers runtime. */
import { z } from '@hono/zod-openapi';
import { loginHost, upstreamAddress, upstreamUser } from './import-schemas.ts';
import { time } from './schemas.ts';

const MAX_SECONDS = 10 * 366 * 86_400;

const repositories = z
  .array(z.string().min(1).max(255))
  .min(1)
  .max(100)
  .openapi({
    example: ['library/*'],
    description: 'Names below the organization, or patterns of them: * stands for any characters',
  });

export const PUSHES = ['refused', 'kept', 'forwarded'] as const;

const settings = {
  from: upstreamAddress,
  login_host: loginHost.nullable(),
  prefix: z
    .string()
    .max(255)
    .openapi({ example: 'team/apps', description: "The path before a repository's name at the upstream" }),
  username: upstreamUser.nullable().openapi({ description: 'The user of the upstream; null to log in as nobody' }),
  repositories,
  ttl_seconds: z
    .int()
    .nonnegative()
    .max(MAX_SECONDS)
    .openapi({ description: 'How long a tag is served without asking the upstream; 0 asks every time' }),
  stale_seconds: z
    .int()
    .nonnegative()
    .max(MAX_SECONDS)
    .nullable()
    .openapi({ description: 'For how long after that a tag is served while the upstream fails; null for ever' }),
  expires_seconds: z
    .int()
    .min(86_400)
    .max(MAX_SECONDS)
    .nullable()
    .openapi({ description: 'For how long an image that nobody pulls is kept; null for ever' }),
  pushes: z.enum(PUSHES).openapi({ description: 'Whether pushes are refused, stay here, or are forwarded' }),
  public: z.boolean().openapi({ description: 'Whether anybody may pull from it without a login' }),
};

export const newMirror = z
  .strictObject({
    from: settings.from,
    login_host: settings.login_host.default(null),
    prefix: settings.prefix.default(''),
    username: settings.username.default(null),
    password: z.string().min(1).max(8192).optional().openapi({
      description: 'Never shown. A stored one is kept if `from`, `login_host` and `username` stay as they are',
    }),
    repositories: repositories.default(['*']),
    ttl_seconds: settings.ttl_seconds.default(900),
    stale_seconds: settings.stale_seconds.default(604_800),
    expires_seconds: settings.expires_seconds.default(null),
    pushes: settings.pushes.default('refused'),
    public: settings.public.default(false),
  })
  .openapi('NewMirror');

export const mirrorStatus = z
  .object({
    tags: z.int().openapi({ description: 'The number of tags that the mirror knows' }),
    waiting: z.int().openapi({ description: 'The number of images that wait to be stored' }),
    failure: z.string().nullable().openapi({ description: 'Why the upstream is not asked now; null if it is' }),
    asked_again_at: time.nullable(),
    pulls: z
      .object({
        limit: z.int(),
        remaining: z.int(),
        seconds: z.int().openapi({ description: 'The time that the limit is for' }),
        at: time.openapi({ description: 'When the upstream stated it' }),
      })
      .nullable()
      .openapi({ description: "The upstream's limit of pulls; null if it has not stated one lately" }),
    pushes: z
      .object({
        pending: z.int().openapi({ description: 'The upstream lacks the manifest' }),
        announced: z.int().openapi({ description: 'The upstream has taken the manifest' }),
        settled: z.int().openapi({ description: 'The upstream shows the manifest; counted since the mirror was set' }),
        parked: z.int().openapi({ description: 'Not tried any more until somebody asks for it' }),
      })
      .openapi({ description: 'Forwarded pushes to this registry, by state' }),
    parked: z
      .array(
        z.object({
          repository: z.string(),
          tag: z.string().nullable(),
          digest: z.string(),
          attempts: z.int(),
          reason: z.string(),
        }),
      )
      .openapi({ description: 'The parked pushes, at most 100, oldest first' }),
  })
  .openapi('MirrorStatus');

export const mirror = z.object({ organization: z.string(), ...settings, changed_at: time }).openapi('Mirror');
