/**
 * Finds the methods of a path in the router, for 405, Allow and OPTIONS (RFC 9110 §9.3.7, §10.2.1, §15.5.6).
 */
import type { Hono, MiddlewareHandler } from 'hono';
import { createMiddleware } from 'hono/factory';
import { OciError } from '../oci/errors.ts';
import type { AppContext, AppEnv } from './context.ts';
import { EVERY_METHOD } from './router.ts';

/** Methods that routes register. HEAD comes with GET, and OPTIONS with any of them. */
const ROUTED = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'] as const;

/** Returns the methods of a path; none if no route matches it. */
function methodsOf(app: Hono<AppEnv>, path: string): string[] {
  const routed = ROUTED.filter((method) => {
    const [matches] = app.router.match(method, path);
    return matches.some(([[, route]]) => route.method !== EVERY_METHOD);
  });
  if (routed.length === 0) return [];
  return [...routed.flatMap((method) => (method === 'GET' ? ['GET', 'HEAD'] : [method])), 'OPTIONS'];
}

/**
 * Adds Allow to the answer of OPTIONS and to every 405. On a 405 it leaves out the refused method, which may have a
 * route: DELETE of a blob that is in use answers 405.
 */
export function addAllow(app: Hono<AppEnv>): MiddlewareHandler<AppEnv> {
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

/** Answers OPTIONS without a login, because the routes are no secret. {@link addAllow} has set the headers. */
export const answerOptions = createMiddleware<AppEnv>(async (c, next) =>
  c.req.method === 'OPTIONS' ? c.body(null, 204) : next(),
);

/** Returns the error for a request that no route matches. */
export function noRoute(app: Hono<AppEnv>, c: AppContext): OciError {
  return new OciError(methodsOf(app, c.req.path).length > 0 ? 'METHOD_UNSUPPORTED' : 'ROUTE_UNKNOWN');
}
