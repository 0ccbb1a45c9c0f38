/**
 * Who calls the management API: a credential, with Basic or as a whole token, or whoever has the bootstrap secret, as a Bearer token. Access
 * tokens are for the OCI API alone: one that was asked for to pull must not be good for managing.
 */
import { createMiddleware } from 'hono/factory';
import { isEmpty, parseBasic } from '../../auth/basic.ts';
import { administers, type Credential } from '../../auth/credential.ts';
import { countCheck, hashSecret, type Login } from '../../auth/login.ts';
import { OciError } from '../../oci/errors.ts';
import type { OrganizationName } from '../../oci/reference.ts';
import { addressOf, limitersOf, logInFrom, logInWithWholeToken } from '../authenticate.ts';
import type { AppContext, AppEnv } from '../context.ts';

/** Where the OpenAPI document is. */
export const DOCUMENT = '/api/openapi.json';

const BOOTSTRAP: Credential = { kind: 'administrator', id: 'bootstrap' };

/** Everything but the description of the API needs a login. @throws OciError UNAUTHORIZED, TOO_MANY_REQUESTS */
export const authenticateCaller = createMiddleware<AppEnv>(async (c, next) => {
  if (c.req.path !== DOCUMENT) {
    const caller = await callerOf(c);
    c.set('caller', caller);
    c.get('logFields')['subject'] = caller.id;
  }
  await next();
});

/** @throws OciError DENIED */
export function requireAdministrator(c: AppContext): void {
  if (c.get('caller').kind !== 'administrator') throw new OciError('DENIED', { message: 'only an administrator may do this' });
}

/** @throws OciError DENIED */
export function requireAdministratorOf(c: AppContext, organization: OrganizationName): void {
  if (administers(c.get('caller'), organization)) return;
  throw new OciError('DENIED', { message: `the credential may not administer ${organization}` });
}

async function callerOf(c: AppContext): Promise<Credential> {
  const [scheme = '', value = ''] = (c.req.header('Authorization') ?? '').split(/ +/, 2);
  const isBearer = scheme.toLowerCase() === 'bearer';
  const login = isBearer
    ? await logInWithWholeToken(c, value, 'central')
    : scheme.toLowerCase() === 'basic'
      ? await loginOf(c, value)
      : undefined;
  const caller = login?.credential ?? (isBearer ? await bootstrapOf(c, value) : undefined);
  c.set('callerRegistries', login?.registries ?? null);
  if (caller === undefined) {
    throw new OciError('UNAUTHORIZED', {
      message: 'log in with a credential that has the right admin, or with the bootstrap secret',
      headers: { 'WWW-Authenticate': 'Basic realm="Berth", charset="UTF-8"' },
    });
  }
  return caller;
}

async function loginOf(c: AppContext, value: string): Promise<Login | undefined> {
  const presented = parseBasic(value);
  if (presented === undefined || isEmpty(presented)) return undefined;
  return logInFrom(c, presented, 'central');
}

async function bootstrapOf(c: AppContext, secret: string): Promise<Credential | undefined> {
  const { bootstrapSecret } = c.get('runtime').config;
  await countCheck(limitersOf(c), addressOf(c), 'bootstrap');
  if (bootstrapSecret === undefined) return undefined;
  // Hashes have equal lengths, and a comparison of them that ends early says nothing of the secret.
  return (await hashSecret(secret)) === (await hashSecret(bootstrapSecret)) ? BOOTSTRAP : undefined;
}
