/**
 * Refuses changes requested by pages of other origins. A browser adds the password that it remembers for a registry to
 * every request, whichever site's page makes it, so a form on another site could act as the user.
 */
import { createMiddleware } from 'hono/factory';
import { OciError } from '../oci/errors.ts';
import type { AppContext, AppEnv } from './context.ts';

/** Methods that change nothing (RFC 9110 §9.2.1). */
const SAFE_METHODS: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS']);

/** Values of Sec-Fetch-Site that mean a page of another origin (Fetch Metadata §2.3). */
const OTHER_SITES: ReadonlySet<string> = new Set(['cross-site', 'same-site']);

/** Lets clients other than browsers pass: they send neither Sec-Fetch-Site nor Origin. @throws OciError DENIED */
export const ownPagesOnly = createMiddleware<AppEnv>(async (c, next) => {
  if (!SAFE_METHODS.has(c.req.method) && isOfOtherPage(c)) {
    throw new OciError('DENIED', {
      message:
        'a page of another origin may not change anything here: ' +
        `send this from a page of ${c.get('url').host}, or without a browser`,
    });
  }
  await next();
});

function isOfOtherPage(c: AppContext): boolean {
  if (OTHER_SITES.has(c.req.header('Sec-Fetch-Site') ?? '')) return true;
  const origin = c.req.header('Origin');
  // A sandboxed page has the origin `null`. The schemes may differ, because a proxy may have terminated TLS.
  return origin !== undefined && URL.parse(origin)?.host !== c.get('url').host;
}
