import { createMiddleware } from 'hono/factory';
import type { AppEnv } from './context.ts';

/**
 * Forbids caches to keep the answer (RFC 9111 §5.2.2.5), for routes whose answers can show a secret. Their errors are
 * not cached either.
 */
export const noStore = createMiddleware<AppEnv>(async (c, next) => {
  await next();
  c.res.headers.set('Cache-Control', 'no-store');
});
