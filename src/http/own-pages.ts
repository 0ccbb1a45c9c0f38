/**
 * A browser sends the password that it remembers for a registry with every request to it, whichever site's page makes
 * the request: a form on another site could act as its user. So a page of another origin changes nothing.
 */
import { createMiddleware } from 'hono/factory';
import { OciError } from '../oci/errors.ts';
import type { AppContext, AppEnv } from './context.ts';

/** Methods that change nothing (RFC 9110 §9.2.1). */
const SAFE_METHODS: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS']);

/** Values of Sec-Fetch-Site for pages of other origins (Fetch Metadata §2.3). */
const OTHER_SITES: ReadonlySet<string> = new Set(['cross-site', 'same-site']);

/** Clients other than browsers send neither header. @throws OciError DENIED */
export const ownPagesOnly = createMiddleware<AppEnv>(async (c, next) => {
  if (!SAFE_METHODS.has(c.req.method) && isOfOtherPage(c)) {
    throw new OciError('DENIED', {
      message: `a page of another origin may change nothing here: send this from a page of ${c.get('url').host}, or without a browser`,
    });
  }
  await next();
});

function isOfOtherPage(c: AppContext): boolean {
  if (OTHER_SITES.has(c.req.header('Sec-Fetch-Site') ?? '')) return true;
  const origin = c.req.header('Origin');
  // `null` is the origin of a sandboxed page. The scheme is not compared: a proxy may have ended TLS.
  return origin !== undefined && URL.parse(origin)?.host !== c.get('url').host;
}
