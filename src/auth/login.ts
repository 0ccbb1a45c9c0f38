/**
 * Finds the credential for the user and password that a client presents.
 *
 * Clients present a user and a secret. Unikraft's clients present the organization and the whole platform token, which
 * is the base64 of `<user>:<secret>`. The user is an organization, the name of a credential, or
 * `robot$<organization>.users.kraftcloud`. If Berth does not know the secret, it asks the platform, if one is
 * configured.
 *
 * An isolate remembers good logins for a minute. The rate limiter counts all other checks, per address and user, before
 * anything is looked up. A change through the management API always looks its login up again. Otherwise a removed
 * credential that is still remembered could create another one that stays.
 */
import { HOUR, MINUTE } from '../durations.ts';
import type { StoreName } from '../namespaces/namespace.ts';
import { OciError } from '../oci/errors.ts';
import type { ControlData, CredentialRow } from '../stores/organizations/control-data.ts';
import { KEPT_MILLISECONDS } from './access-token.ts';
import { parseBasic, type Presented } from './basic.ts';
import { BoundedCache } from './bounded-cache.ts';
import type { Credential, RepositoryPattern, Right } from './credential.ts';

/** The result of a successful login. */
export interface Login {
  readonly credential: Credential;
  /** The registries where the credential is valid: 'central' and names of nodes; null for everywhere. */
  readonly registries: readonly string[] | null;
  /**
   * When the credential was last looked up, in milliseconds since the epoch. Tokens from this login expire five minutes
   * later.
   */
  readonly checkedAt: number;
  /** When the credential expires, in milliseconds since the epoch; undefined for never. */
  readonly expiresAt: number | undefined;
}

export interface LoginOptions {
  readonly control: ControlData;
  /** The store of `control`. A login that one store approved is not remembered as good for another. */
  readonly decidedBy: StoreName;
  /** A second place to record the use of a credential: a node also records it at central. */
  readonly alsoRecordAt?: ControlData | undefined;
  /** The registry that the client logs in to: 'central', or a node's name. */
  readonly registry: string;
  readonly limiters: Limiters;
  /** The client's address. */
  readonly address: string;
  /** Milliseconds since the epoch. */
  readonly now: number;
  readonly defer: (work: Promise<unknown>) => void;
  readonly knownGood: KnownGood;
  /** Whether to look up a login even if it is remembered as good. Set it for changes, because they last. */
  readonly ignoresCache?: boolean;
  /** Called last, for a secret that Berth does not know. */
  readonly elsewhere?: ((presented: Presented) => Promise<Login | undefined>) | undefined;
}

/** The Workers rate limiting bindings. */
export interface Limiters {
  /** Counts per address and user. */
  readonly ofUser: RateLimit;
  /** Counts per address, so that changing the user name does not help. */
  readonly ofAddress: RateLimit;
}

/** How long a good login is remembered, in milliseconds. */
const KNOWN_GOOD_MILLISECONDS = MINUTE;
const KNOWN_GOOD_BYTES = 2 * 1024 * 1024;

/** The good logins that an isolate remembers. It keeps hashes of secrets, never the secrets themselves. */
export class KnownGood {
  readonly #logins = new BoundedCache<{ readonly login: Login; readonly since: number; readonly until: number }>(
    KNOWN_GOOD_BYTES,
  );

  get(hash: string, now: number): Login | undefined {
    const entry = this.#logins.get(hash);
    // An entry from the future was stored before the clock was set back, so it is not used.
    return entry !== undefined && entry.since <= now && entry.until > now ? entry.login : undefined;
  }

  remember(hash: string, login: Login, now: number): void {
    const until = Math.min(
      now + KNOWN_GOOD_MILLISECONDS,
      login.checkedAt + KEPT_MILLISECONDS,
      login.expiresAt ?? Infinity,
    );
    this.#logins.set(hash, { login, since: now, until });
  }
}

/**
 * Checks a user and password.
 * @returns undefined if the user or password is wrong
 * @throws OciError TOO_MANY_REQUESTS, UNAVAILABLE, and what `elsewhere` throws
 */
export async function logIn(presented: Presented, options: LoginOptions): Promise<Login | undefined> {
  const {
    control,
    decidedBy,
    alsoRecordAt,
    registry,
    limiters,
    address,
    now,
    defer,
    knownGood,
    ignoresCache = false,
    elsewhere,
  } = options;
  const pairHash = await hashSecret(`${decidedBy}\n${registry}\n${presented.user}\n${presented.password}`);
  const known = knownGood.get(pairHash, now);
  if (known !== undefined && !ignoresCache) return known;

  // A remembered login is no guess, so it is not counted: an administrator may make more than sixty changes a minute.
  if (known === undefined) await countCheck(limiters, address, presented.user);
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
    knownGood.remember(pairHash, login, now);
    if (Math.abs(now - (row.last_used_at ?? 0)) > HOUR)
      defer(Promise.allSettled([control.recordUse(row.id, now), alsoRecordAt?.recordUse(row.id, now)]));
    return login;
  }
  // A secret that Berth knows never goes to the platform, even if the user name is wrong or the credential has expired.
  const login = isOurs ? undefined : await elsewhere?.(presented);
  if (login !== undefined) knownGood.remember(pairHash, login, now);
  return login;
}

/**
 * Counts a check of a login that is not known to be good.
 * @throws OciError TOO_MANY_REQUESTS, UNAVAILABLE
 */
export async function countCheck({ ofUser, ofAddress }: Limiters, address: string, user: string): Promise<void> {
  // The user name is hashed because it can have any length, which a key must not.
  const key = `${address} ${await hashSecret(user)}`;
  const outcomes = await Promise.all([ofUser.limit({ key }), ofAddress.limit({ key: address })]).catch(
    (cause: unknown) => {
      throw new OciError('UNAVAILABLE', { cause, headers: { 'Retry-After': '5' } });
    },
  );
  if (outcomes.every(({ success }) => success)) return;
  throw new OciError('TOO_MANY_REQUESTS', {
    message: 'too many logins from this address for this user: wait a minute, then try again',
    headers: { 'Retry-After': '60' },
  });
}

/** Returns the SHA-256 in hex. Secrets are 256 random bits, so a slow hash would protect nothing. */
export async function hashSecret(secret: string): Promise<string> {
  return new Uint8Array(await crypto.subtle.digest('SHA-256', new TextEncoder().encode(secret))).toHex();
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

function credentialOf({ id, kind, organization, rights, repositories }: CredentialRow): Credential | undefined {
  if (kind === 'platform' || kind === 'administrator') return organization === '' ? { kind, id } : undefined;
  if (organization === '') return undefined;
  return {
    kind,
    id,
    organization,
    rights: JSON.parse(rights) as Right[],
    repositories: JSON.parse(repositories) as RepositoryPattern[],
  };
}
