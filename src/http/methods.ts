/**
 * Which methods a path has, as the routes themselves say: for 405, Allow and OPTIONS (RFC 9110 §9.3.7, §10.2.1,
 * §15.5.6).
 */
import type { Hono, MiddlewareHandler } from 'hono';
import { createMiddleware } from 'hono/factory';
import { OciError } from '../oci/errors.ts';
import type { AppContext, AppEnv } from './context.ts';

/** Methods that routes are made of. HEAD comes with GET, OPTIONS with any. */
const ROUTED = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'] as const;

/** Hono registers what runs for every method, middleware above all, as this. */
const EVERY_METHOD = 'ALL';

/** Empty for a path that does not exist. */
export function methodsOf(app: Hono<AppEnv>, path: string): string[] {
  const routed = ROUTED.filter((method) => {
    const [matches] = app.router.match(method, path);
    return matches.some(([[, route]]) => route.method !== EVERY_METHOD);
  });
  if (routed.length === 0) return [];
  return [...routed.flatMap((method) => (method === 'GET' ? ['GET', 'HEAD'] : [method])), 'OPTIONS'];
}

/**
 * Says with OPTIONS and with every 405 which methods there are. A 405 leaves out the one that it refuses, which the
 * path may have at other times.
 */
export function sayMethods(app: Hono<AppEnv>): MiddlewareHandler<AppEnv> {
  return async (c, next) => {
    if (c.req.method === 'OPTIONS') {
      const methods = methodsOf(app, c.req.path);
      if (methods.length === 0) return c.notFound();
      c.header('Allow', methods.join(', '));
    }
    await next();
    if (c.res.status !== 405) return;
    const others = methodsOf(app, c.req.path).filter((method) => method !== c.req.method);
    c.res.headers.set('Allow', others.join(', '));
  };
}

/** Needs no login: which routes there are is no secret. {@link sayMethods} has written the answer's headers. */
export const answerOptions = createMiddleware<AppEnv>(async (c, next) =>
  c.req.method === 'OPTIONS' ? c.body(null, 204) : next(),
);

/** What is wrong with a request that no route takes. */
export function noRoute(app: Hono<AppEnv>, c: AppContext): OciError {
  return new OciError(methodsOf(app, c.req.path).length > 0 ? 'METHOD_UNSUPPORTED' : 'ROUTE_UNKNOWN');
}
