/** `GET /v1/auth`: whose token it is, and where its images are pushed to. */
import type { Hono } from 'hono';
import type { AppContext, AppEnv } from '../context.ts';
import { callerOf } from './caller.ts';

export function whoRoutes(platform: Hono<AppEnv>): void {
  platform.get('/v1/auth', (c) => {
    const caller = callerOf(c);
    // Empty for who belongs to none: a platform credential, an administrator.
    const organization = caller.kind === 'organization' ? caller.organization : '';
    const data = { organization_name: organization, registry: centralHost(c) };
    return c.json({ status: 'success', data }, 200, { 'Cache-Control': 'no-store' });
  });
}

/** Central's host as the caller can reach it: a host without a name is the asked one, at another port. */
function centralHost(c: AppContext): string {
  const { host, hostname } = c.get('url');
  if (c.get('namespace').kind === 'central') return host;
  const hosts = c.get('runtime').config.hosts.flatMap((served) => (served.namespace.kind === 'central' ? [served.host] : []));
  const named = hosts.find((each) => !each.startsWith(':'));
  return named ?? `${hostname}${hosts[0] ?? ''}`;
}
