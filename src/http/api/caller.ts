/**
 * Authenticates callers of the management API: a credential, with Basic or as a whole token, or the bootstrap secret as
 * a Bearer token. Access tokens work in the OCI API only: a token requested for a pull must not allow management.
 */
import { createMiddleware } from 'hono/factory';
import { administers } from '../../auth/credential.ts';
import { administersRepository, type Delegate } from '../../auth/delegation.ts';
import { parseWholeToken } from '../../auth/login.ts';
import { hashSecret } from '../../auth/secret-hash.ts';
import { OciError } from '../../oci/errors.ts';
import type { OrganizationName, RepositoryName } from '../../oci/reference.ts';
import type { Actor } from '../../registry/registry.ts';
import { actor } from '../access.ts';
import {
  addressOf,
  countingLimited,
  limitersOf,
  logInFromHeader,
  noteRefusedLogin,
  authorizationOf,
} from '../authenticate.ts';
import type { AppContext, AppEnv } from '../context.ts';

/** The path of the OpenAPI document. */
export const DOCUMENT = '/api/openapi.json';

const BOOTSTRAP: Delegate = {
  credential: { kind: 'administrator', id: 'bootstrap' },
  registries: null,
  expiresAt: undefined,
};

/** Requires a login for everything but the OpenAPI document. @throws OciError UNAUTHORIZED, TOO_MANY_REQUESTS */
export const authenticateCaller = createMiddleware<AppEnv>(async (c, next) => {
  if (c.req.path !== DOCUMENT) {
    const delegate = await callerOf(c);
    c.set('delegate', delegate);
    c.set('caller', delegate.credential);
    c.get('logFields')['subject'] = delegate.credential.id;
  }
  await next();
});

/** Returns what the audit log records about the caller. */
export function callerAsActor(c: AppContext): Actor {
  return actor(c, c.get('caller'));
}

/** Checks that the caller is an administrator. @throws OciError DENIED */
export function requireAdministrator(c: AppContext): void {
  if (c.get('caller').kind !== 'administrator')
    throw new OciError('DENIED', { message: 'only an administrator may do this' });
}

/** Checks that the caller administers the organization. @throws OciError DENIED */
export function requireAdministratorOf(c: AppContext, organization: OrganizationName): void {
  if (administers(c.get('caller'), organization)) return;
  throw new OciError('DENIED', { message: `the credential may not administer ${organization}` });
}

/**
 * Checks that the caller administers the organization and that its patterns match the repository.
 * @throws OciError DENIED
 */
export function requireAdministratorOfRepository(
  c: AppContext,
  organization: OrganizationName,
  name: RepositoryName,
): void {
  requireAdministratorOf(c, organization);
  if (administersRepository(c.get('delegate'), organization, name)) return;
  throw new OciError('DENIED', {
    message: `the credential may not administer ${name}: its repository patterns do not match it`,
  });
}

/**
 * Checks that the caller's credential is valid at each registry that a change takes effect at.
 * @param names 'central' and names of nodes; all registries by default
 * @throws OciError DENIED
 */
export function requireValidAt(c: AppContext, names: readonly string[] = registryNames(c)): void {
  const { registries } = c.get('delegate');
  const missing = registries === null ? undefined : names.find((name) => !registries.includes(name));
  if (missing === undefined) return;
  throw new OciError('DENIED', {
    message: `the credential is not valid at ${missing}, where this change would take effect too`,
  });
}

/** Returns 'central' and the names of all nodes. */
export function registryNames(c: AppContext): string[] {
  return ['central', ...c.get('runtime').config.nodes.map(({ name }) => name)];
}

async function callerOf(c: AppContext): Promise<Delegate> {
  const [scheme, value] = authorizationOf(c);
  const login = await logInFromHeader(c, 'central');
  const caller = login ?? (scheme === 'bearer' ? await bootstrapOf(c, value) : undefined);
  if (caller === undefined) {
    throw new OciError('UNAUTHORIZED', {
      message: 'log in with a credential, or with the bootstrap secret',
      headers: { 'WWW-Authenticate': 'Basic realm="Berth", charset="UTF-8"' },
    });
  }
  return caller;
}

/** The form of access tokens: a JWT, whose header starts with `{"`, which is `eyJ` in base64. */
const ACCESS_TOKEN = /^eyJ[\w-]*\.[\w-]*\.[\w-]*$/;

async function bootstrapOf(c: AppContext, secret: string): Promise<Delegate | undefined> {
  const { config, loginLimits } = c.get('runtime');
  const { bootstrapSecret, central } = config;
  const source = { address: addressOf(c), user: 'bootstrap' };
  const now = Date.now();
  const defer = (work: Promise<unknown>): void => c.executionCtx.waitUntil(work);
  const counting = (check: Promise<void>): Promise<void> => countingLimited(c, source.user, central, check);
  // If the secret looks like a whole token, the login attempt above has already counted it and recorded it for its
  // user. It may still be the bootstrap secret.
  const isCounted = parseWholeToken(secret) !== undefined;
  if (!isCounted) await counting(loginLimits.requireNotPassed(source, now));
  // Comparing hashes leaks nothing about the secret, even though the comparison stops at the first difference.
  if (bootstrapSecret !== undefined && (await hashSecret(secret)) === (await hashSecret(bootstrapSecret)))
    return BOOTSTRAP;
  if (!isCounted) await counting(loginLimits.countFailure(limitersOf(c), source, now, defer));
  const isGuess = bootstrapSecret !== undefined && !isCounted && !ACCESS_TOKEN.test(secret);
  if (isGuess) defer(noteRefusedLogin(c, source.user, central));
  return undefined;
}
