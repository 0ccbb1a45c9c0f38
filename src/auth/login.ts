/**
 * Finds the credential for the user and password that a client presents.
 *
 * Clients present a user and a secret. Unikraft's clients present the organization and the whole platform token, which
 * is the base64 of `<user>:<secret>`. The user is an organization, the name of a credential, or
 * `robot$<organization>.users.kraftcloud`. If Berth does not know the secret, it asks the platform, if one is
 * configured.
 *
 * Good logins are remembered for a minute (`known-good.ts`), and failed ones are limited (`login-limits.ts`). A change
 * through the management API always looks its login up again. Otherwise a removed credential that is still remembered
 * could create another one that stays.
 */
import { HOUR } from '../durations.ts';
import type { StoreName } from '../namespaces/namespace.ts';
import { OciError } from '../oci/errors.ts';
import type { ControlData, CredentialRow } from '../stores/organizations/control-data.ts';
import { parseBasic, type Presented } from './basic.ts';
import type { Credential, Login, RepositoryPattern, Right } from './credential.ts';
import type { KnownGood } from './known-good.ts';
import type { Limiters, LoginLimits } from './login-limits.ts';
import { hashSecret } from './secret-hash.ts';

export interface LoginOptions {
  readonly control: ControlData;
  /** The store of `control`. A login that one store approved is not remembered as good for another. */
  readonly decidedBy: StoreName;
  /** A second place to record the use of a credential: a node also records it at central. */
  readonly alsoRecordAt?: ControlData | undefined;
  /** The registry that the client logs in to: 'central', or a node's name. */
  readonly registry: string;
  readonly limits: LoginLimits;
  readonly limiters: Limiters;
  /** The client's address. */
  readonly address: string;
  /** Milliseconds since the epoch. */
  readonly now: number;
  readonly defer: (work: Promise<unknown>) => void;
  readonly knownGood: KnownGood;
  /** Whether to look up a login even if it is remembered as good. Set it for changes, because they last. */
  readonly ignoresCache?: boolean;
  /** Called last, for a secret that Berth does not know. @param wasGood whether the login is known to have been good */
  readonly elsewhere?: ((presented: Presented, wasGood: boolean) => Promise<Login | undefined>) | undefined;
}

/**
 * Checks a user and password.
 * @returns undefined if the user or password is wrong
 * @throws OciError TOO_MANY_REQUESTS, UNAVAILABLE, and what `elsewhere` throws
 */
export async function logIn(presented: Presented, options: LoginOptions): Promise<Login | undefined> {
  const { decidedBy, registry, limits, limiters, address, now, defer, knownGood, ignoresCache = false } = options;
  const { user, password } = presented;
  const hash = await hashSecret(`${decidedBy}\n${registry}\n${user}\n${password}`);
  const remembered = await knownGood.recall(hash, now);
  if (remembered?.login !== undefined && !ignoresCache) return remembered.login;

  // A remembered login is not a guess: an administrator may make more changes a minute than there may be guesses.
  if (remembered === undefined) await limits.requireNotPassed({ address, user }, now);
  const login = await lookUp(presented, options, remembered !== undefined).catch((error: unknown) => {
    if (error instanceof OciError && error.kind === 'DENIED') knownGood.forget(hash, defer);
    throw error;
  });
  if (login === undefined) {
    if (remembered !== undefined) knownGood.forget(hash, defer);
    await limits.countFailure(limiters, { address, user }, now, defer);
  } else knownGood.remember(hash, login, now, defer);
  return login;
}

/** Looks a login up in the control data, and elsewhere if Berth does not know its secret. */
async function lookUp(presented: Presented, options: LoginOptions, wasGood: boolean): Promise<Login | undefined> {
  const { control, alsoRecordAt, registry, limits, limiters, address, now, defer, elsewhere } = options;
  const whole = parseWholeToken(presented.password);
  let isOurs = false;
  for (const { user, password } of whole === undefined ? [presented] : [presented, whole]) {
    const row = await control.credentialBySecret(await hashSecret(password));
    if (row === undefined) continue;
    isOurs = true;
    if (!isUserOf(row, user) || !isUserOf(row, presented.user)) continue;
    if (row.expires_at !== null && row.expires_at <= now) continue;
    if (registriesOf(row)?.includes(registry) === false) continue;
    const login = loginOf(row, now);
    if (login === undefined) continue;
    if (Math.abs(now - (row.last_used_at ?? 0)) > HOUR)
      defer(Promise.allSettled([control.recordUse(row.id, now), alsoRecordAt?.recordUse(row.id, now)]));
    return login;
  }
  // A secret that Berth knows never goes to the platform, even if the user name is wrong or the credential has expired.
  if (isOurs || elsewhere === undefined) return undefined;
  return elsewhere(presented, wasGood).catch(async (error: unknown) => {
    // Guesses must not ask an unavailable platform without limit. Logins that were good take turns.
    if (!wasGood) await limits.countFailure(limiters, { address, user: presented.user }, now, defer);
    throw error;
  });
}

/**
 * Returns the user and secret within a whole platform token, the base64 of `<user>:<secret>`; undefined for any other
 * text. An access token is never taken for one, because it has a ".".
 */
export function parseWholeToken(text: string): Presented | undefined {
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(text)) return undefined;
  const parts = parseBasic(text);
  if (
    parts === undefined ||
    parts.user === '' ||
    parts.password === '' ||
    CONTROL_CHARACTER.test(`${parts.user}${parts.password}`)
  )
    return undefined;
  return parts;
}

/** Distinguishes a token from random bytes that happen to decode as UTF-8 with a colon. */
const CONTROL_CHARACTER = /\p{Cc}/u;

/** Returns the `<organization>` of `robot$<organization>.users.kraftcloud`; undefined for any other user. */
export function robotOrganization(user: string): string | undefined {
  return /^robot\$(.+)\.users\.kraftcloud$/.exec(user)?.[1];
}

function registriesOf({ registries }: CredentialRow): readonly string[] | null {
  return registries === null ? null : (JSON.parse(registries) as string[]);
}

function isUserOf(row: CredentialRow, user: string): boolean {
  return user === row.name || (row.organization !== '' && [user, robotOrganization(user)].includes(row.organization));
}

/** Returns the login for a row; undefined if the row contradicts itself, so that nobody gains rights from it. */
function loginOf(row: CredentialRow, checkedAt: number): Login | undefined {
  const credential = credentialOf(row);
  if (credential === undefined) return undefined;
  return { credential, registries: registriesOf(row), checkedAt, expiresAt: row.expires_at ?? undefined };
}

function credentialOf({ id, kind, name, organization, rights, repositories }: CredentialRow): Credential | undefined {
  if (kind === 'platform' || kind === 'administrator') return organization === '' ? { kind, id, name } : undefined;
  if (organization === '') return undefined;
  return {
    kind,
    id,
    name,
    organization,
    rights: JSON.parse(rights) as Right[],
    repositories: JSON.parse(repositories) as RepositoryPattern[],
  };
}
