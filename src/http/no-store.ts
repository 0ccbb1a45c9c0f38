import { createMiddleware } from 'hono/factory';
import type { AppEnv } from './context.ts';

/**
 * Tells caches not to keep the answers of a route (RFC 9111 §5.2.2.5), because they can contain a secret. This covers
 * the route's errors, too.
 */
export const noStore = createMiddleware<AppEnv>(async (c, next) => {
  await next();
  c.res.headers.set('Cache-Control', 'no-store');
});
