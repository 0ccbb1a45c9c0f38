import { createMiddleware } from 'hono/factory';
import { isLoopback } from '../config.ts';
import type { ConsoleEnv } from './context.ts';

/** The console's host in local runs. */
export const LOCAL_HOST = 'console.localhost';

/**
 * Redirects a local reader to {@link LOCAL_HOST}. All ports of `localhost` share cookies (RFC 6265 §8.5), so the
 * registries there would get the console's.
 */
export const canonicalHost = createMiddleware<ConsoleEnv>(async (c, next) => {
  const { url } = c.env;
  if (isLoopback(url.hostname) && url.hostname !== LOCAL_HOST) {
    const there = new URL(url);
    there.hostname = LOCAL_HOST;
    return c.redirect(there.href, 307);
  }
  await next();
  return undefined;
});
