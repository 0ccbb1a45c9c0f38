import { createMiddleware } from 'hono/factory';
import { HOUR } from '../durations.ts';
import { limitedAddress } from '../auth/client-address.ts';
import { isEmpty, parseBasic, type Presented } from '../auth/basic.ts';
import type { Login } from '../auth/credential.ts';
import { logIn, type LoginOptions, parseWholeToken, robotOrganization } from '../auth/login.ts';
import type { Limiters } from '../auth/login-limits.ts';
import { PlatformUnavailable } from '../auth/platform-call.ts';
import { logInWithPlatform } from '../auth/platform-login.ts';
import { ANONYMOUS, type Principal } from '../auth/principal.ts';
import { hashSecret } from '../auth/secret-hash.ts';
import { type Namespace, namespaceId, namespaceName } from '../namespaces/namespace.ts';
import { isUnavailable, OciError } from '../oci/errors.ts';
import { composeControlData } from '../registry/compose.ts';
import type { AppContext, AppEnv } from './context.ts';

const WRONG_CREDENTIALS: Principal = { kind: 'refused', reason: 'wrong user name or password' };
const INVALID_TOKEN: Principal = {
  kind: 'refused',
  reason: 'the access token is invalid, expired, or for another registry: get a new one',
};

/**
 * Sets the principal of an OCI request: anonymous, a credential, or the holder of an access token. It does not refuse
 * wrong credentials itself. The handler does, because only the handler knows the scope for the challenge: a client that
 * gets a token without that scope would fail again.
 */
export const authenticate = createMiddleware<AppEnv>(async (c, next) => {
  const principal = await principalOf(c);
  c.set('principal', principal);
  if (principal.kind === 'credential') c.get('logFields')['subject'] = principal.credential.id;
  await next();
});

async function principalOf(c: AppContext): Promise<Principal> {
  const [scheme, value] = authorizationOf(c);
  switch (scheme) {
    case '':
      return ANONYMOUS;
    case 'basic': {
      const presented = parseBasic(value);
      if (presented !== undefined && isEmpty(presented)) return ANONYMOUS;
      const login = presented === undefined ? undefined : await logInFrom(c, presented);
      if (login === undefined) return WRONG_CREDENTIALS;
      return { kind: 'credential', credential: login.credential, scopes: undefined };
    }
    case 'bearer': {
      if (!looksLikeAccessToken(value)) {
        const login = await logInWithWholeToken(c, value);
        if (login === undefined) return INVALID_TOKEN;
        return { kind: 'credential', credential: login.credential, scopes: undefined };
      }
      const { accessTokens } = c.get('runtime');
      const principal = await accessTokens.verify(value, namespaceId(c.get('namespace')), Date.now());
      return principal ?? INVALID_TOKEN;
    }
    default:
      return WRONG_CREDENTIALS;
  }
}

/** Tells an access token from a whole token. A JWT contains dots and base64 does not, so this needs no decoding. */
function looksLikeAccessToken(value: string): boolean {
  return value.includes('.');
}

/**
 * Checks a whole token, the base64 of `<user>:<secret>`, that was presented alone as `Bearer <whole token>`.
 * @param by see {@link logInFrom}
 * @returns undefined if the token is wrong or is not a whole token
 * @throws the errors of {@link logInFrom}
 */
export async function logInWithWholeToken(
  c: AppContext,
  token: string,
  by: 'this registry' | 'central' = 'this registry',
): Promise<Login | undefined> {
  const parts = parseWholeToken(token);
  if (parts === undefined) return undefined;
  // A client that logged in with a user and a whole token keeps the base64 of the two: a token within a token.
  const isNested = parseWholeToken(parts.password) !== undefined;
  return logInFrom(c, isNested ? parts : { user: parts.user, password: token }, by);
}

/**
 * Checks what a request presents to an API that takes no access tokens: a whole token as Bearer, or Basic in any form.
 * @param by see {@link logInFrom}
 * @returns undefined if the caller is anonymous, or presents a wrong login
 * @throws the errors of {@link logInFrom}
 */
export async function logInFromHeader(c: AppContext, by: 'this registry' | 'central'): Promise<Login | undefined> {
  const [scheme, value] = authorizationOf(c);
  if (scheme === 'bearer') return logInWithWholeToken(c, value, by);
  const presented = scheme === 'basic' ? parseBasic(value) : undefined;
  return presented === undefined || isEmpty(presented) ? undefined : logInFrom(c, presented, by);
}

/** Returns the scheme of the Authorization header, in lower case, and its value; '' for none. */
export function authorizationOf(c: AppContext): [scheme: string, value: string] {
  const [scheme = '', value = ''] = (c.req.header('Authorization') ?? '').split(/ +/, 2);
  return [scheme.toLowerCase(), value];
}

