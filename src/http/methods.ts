/**
 * Finds the methods of a path in the router, for 405, Allow and OPTIONS (RFC 9110 §9.3.7, §10.2.1, §15.5.6).
 */
import type { Hono, MiddlewareHandler } from 'hono';
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

/** Sets Allow for the answer to OPTIONS, or answers 404 if no route has the path. */
export function allowOptions(app: Hono<AppEnv>): MiddlewareHandler<AppEnv> {
  return async (c, next) => {
    const methods = methodsOf(app, c.req.path);
    if (methods.length === 0) return c.notFound();
    c.header('Allow', methods.join(', '));
    await next();
  };
}

/** Answers OPTIONS without a login, because the routes are not secret. {@link allowOptions} has set the headers. */
export function answerOptions(c: AppContext): Response {
  return c.body(null, 204);
}

/**
 * Adds Allow to a 405. It leaves out the refused method, which may have a route: DELETE of a blob that is in use
 * answers 405.
 */
export function addAllow(app: Hono<AppEnv>, c: AppContext, answer: Response): Response {
  if (answer.status !== 405) return answer;
  const others = methodsOf(app, c.req.path).filter((method) => method !== c.req.method);
  answer.headers.set('Allow', others.join(', '));
  return answer;
}

/** Returns the error for a request that no route matches. */
export function noRoute(app: Hono<AppEnv>, c: AppContext): OciError {
  return new OciError(methodsOf(app, c.req.path).length > 0 ? 'METHOD_UNSUPPORTED' : 'ROUTE_UNKNOWN');
}
