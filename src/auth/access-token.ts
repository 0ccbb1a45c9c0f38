/**
 * Access tokens, which Docker's token flow issues for a credential. A token is a JWT (RFC 7519), signed with HS256,
 * valid for one namespace and at most five minutes. It carries the rights of its credential, so most requests need no
 * look-up. Revoking a credential takes full effect once its tokens have expired.
 *
 * A token cannot choose how it is verified: the algorithm is fixed, and the key id only selects one of the configured
 * keys.
 */
import { jwtVerify, SignJWT } from 'jose';
import { z } from 'zod';
import { type OrganizationName, isOrganizationName } from '../oci/reference.ts';
import { BoundedCache } from '../bounded-cache.ts';
import { type Credential, RIGHTS } from './credential.ts';
import { ANONYMOUS, type Principal } from './principal.ts';
import { formatScope, parseScopes, type Scope } from './scope.ts';
import type { SigningKeys } from './signing-keys.ts';

/** The most that the clocks of two machines may differ, in seconds. */
export const SKEW_SECONDS = 5;

/** The time for which a token is valid, in seconds: together with the skew, five minutes. */
export const TOKEN_SECONDS = 300 - SKEW_SECONDS;

/**
 * The shortest validity of a token, in seconds. Older clients assume that every token is valid for this long (Docker,
 * "Token Authentication Specification").
 */
export const LEAST_TOKEN_SECONDS = 60;

/** Every token from a look-up of a credential has expired this long after the look-up. */
export const TOKEN_EFFECT_MILLISECONDS = (TOKEN_SECONDS + SKEW_SECONDS) * 1000;

/** The longest that a look-up may be cached. A token issued at the end of this time is still valid for long enough. */
export const KEPT_MILLISECONDS = (TOKEN_SECONDS - LEAST_TOKEN_SECONDS) * 1000;

const ISSUER = 'berth';

const organization = z.custom<OrganizationName>((value) => typeof value === 'string' && isOrganizationName(value));

/** The form of a credential in JSON that Berth has signed. */
export const credentialClaim: z.ZodType<Credential> = z.discriminatedUnion('kind', [
  z.object({
    kind: z.literal('organization'),
    id: z.string(),
    name: z.string().optional(),
    organization,
    rights: z.array(z.enum(RIGHTS)),
    repositories: z.array(z.string()),
  }),
  z.object({ kind: z.enum(['platform', 'administrator']), id: z.string(), name: z.string().optional() }),
]);

const claims = z.object({
  credential: credentialClaim.optional(),
  scope: z.string(),
  iat: z.number(),
  exp: z.number(),
});

export interface TokenRequest {
  /** Undefined for an anonymous caller. The token then grants pulls from public repositories. */
  readonly credential: Credential | undefined;
  readonly scopes: readonly Scope[];
  /** The namespace that the token is for. */
  readonly audience: string;
  /** Milliseconds since the epoch. */
  readonly now: number;
  /**
   * When the credential was last looked up. The token's validity counts from then, so that revoking takes effect in
   * time.
   */
  readonly checkedAt: number;
  /** When the credential expires. No token outlives it. */
  readonly credentialExpiresAt: number | undefined;
}

export interface IssuedToken {
  readonly token: string;
  /** Seconds. */
  readonly expiresIn: number;
}

/** Issues a token, signed with the current key. */
export async function issueAccessToken(keys: SigningKeys, request: TokenRequest): Promise<IssuedToken> {
  const issuedAt = Math.floor(request.now / 1000);
  const end = request.credentialExpiresAt === undefined ? Infinity : Math.floor(request.credentialExpiresAt / 1000);
  const expiresAt = Math.min(Math.floor(request.checkedAt / 1000) + TOKEN_SECONDS, end);
  const { id, key } = keys.current;
  const token = await new SignJWT({ credential: request.credential, scope: request.scopes.map(formatScope).join(' ') })
    .setProtectedHeader({ alg: 'HS256', kid: id, typ: 'JWT' })
    .setIssuer(ISSUER)
    .setAudience(request.audience)
    .setSubject(request.credential?.id ?? '')
    .setIssuedAt(issuedAt)
    .setExpirationTime(expiresAt)
    .sign(key);
  return { token, expiresIn: expiresAt - issuedAt };
}

/** Room for the tokens that an isolate caches. Most take 2 KB; the largest, with many patterns and scopes, 50 KB. */
const REMEMBERED_BYTES = 4 * 1024 * 1024;

/** Verifies each token once per isolate, because every request of a push or pull carries the same token. */
export class AccessTokens {
  readonly #keys: SigningKeys;
  readonly #verified = new BoundedCache<Verified>(REMEMBERED_BYTES);

  constructor(keys: SigningKeys) {
    this.#keys = keys;
  }

  /** Returns the principal of a token, or undefined if it is forged, expired, or for another namespace. */
  async verify(token: string, audience: string, now: number): Promise<Principal | undefined> {
    // The key is the token itself: it expires within five minutes, and hashing it would cost more than the look-up.
    // Only verified tokens are kept, so a password never is.
    const name = `${audience} ${token}`;
    const known = this.#verified.get(name);
    if (known !== undefined && known.issuedAt <= now + SKEW_SECONDS * 1000 && now < known.expiresAt)
      return known.principal;
    const verified = await verify(this.#keys, token, audience, now);
    if (verified === undefined) return undefined;
    this.#verified.set(name, verified);
    return verified.principal;
  }

  /** Estimated bytes that the cached tokens take. */
  get bytes(): number {
    return this.#verified.bytes;
  }
}

interface Verified {
  readonly principal: Principal;
  /** Milliseconds since the epoch. An entry issued later than now is not used, because the clock was set back. */
  readonly issuedAt: number;
  readonly expiresAt: number;
}

async function verify(keys: SigningKeys, token: string, audience: string, now: number): Promise<Verified | undefined> {
  try {
    const { payload } = await jwtVerify(
      token,
      ({ kid }) => {
        const key = keys.byId(kid);
        if (key === undefined) throw new TypeError('unknown key id');
        return key.key;
      },
      {
        algorithms: ['HS256'],
        issuer: ISSUER,
        audience,
        currentDate: new Date(now),
        maxTokenAge: TOKEN_SECONDS,
        clockTolerance: SKEW_SECONDS,
        requiredClaims: ['exp', 'iat', 'sub'],
      },
    );
    const { credential, scope, iat, exp } = claims.parse(payload);
    const principal: Principal =
      credential === undefined ? ANONYMOUS : { kind: 'credential', credential, scopes: parseScopes([scope]) };
    return { principal, issuedAt: iat * 1000, expiresAt: exp * 1000 };
  } catch {
    return undefined;
  }
}
