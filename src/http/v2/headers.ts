import { createMiddleware } from 'hono/factory';
import type { AppEnv } from '../context.ts';

/** Headers of every answer under `/v2/`, whoever gives it: errors, challenges and unknown paths too. */
export const v2Headers = createMiddleware<AppEnv>(async (c, next) => {
  await next();
  const { headers } = c.res;
  // docker before 23 takes a registry for one of version 1 whose challenge lacks it.
  headers.set('Docker-Distribution-API-Version', 'registry/2.0');
  // Manifests come with the media type that they were pushed with, which can be that of a page: a browser runs nothing
  // of it.
  headers.set('Content-Security-Policy', "default-src 'none'; sandbox");
  headers.set('X-Content-Type-Options', 'nosniff');
});
