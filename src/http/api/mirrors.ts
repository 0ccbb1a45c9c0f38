/** Mirrors: organizations whose repositories are pulled from another registry. */
import { type OpenAPIHono, z } from '@hono/zod-openapi';
import { Mirrors, type MirrorSummary } from '../../auth/mirrors.ts';
import { forgetMirrorLists, retryPushes, statusOf } from '../../mirror/upstreams.ts';
import type { AppContext, AppEnv } from '../context.ts';
import { formatTime } from './administration.ts';
import { callerAsActor, requireAdministrator, requireAdministratorOf, requireValidAt } from './caller.ts';
import { body, describe, json } from './describe.ts';
import { mirror, mirrorStatus, newMirror } from './mirror-schemas.ts';
import { organizationParam } from './schemas.ts';

const MIRROR = '/api/organizations/{organization}/mirror';

export function mirrorRoutes(api: OpenAPIHono<AppEnv>): void {
  const list = describe(
    'get',
    '/api/mirrors',
    'List the organizations that are mirrors',
    {},
    {
      200: {
        description: 'At most 100, in order of their organizations',
        ...json(z.object({ mirrors: z.array(mirror) })),
      },
    },
  );
  api.openapi(list, async (c) => {
    requireAdministrator(c);
    return c.json({ mirrors: (await mirrorsOf(c).all()).map(shown) }, 200);
  });

  const get = describe(
    'get',
    MIRROR,
    'Show the settings of a mirror',
    { params: organizationParam },
    { 200: { description: 'The mirror, without its password', ...json(mirror) } },
  );
  api.openapi(get, async (c) => {
    const { organization } = c.req.valid('param');
    requireAdministratorOf(c, organization);
    return c.json(shown(await mirrorsOf(c).of(organization)), 200);
  });

  const getStatus = describe(
    'get',
    `${MIRROR}/status`,
    'Show the state of a mirror at the registry that is asked',
    { params: organizationParam },
    { 200: { description: 'The state at this registry', ...json(mirrorStatus) } },
  );
  api.openapi(getStatus, async (c) => {
    const { organization } = c.req.valid('param');
    requireAdministratorOf(c, organization);
    const namespace = c.get('namespace');
    await mirrorsOf(c).requireAt(namespace, organization);
    const status = await statusOf(c.env, organization, namespace);
    const { tags, waiting, failure, askedAgainAt, rateLimit } = status;
    const pulls = rateLimit && { ...rateLimit, at: formatTime(rateLimit.at) };
    const again = askedAgainAt === undefined ? null : formatTime(askedAgainAt);
    const shownStatus = {
      tags,
      waiting,
      failure: failure ?? null,
      asked_again_at: again,
      pulls: pulls ?? null,
      pushes: status.pushes,
      parked: status.parked.map(({ repository, tag, digest, attempts, reason }) => ({
        repository,
        tag: tag ?? null,
        digest,
        attempts,
        reason,
      })),
    };
    return c.json(shownStatus, 200);
  });

  const retry = describe(
    'post',
    `${MIRROR}/retry`,
    'Retry the failed and parked pushes to a mirror at this registry',
    { params: organizationParam },
    { 200: { description: 'The number of pushes that are retried', ...json(z.object({ retried: z.int() })) } },
  );
  api.openapi(retry, async (c) => {
    const { organization } = c.req.valid('param');
    requireAdministratorOf(c, organization);
    const namespace = c.get('namespace');
    await mirrorsOf(c).requireAt(namespace, organization);
    return c.json({ retried: await retryPushes(c.env, organization, namespace) }, 200);
  });

  const put = describe(
    'put',
    MIRROR,
    'Make an organization a mirror, or replace its settings',
    { params: organizationParam, ...body(newMirror) },
    { 200: { description: 'The mirror, without its password', ...json(mirror) } },
  );
  api.openapi(put, async (c) => {
    requireAdministrator(c);
    requireValidAt(c);
    const { organization } = c.req.valid('param');
    const { from, login_host, prefix, username, password, repositories, ...asked } = c.req.valid('json');
    const made = {
      organization,
      from,
      loginHost: login_host ?? undefined,
      prefix,
      username: username ?? undefined,
      password,
      repositories,
      ttl: asked.ttl_seconds * 1000,
      stale: (asked.stale_seconds ?? Infinity) * 1000,
      expires: (asked.expires_seconds ?? Infinity) * 1000,
      pushes: asked.pushes,
      isPublic: asked.public,
    };
    const set = await mirrorsOf(c).set(made, callerAsActor(c));
    forgetMirrorLists(c.env);
    return c.json(shown(set), 200);
  });

  const remove = describe(
    'delete',
    MIRROR,
    'Make a mirror an ordinary organization, which keeps its images',
    { params: organizationParam },
    { 204: { description: 'It is not a mirror any more' } },
  );
  api.openapi(remove, async (c) => {
    requireAdministrator(c);
    requireValidAt(c);
    await mirrorsOf(c).remove(c.req.valid('param').organization, callerAsActor(c));
    forgetMirrorLists(c.env);
    return c.body(null, 204);
  });
}

function mirrorsOf(c: AppContext): Mirrors {
  const { config } = c.get('runtime');
  return new Mirrors(config, c.env, () => c.get('queues').wake(config.central.store));
}

function shown(mirrored: MirrorSummary): z.infer<typeof mirror> {
  const { organization, from, loginHost, prefix, username, repositories, ttl, stale, expires, changedAt } = mirrored;
  return {
    organization,
    from,
    login_host: loginHost ?? null,
    prefix,
    username: username ?? null,
    repositories: [...repositories],
    ttl_seconds: ttl / 1000,
    stale_seconds: stale === Infinity ? null : stale / 1000,
    expires_seconds: expires === Infinity ? null : expires / 1000,
    pushes: mirrored.pushes,
    public: mirrored.isPublic,
    changed_at: formatTime(changedAt),
  };
}
