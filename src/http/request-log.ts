import { createMiddleware } from 'hono/factory';
import { logLine } from '../log.ts';
import { type Namespace, namespaceName } from '../namespaces/namespace.ts';
import type { AppContext, AppEnv, Runtime } from './context.ts';
import { loggedPath } from './logged-path.ts';

/**
 * Gives every request an id, which its response, error bodies and log line carry, and writes the log line as JSON. The
 * line has the path and the outcome, but never headers, the query or a body, since these can hold secrets. Errors and
 * writes always have a line. The configuration may ask for a line for only one in n successful reads. That line has the
 * field `weight`, which is n.
 */
export const requestLog = createMiddleware<AppEnv>(async (c, next) => {
  const started = Date.now();
  const requestId = c.req.header('cf-ray') ?? crypto.randomUUID();
  const fields: Record<string, string | number> = {};
  const { host } = c.get('url');
  c.set('requestId', requestId);
  c.set('logFields', fields);
  await next();
  c.res.headers.set('X-Request-Id', requestId);
  const { method, path } = c.req;
  const [{ status }, ms] = [c.res, Date.now() - started];
  const weight = weightOf(c, status);
  if (weight === 1 || Math.random() * weight < 1) {
    const counted = weight === 1 ? {} : { weight };
    logLine({ requestId, method, host, path: loggedPath(path), status, ms, ...counted, ...fields });
  }
  // Dashboards count requests by route, status and host, and the console counts pulls. The binding is optional. A
  // stranger can make up the name of a repository, but then the request fails.
  const { REQUESTS: requests } = c.env as { REQUESTS?: AnalyticsEngineDataset };
  requests?.writeDataPoint({
    indexes: [host],
    blobs: [
      routeOf(path),
      method,
      String(status),
      host,
      namespaceOf(c),
      status < 400 ? String(fields['repository'] ?? '') : '',
    ],
    doubles: [ms],
  });
});

const READS: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS']);

/** Returns the number of requests that the log line of this one stands for. */
function weightOf(c: AppContext, status: number): number {
  if (status >= 400 || !READS.has(c.req.method)) return 1;
  const runtime = c.get('runtime') as Runtime | undefined;
  return runtime?.config.readsPerLogLine ?? 1;
}

const ROUTES: readonly (readonly [route: string, path: RegExp])[] = [
  ['uploads', /^\/v2\/[^]+\/blobs\/uploads(?:\/[^/]*)?$/],
  ['blobs', /^\/v2\/[^]+\/blobs\/[^/]+$/],
  ['manifests', /^\/v2\/[^]+\/manifests\/[^/]+$/],
  ['tags', /^\/v2\/[^]+\/tags\/list$/],
  ['referrers', /^\/v2\/[^]+\/referrers\/[^/]+$/],
  ['catalog', /^\/v2\/_catalog$/],
  ['v2', /^\/v2\/?$/],
  ['token', /^\/token$/],
  ['platform images', /^\/v1\/(?:images(?:\/list)?|image-store)$/],
  ['platform', /^\/(?:v1|api\/v2\.0)\//],
  ['api', /^\/api\//],
  ['healthz', /^\/healthz$/],
  ['metrics', /^\/metrics$/],
];

/**
 * Returns the kind of route without names, because a dataset has room for few distinct values.
 * @param path as the router has it, since both must see the same path
 */
export function routeOf(path: string): string {
  return ROUTES.find(([, pattern]) => pattern.test(path))?.[0] ?? 'other';
}

/** Returns the namespace's name; '' if the host is unknown or the configuration is invalid. */
function namespaceOf(c: AppContext): string {
  const namespace = c.get('namespace') as Namespace | undefined;
  return namespace === undefined ? '' : namespaceName(namespace);
}
