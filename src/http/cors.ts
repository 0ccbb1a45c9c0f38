/**
 * Lets pages of other origins read what their user may read, if the operator lists the origin. Registry browsers run as
 * such pages. They can never write, and the browser adds no cookies or logins of its own to their requests.
 */
import { cors } from 'hono/cors';
import { createMiddleware } from 'hono/factory';
import type { AppContext, AppEnv } from './context.ts';

/** GET includes `GET /token`, by which a page logs its user in. */
const READ_METHODS = ['GET', 'HEAD'];

/** Request headers that a browser would not send otherwise (Fetch, "CORS-safelisted request-header"). */
const REQUEST_HEADERS = ['Authorization', 'Accept', 'Range', 'If-Range', 'If-None-Match'];

/** Response headers that a page could not read otherwise (Fetch, "CORS-safelisted response-header name"). */
const ANSWER_HEADERS = [
  'Accept-Ranges',
  'Content-Range',
  'Docker-Content-Digest',
  'Docker-Distribution-API-Version',
  'ETag',
  'Link',
  'OCI-Filters-Applied',
  'Retry-After',
  'WWW-Authenticate',
  'X-Request-Id',
];

/** Seconds for which a browser may cache the preflight's answer. Chromium caches it for two hours at most. */
const MAX_AGE = 7200;

const readable = cors({
  origin: (origin, c: AppContext) => (originsOf(c).includes(origin) ? origin : null),
  allowMethods: READ_METHODS,
  allowHeaders: REQUEST_HEADERS,
  exposeHeaders: ANSWER_HEADERS,
  maxAge: MAX_AGE,
});

/** Adds the CORS headers to answers of reads and, if any origin is listed, answers preflight requests. */
export const readableByListedOrigins = createMiddleware<AppEnv>(async (c, next) => {
  const isRead = c.req.method === 'OPTIONS' || READ_METHODS.includes(c.req.method);
  return originsOf(c).length === 0 || !isRead ? next() : readable(c, next);
});

function originsOf(c: AppContext): readonly string[] {
  return c.get('runtime').config.corsOrigins;
}
