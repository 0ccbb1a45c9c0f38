/**
 * Pages of other origins may read what their user may read, if the operator lists the origin: registry browsers run in
 * the page. They never write, and no cookie or login of the browser's goes with their requests.
 */
import { cors } from 'hono/cors';
import { createMiddleware } from 'hono/factory';
import type { AppContext, AppEnv } from './context.ts';

/** `GET /token` included: a page logs its user in by it. */
const READ_METHODS = ['GET', 'HEAD'];

/** Headers of requests that a browser would otherwise hold back (Fetch, "CORS-safelisted request-header"). */
const REQUEST_HEADERS = ['Authorization', 'Accept', 'Range', 'If-Range', 'If-None-Match'];

/** Headers of answers that a page would otherwise not see (Fetch, "CORS-safelisted response-header name"). */
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

/** Seconds for which a browser need not ask again. Chromium keeps an answer for two hours at most. */
const MAX_AGE = 7200;

const readable = cors({
  origin: (origin, c: AppContext) => (originsOf(c).includes(origin) ? origin : null),
  allowMethods: READ_METHODS,
  allowHeaders: REQUEST_HEADERS,
  exposeHeaders: ANSWER_HEADERS,
  maxAge: MAX_AGE,
});

/** Answers OPTIONS as well, where any origin is listed. */
export const readableElsewhere = createMiddleware<AppEnv>(async (c, next) => {
  const isRead = c.req.method === 'OPTIONS' || READ_METHODS.includes(c.req.method);
  return originsOf(c).length === 0 || !isRead ? next() : readable(c, next);
});

function originsOf(c: AppContext): readonly string[] {
  return c.get('runtime').config.corsOrigins;
}
