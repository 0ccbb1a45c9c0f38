/**
 * Authenticates callers of the platform API. They send the whole platform token, the base64 of `<user>:<secret>`, as
 * `Bearer`, or log in with Basic in any form that the registry accepts. Access tokens work in the OCI API only.
 */
import { createMiddleware } from 'hono/factory';
import { isEmpty, parseBasic } from '../../auth/basic.ts';
import type { Credential } from '../../auth/credential.ts';
import type { Login } from '../../auth/login.ts';
import { OciError } from '../../oci/errors.ts';
import { logInFrom, logInWithWholeToken } from '../authenticate.ts';
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
  const login = await loginOf(c);
  if (login === undefined) throw notLoggedIn();
  return login.credential;
}

async function loginOf(c: AppContext): Promise<Login | undefined> {
  // The only change here removes a repository, whose visibility is control data. So central decides, not a node's copy.
  const by = c.req.method === 'GET' || c.req.method === 'HEAD' ? 'this registry' : 'central';
  const [scheme = '', value = ''] = (c.req.header('Authorization') ?? '').split(/ +/, 2);
  switch (scheme.toLowerCase()) {
    case 'bearer':
      return logInWithWholeToken(c, value, by);
    case 'basic': {
      const presented = parseBasic(value);
      return presented === undefined || isEmpty(presented) ? undefined : logInFrom(c, presented, by);
    }
    default:
      return undefined;
  }
}

function notLoggedIn(): OciError {
  return new OciError('UNAUTHORIZED', {
    message: 'the platform token is missing or wrong: log in with Authorization: Bearer <token>, or with Basic',
    headers: { 'WWW-Authenticate': 'Bearer realm="Berth"' },
  });
}
