/**
 * Tokens of a compute platform, which Berth does not know itself. This file is pure: it finds the platform token in
 * what a client presents, and turns the platform's answer into a credential. `platform-call.ts` asks the platform.
 *
 * Rights come only from the platform's answer. The user name that came with the token cannot add any: if it belongs to
 * another organization, the login fails like one with a wrong password.
 */
import { z } from 'zod';
import { isOrganizationName, type OrganizationName } from '../oci/reference.ts';
import type { Presented } from './basic.ts';
import { type Credential, OFFICIAL_ORGANIZATION } from './credential.ts';
import { parseWholeToken, robotOrganization } from './login.ts';

export interface PlatformToken {
  /** Base64 of `<user>:<secret>`, as the platform accepts it. */
  readonly token: string;
  /** The user within it. */
  readonly user: string;
  readonly secret: string;
}

/** The most characters of a token. The platform's tokens have a few hundred. */
const MAX_TOKEN_LENGTH = 4096;

/**
 * Returns the token of a login: the password if it is a whole token, otherwise the base64 of user and password. Returns
 * undefined if the login cannot be a token.
 */
export function platformTokenOf({ user, password }: Presented): PlatformToken | undefined {
  const whole = parseWholeToken(password);
  const parts = whole ?? { user, password };
  const token = whole === undefined ? new TextEncoder().encode(`${user}:${password}`).toBase64() : password;
  const isPossible =
    parts.user !== '' && parts.password !== '' && !parts.user.includes(':') && token.length <= MAX_TOKEN_LENGTH;
  if (!isPossible) return undefined;
  return { token, user: parts.user, secret: parts.password };
}

/**
 * Returns whether a user name may come with a token of the organization: it must be the organization, its robot, or the
 * token's own user. A robot of another organization is refused, even if the token itself names it.
 */
export function isUserOfToken(user: string, { user: own }: PlatformToken, organization: OrganizationName): boolean {
  const robots = [user, own].flatMap((name) => robotOrganization(name) ?? []);
  if (robots.some((named) => named !== organization)) return false;
  return user === organization || user === own || robotOrganization(user) === organization;
}

const answer = z.object({
  status: z.literal('success'),
  data: z.object({
    organization_name: z.custom<OrganizationName>((value) => typeof value === 'string' && isOrganizationName(value)),
  }),
});

/**
 * Names that no platform organization may have in Berth. Every caller reads the images of `official`; the other names
 * look like users of the registry itself.
 */
const RESERVED: ReadonlySet<string> = new Set([
  OFFICIAL_ORGANIZATION,
  'admin',
  'administrator',
  'berth',
  'bootstrap',
  'central',
  'platform',
]);

/** Returns whether no platform organization may have this name. */
export function isReserved(organization: OrganizationName): boolean {
  return RESERVED.has(organization);
}

const refusal = z.object({ status: z.literal('error') });

/** Returns the organization that an answer with status 200 names; undefined if the body has another form. */
export function organizationIn(body: string): OrganizationName | undefined {
  return answer.safeParse(jsonOf(body)).data?.data.organization_name;
}

/** Returns whether a body is an error written by the platform itself. */
export function isRefusal(body: string): boolean {
  return refusal.safeParse(jsonOf(body)).success;
}

/** Parses JSON; returns undefined if it is malformed. */
function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Base64url characters of a fingerprint: 96 bits. */
const FINGERPRINT_LENGTH = 16;

/**
 * Returns a fingerprint that tells tokens apart. It reveals nothing about a long random secret, but a weak secret could
 * be guessed from it, because it uses no key. It must not depend on the signing key: upload sessions are signed over
 * the fingerprint and must survive a rotation of the key.
 */
export async function fingerprintOf({ token }: PlatformToken): Promise<string> {
  const hash = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(`platform token\n${token}`));
  return new Uint8Array(hash).toBase64({ alphabet: 'base64url' }).slice(0, FINGERPRINT_LENGTH);
}

/**
 * Returns the credential of a token. It may use the images of its organization, but not manage it: that takes a
 * credential with the right `admin`.
 * @param fingerprint tells the tokens of an organization apart in upload sessions and log lines
 */
export function credentialOfToken(organization: OrganizationName, fingerprint: string): Credential {
  return {
    kind: 'organization',
    id: `platform:${organization}:${fingerprint}`,
    organization,
    rights: ['pull', 'push', 'delete'],
    repositories: [`${organization}/*`],
  };
}
