import { createMiddleware } from 'hono/factory';
import type { AppEnv } from './context.ts';

/**
 * For answers that can show a secret, and for errors instead of them: nobody on the way keeps a copy (RFC 9111
 * §5.2.2.5).
 */
export const noStore = createMiddleware<AppEnv>(async (c, next) => {
  await next();
  c.res.headers.set('Cache-Control', 'no-store');
});
