/**
 * Authenticates callers of the platform API. They send the whole platform token, the base64 of `<user>:<secret>`, as
 * `Bearer`, or log in with Basic in any form that the registry accepts. Access tokens work in the OCI API only.
 */
import { createMiddleware } from 'hono/factory';
import type { Credential } from '../../auth/credential.ts';
import { OciError } from '../../oci/errors.ts';
import { logInFromHeader } from '../authenticate.ts';
import type { AppContext, AppEnv } from '../context.ts';

/** Requires a login for every request. @throws OciError UNAUTHORIZED, TOO_MANY_REQUESTS */
export const authenticatePlatformCaller = createMiddleware<AppEnv>(async (c, next) => {
  const credential = await credentialOf(c);
  c.set('principal', { kind: 'credential', credential, scopes: undefined });
  c.get('logFields')['subject'] = credential.id;
  await next();
});

/** Returns the caller's credential. @throws OciError UNAUTHORIZED */
export function callerOf(c: AppContext): Credential {
  const principal = c.get('principal');
  if (principal.kind !== 'credential') throw notLoggedIn();
  return principal.credential;
}

async function credentialOf(c: AppContext): Promise<Credential> {
  // The only request of this API that changes anything deletes a repository. Its visibility is control data, so the
  // login is checked against central's own data and not against a node's copy.
  const by = c.req.method === 'GET' || c.req.method === 'HEAD' ? 'this registry' : 'central';
  const login = await logInFromHeader(c, by);
  if (login === undefined) throw notLoggedIn();
  return login.credential;
}

function notLoggedIn(): OciError {
  return new OciError('UNAUTHORIZED', {
    message: 'the platform token is missing or wrong: log in with Authorization: Bearer <token>, or with Basic',
    headers: { 'WWW-Authenticate': 'Bearer realm="Berth"' },
  });
}
