/** `GET /v1/auth`: whose token it is, and where its images are pushed to. */
import type { Hono } from 'hono';
import type { AppEnv } from '../context.ts';
import { callerOf } from './caller.ts';
import { registryHost } from './hosts.ts';

export function whoRoutes(platform: Hono<AppEnv>): void {
  platform.get('/v1/auth', (c) => {
    const caller = callerOf(c);
    // Empty for who belongs to none: a platform credential, an administrator.
    const organization = caller.kind === 'organization' ? caller.organization : '';
    const data = { organization_name: organization, registry: registryHost(c, c.get('runtime').config.central) };
    return c.json({ status: 'success', data }, 200, { 'Cache-Control': 'no-store' });
  });
}
