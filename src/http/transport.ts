import { createMiddleware } from 'hono/factory';
import { isLoopback } from '../config.ts';
import { OciError } from '../oci/errors.ts';
import type { AppEnv } from './context.ts';

/** A year, in seconds. Subdomains are the operator's to speak for. */
const STRICT_TRANSPORT_SECURITY = 'max-age=31536000';

/**
 * Refuses plain HTTP, except to hosts whose connections never leave the machine, before anything of the request is
 * looked at: a challenge would ask the client for its password, which all on the way could read. Over HTTPS, browsers
 * are told to stay there (RFC 6797 §7.2: never over plain HTTP).
 * @throws OciError HTTPS_REQUIRED
 */
export const encryptedOnly = createMiddleware<AppEnv>(async (c, next) => {
  const { protocol, hostname } = c.get('url');
  if (protocol !== 'https:' && !isLoopback(hostname)) throw new OciError('HTTPS_REQUIRED');
  await next();
  if (protocol === 'https:') c.res.headers.set('Strict-Transport-Security', STRICT_TRANSPORT_SECURITY);
});