/**
 * Checks a user and password that came with this request.
 * @param by whose control data decides. Pass 'central' for operations that run at central on behalf of any host. Each
 *   change then looks the credential up again instead of trusting the cache.
 * @returns undefined if the user or password is wrong
 * @throws OciError TOO_MANY_REQUESTS, UNAVAILABLE; DENIED for a platform's token of an organization that was removed
 */
export async function logInFrom(
  c: AppContext,
  presented: Presented,
  by: 'this registry' | 'central' = 'this registry',
): Promise<Login | undefined> {
  const namespace = c.get('namespace');
  const { central } = c.get('runtime').config;
  const ignoresCache = by === 'central' && !['GET', 'HEAD'].includes(c.req.method);
  if (namespace.kind === 'central' || by === 'central') return logInBy(c, presented, central, undefined, ignoresCache);
  try {
    return await logInBy(c, presented, namespace, composeControlData(c.env, central));
  } catch (error) {
    // While the node's own store is down, central's control data decides, so that the node can serve central's content.
    if (isUnavailable(error) && !(error instanceof PlatformUnavailable))
      return logInBy(c, presented, central, undefined);
    throw error;
  }
}

/** @param decider the namespace whose copy of the control data decides */
async function logInBy(
  c: AppContext,
  presented: Presented,
  decider: Namespace,
  alsoRecordAt: LoginOptions['alsoRecordAt'],
  ignoresCache = false,
): Promise<Login | undefined> {
  const control = composeControlData(c.env, decider);
  const { knownGood, loginLimits: limits, platformChecks: checks, config } = c.get('runtime');
  const now = Date.now();
  const defer = (work: Promise<unknown>): void => c.executionCtx.waitUntil(work);
  const secrets = [config.bootstrapSecret ?? [], config.signingKeys].flat();
  const asked = logIn(presented, {
    control,
    decidedBy: decider.store,
    alsoRecordAt,
    registry: namespaceName(c.get('namespace')),
    limits,
    limiters: limitersOf(c),
    address: addressOf(c),
    now,
    defer,
    knownGood,
    ignoresCache,
    elsewhere:
      checks &&
      ((unknown, wasGood) =>
        logInWithPlatform(unknown, {
          checks,
          control,
          central: alsoRecordAt,
          secrets,
          host: c.get('url').host,
          now,
          defer,
          wasGood,
        })),
  });
  const login = await countingLimited(c, presented.user, decider, asked);
  if (login === undefined) defer(noteRefusedLogin(c, presented.user, decider));
  return login;
}

/** Awaits a check of a login. If a limit of failed logins refuses it, counts it as a refused login. */
export async function countingLimited<Answer>(
  c: AppContext,
  user: string,
  decider: Namespace,
  check: Promise<Answer>,
): Promise<Answer> {
  return check.catch((error: unknown) => {
    const isLimited = error instanceof OciError && error.kind === 'TOO_MANY_REQUESTS';
    if (isLimited) c.executionCtx.waitUntil(noteRefusedLogin(c, user, decider));
    throw error;
  });
}

/**
 * Counts a refused login in the audit log of the store that decided. It stores an HMAC of the address under the signing
 * key: equal addresses look equal, but the address cannot be recovered. Never rejects, because the login is refused
 * anyway.
 */
export async function noteRefusedLogin(c: AppContext, user: string, decider: Namespace): Promise<void> {
  const { refusedLogins, keys } = c.get('runtime');
  const now = Date.now();
  const address = (await keys.sign(`address\n${addressOf(c)}`)).slice(0, ADDRESS_CHARACTERS);
  const source = `${Math.floor(now / HOUR)} ${decider.store} ${address}`;
  const { count, isNamed } = refusedLogins.add(source, await hashSecret(user));
  if (count === 0) return;
  const named = isNamed ? user : '';
  const refused = {
    user: named,
    organization: robotOrganization(named) ?? named,
    address,
    host: c.get('url').host,
    count,
  };
  await composeControlData(c.env, decider)
    .noteRefusedLogin(refused, now)
    .catch(() => undefined);
}

/** Base64url characters of the address's HMAC that are kept: 96 bits. */
const ADDRESS_CHARACTERS = 16;

export function limitersOf(c: AppContext): Limiters {
  return { ofUser: c.env.CREDENTIAL_CHECKS, ofAddress: c.env.ADDRESS_CHECKS };
}

/** Returns the address that logins are counted by. Cloudflare reports it; the local simulators do not. */
export function addressOf(c: AppContext): string {
  return limitedAddress(c.req.header('CF-Connecting-IP') ?? 'local');
}
