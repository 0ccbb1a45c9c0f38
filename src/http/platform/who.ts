/** `GET /v1/auth`: tells a client whose token it has, and where to push images. */
import type { Hono } from 'hono';
import type { AppEnv } from '../context.ts';
import { callerOf } from './caller.ts';
import { registryHost } from './hosts.ts';

export function whoRoutes(platform: Hono<AppEnv>): void {
  platform.get('/v1/auth', (c) => {
    const caller = callerOf(c);
    // Empty for platform and administrator credentials, which belong to no organization.
    const organization = caller.kind === 'organization' ? caller.organization : '';
    const data = { organization_name: organization, registry: registryHost(c, c.get('runtime').config.central) };
    return c.json({ status: 'success', data }, 200, { 'Cache-Control': 'no-store' });
  });
}
