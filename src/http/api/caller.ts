/**
 * Who calls the management API: a credential, with Basic or as a whole token, or whoever has the bootstrap secret, as a
 * Bearer token. Access tokens are for the OCI API alone: one that was asked for to pull must not be good for managing.
 */
import { createMiddleware } from 'hono/factory';
import { isEmpty, parseBasic } from '../../auth/basic.ts';
import { administers } from '../../auth/credential.ts';
import { administersRepository, type Delegate } from '../../auth/delegation.ts';
import { countCheck, hashSecret, type Login, parseWholeToken } from '../../auth/login.ts';
import { OciError } from '../../oci/errors.ts';
import type { OrganizationName, RepositoryName } from '../../oci/reference.ts';
import type { Actor } from '../../registry/registry.ts';
import { actor } from '../access.ts';
import {
  addressOf,
  limitersOf,
  logInFrom,
  logInWithWholeToken,
  noteRefusedLogin,
  notingLimit,
} from '../authenticate.ts';
import type { AppContext, AppEnv } from '../context.ts';

/** Where the OpenAPI document is. */
export const DOCUMENT = '/api/openapi.json';

const BOOTSTRAP: Delegate = {
  credential: { kind: 'administrator', id: 'bootstrap' },
  registries: null,
  expiresAt: undefined,
};

/** Everything but the description of the API needs a login. @throws OciError UNAUTHORIZED, TOO_MANY_REQUESTS */
export const authenticateCaller = createMiddleware<AppEnv>(async (c, next) => {
  if (c.req.path !== DOCUMENT) {
    const delegate = await callerOf(c);
    c.set('delegate', delegate);
    c.set('caller', delegate.credential);
    c.get('logFields')['subject'] = delegate.credential.id;
  }
  await next();
});

/** For the audit log. */
export function callerAsActor(c: AppContext): Actor {
  return actor(c, c.get('caller').id);
}

/** @throws OciError DENIED */
export function requireAdministrator(c: AppContext): void {
  if (c.get('caller').kind !== 'administrator')
    throw new OciError('DENIED', { message: 'only an administrator may do this' });
}

/** @throws OciError DENIED */
export function requireAdministratorOf(c: AppContext, organization: OrganizationName): void {
  if (administers(c.get('caller'), organization)) return;
  throw new OciError('DENIED', { message: `the credential may not administer ${organization}` });
}

/** An admin of the organization, for a repository that its patterns hold. @throws OciError DENIED */
export function requireAdministratorOfRepository(
  c: AppContext,
  organization: OrganizationName,
  name: RepositoryName,
): void {
  requireAdministratorOf(c, organization);
  if (administersRepository(c.get('delegate'), organization, name)) return;
  throw new OciError('DENIED', {
    message: `the credential may not administer ${name}: it is none of its repositories`,
  });
}

/**
 * For what holds at registries: the caller's credential must be good at each of them.
 * @param names 'central' and names of nodes; all registries unless told
 * @throws OciError DENIED
 */
export function requireGoodAt(c: AppContext, names: readonly string[] = registryNames(c)): void {
  const { registries } = c.get('delegate');
  const missing = registries === null ? undefined : names.find((name) => !registries.includes(name));
  if (missing === undefined) return;
  throw new OciError('DENIED', { message: `the credential is not good at ${missing}, where this would hold as well` });
}

/** 'central' and the names of all nodes. */
export function registryNames(c: AppContext): string[] {
  return ['central', ...c.get('runtime').config.nodes.map(({ name }) => name)];
}

async function callerOf(c: AppContext): Promise<Delegate> {
  const [scheme = '', value = ''] = (c.req.header('Authorization') ?? '').split(/ +/, 2);
  const isBearer = scheme.toLowerCase() === 'bearer';
  const login = isBearer
    ? await logInWithWholeToken(c, value, 'central')
    : scheme.toLowerCase() === 'basic'
      ? await loginOf(c, value)
      : undefined;
  const caller = login ?? (isBearer ? await bootstrapOf(c, value) : undefined);
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

/** Of access tokens: a JWT, whose header begins with `{"`. */
const ACCESS_TOKEN = /^eyJ[\w-]*\.[\w-]*\.[\w-]*$/;

async function bootstrapOf(c: AppContext, secret: string): Promise<Delegate | undefined> {
  const { bootstrapSecret, central } = c.get('runtime').config;
  // The login that a whole token was tried as has counted it, and noted it for its user. It may be the secret all the
  // same.
  const isCounted = parseWholeToken(secret) !== undefined;
  if (!isCounted) await notingLimit(c, 'bootstrap', central, countCheck(limitersOf(c), addressOf(c), 'bootstrap'));
  if (bootstrapSecret === undefined) return undefined;
  // Hashes have equal lengths, and a comparison of them that ends early says nothing of the secret.
  if ((await hashSecret(secret)) === (await hashSecret(bootstrapSecret))) return BOOTSTRAP;
  const isGuess = !isCounted && !ACCESS_TOKEN.test(secret);
  if (isGuess) c.executionCtx.waitUntil(noteRefusedLogin(c, 'bootstrap', central));
  return undefined;
}
