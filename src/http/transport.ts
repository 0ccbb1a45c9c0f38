import { createMiddleware } from 'hono/factory';
import { isLoopback } from '../config.ts';
import { OciError } from '../oci/errors.ts';
import type { AppEnv } from './context.ts';

/** One year, in seconds. It does not cover subdomains: that is for the operator to decide. */
const STRICT_TRANSPORT_SECURITY = 'max-age=31536000';

/**
 * Refuses plain HTTP, except to hosts whose connections never leave the machine. It does so before anything looks at
 * the request, because a challenge would make the client send its password, which anyone on the way could read. Over
 * HTTPS it tells browsers to use HTTPS only; RFC 6797 §7.2 forbids this header over plain HTTP.
 * @throws OciError HTTPS_REQUIRED
 */
export const encryptedOnly = createMiddleware<AppEnv>(async (c, next) => {
  const { protocol, hostname } = c.get('url');
  if (protocol !== 'https:' && !isLoopback(hostname)) throw new OciError('HTTPS_REQUIRED');
  await next();
  if (protocol === 'https:') c.res.headers.set('Strict-Transport-Security', STRICT_TRANSPORT_SECURITY);
});
