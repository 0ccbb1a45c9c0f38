import { createMiddleware } from 'hono/factory';
import type { AppEnv } from '../context.ts';
import { showPathsWithin } from '../mirror-host.ts';

/** Sets the headers of every answer under `/v2/`, including errors, challenges and unknown paths. */
export const v2Headers = createMiddleware<AppEnv>(async (c, next) => {
  await next();
  const { headers } = c.res;
  const organization = c.get('mirrorOrganization');
  if (organization !== undefined) showPathsWithin(organization, headers);
  // If a challenge lacks this header, docker before version 23 mistakes the registry for a v1 registry.
  headers.set('Docker-Distribution-API-Version', 'registry/2.0');
  // A manifest is served with the media type that it was pushed with. If that is text/html, the browser must run
  // nothing.
  headers.set('Content-Security-Policy', "default-src 'none'; sandbox");
  headers.set('X-Content-Type-Options', 'nosniff');
});
