/**
 * Tokens of a compute platform that Berth does not know itself. Pure: what a client presents → the token to ask about,
 * and the platform's answer → what the token may use. `platform-call.ts` asks.
 *
 * Rights come from the platform's answer alone. The user name that came with the token can only take them away: one
 * that speaks of another organization is as wrong as a wrong password.
 */
import { z } from 'zod';
import { isOrganizationName, type OrganizationName } from '../oci/reference.ts';
import type { Presented } from './basic.ts';
import { type Credential, OFFICIAL_ORGANIZATION } from './credential.ts';
import { parseWholeToken, robotOrganization } from './login.ts';

export interface PlatformToken {
  /** Base64 of `<user>:<secret>`, as the platform takes it. */
  readonly token: string;
  /** The user within it. */
  readonly user: string;
  readonly secret: string;
}

/** Characters: the platform's tokens have some hundred. What is longer is none. */
const MAX_TOKEN_LENGTH = 4096;

/**
 * The token that a login stands for: the password, where it is a whole token, else the base64 of user and password.
 * Undefined where there can be none.
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
 * Whether a user name may come with a token of the organization: the organization, its robot, or the token's own user.
 * A robot of another organization is refused wherever it is named, also within the token.
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
 * Names that a platform may use, but not here: every caller reads the images of `official`, and the others are users of
 * a registry's own.
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

/** Whether an organization of this name is never a platform's. */
export function isReserved(organization: OrganizationName): boolean {
  return RESERVED.has(organization);
}

const refusal = z.object({ status: z.literal('error') });

/** The organization that an answer with status 200 names; undefined where it is no answer. */
export function organizationIn(body: string): OrganizationName | undefined {
  return answer.safeParse(jsonOf(body)).data?.data.organization_name;
}

/** Whether a body is of an error that the platform itself writes. */
export function isRefusal(body: string): boolean {
  return refusal.safeParse(jsonOf(body)).success;
}

/** Undefined for what is no JSON. */
function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Characters of base64url: 96 bits. */
const FINGERPRINT_LENGTH = 16;

/**
 * Tells tokens apart, and says nothing of them as long as the platform's secrets are random and long: it has no key,
 * and others could be guessed by it. It does not depend on the signing key, since upload sessions are signed over it:
 * they outlast a rotation of the key.
 */
export async function fingerprintOf({ token }: PlatformToken): Promise<string> {
  const hash = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(`platform token\n${token}`));
  return new Uint8Array(hash).toBase64({ alphabet: 'base64url' }).slice(0, FINGERPRINT_LENGTH);
}

/**
 * What a token may do: use images of its organization. Managing it takes a credential with the right `admin`.
 * @param fingerprint tells tokens of an organization apart: upload sessions belong to one of them, and so do log lines
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
