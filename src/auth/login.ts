/**
 * Finding the credential behind what a client presents as user and password.
 *
 * The forms in use: user and secret; and from Unikraft's clients the organization with the whole platform token, which
 * is the base64 of `<user>:<secret>`. A user is an organization, a credential's own name, or
 * `robot$<organization>.users.kraftcloud`. What Berth does not know, the platform is asked about, where there is one.
 *
 * Known good secrets are remembered by the isolate for a minute. Checks of all others are counted by the rate limiter
 * for each address and user, before anything is looked up. What is managed is changed only by a login that is looked up
 * for that request: a removed credential that is still remembered could otherwise make another that stays.
 */
import { HOUR, MINUTE } from '../durations.ts';
import type { StoreName } from '../namespaces/namespace.ts';
import { OciError } from '../oci/errors.ts';
import type { ControlData, CredentialRow } from '../stores/organizations/control-data.ts';
import { KEPT_MILLISECONDS } from './access-token.ts';
import { parseBasic, type Presented } from './basic.ts';
import { BoundedCache } from './bounded-cache.ts';
import type { Credential, RepositoryPattern, Right } from './credential.ts';

/** What a good login gives. */
export interface Login {
  readonly credential: Credential;
  /** 'central' and names of nodes, where it is good; null for everywhere. */
  readonly registries: readonly string[] | null;
  /** When the credential was last looked up, in milliseconds since the epoch: what it gives ends five minutes after. */
  readonly checkedAt: number;
  /** When the credential ends, likewise. */
  readonly expiresAt: number | undefined;
}

export interface LoginOptions {
  readonly control: ControlData;
  /** The store of `control`: what one store approved is not remembered as good for another. */
  readonly decidedBy: StoreName;
  /** Where else the use of a credential is noted: at a node, central's. */
  readonly noteAlso?: ControlData | undefined;
  /** At which registry: 'central', or a node's name. */
  readonly registry: string;
  readonly limiters: Limiters;
  /** Where the request comes from. */
  readonly address: string;
  /** Milliseconds since the epoch. */
  readonly now: number;
  readonly defer: (work: Promise<unknown>) => void;
  readonly knownGood: KnownGood;
  /** Whether a login that is remembered as good is looked up all the same: for changes, which outlast it. */
  readonly looksAgain?: boolean;
  /** Asked last, about a secret that Berth does not know. */
  readonly elsewhere?: ((presented: Presented) => Promise<Login | undefined>) | undefined;
}

/** Workers' rate limiting bindings. */
export interface Limiters {
  /** For each address and user. */
  readonly ofUser: RateLimit;
  /** For each address, whoever it says it is: changing the user name must not help. */
  readonly ofAddress: RateLimit;
}

/** How long a good secret is good without being asked for again, in milliseconds. */
const KNOWN_GOOD_MILLISECONDS = MINUTE;
const KNOWN_GOOD_BYTES = 2 * 1024 * 1024;

/** What an isolate remembers of good logins: never a secret, only hashes. */
export class KnownGood {
  readonly #logins = new BoundedCache<{ readonly login: Login; readonly since: number; readonly until: number }>(
    KNOWN_GOOD_BYTES,
  );

  get(hash: string, now: number): Login | undefined {
    const entry = this.#logins.get(hash);
    // One of a time that lies ahead was remembered before the clock was set back.
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
 * @returns undefined for a wrong user or password
 * @throws OciError TOO_MANY_REQUESTS, UNAVAILABLE, and what `elsewhere` throws
 */
export async function logIn(presented: Presented, options: LoginOptions): Promise<Login | undefined> {
  const {
    control,
    decidedBy,
    noteAlso,
    registry,
    limiters,
    address,
    now,
    defer,
    knownGood,
    looksAgain = false,
    elsewhere,
  } = options;
  const pairHash = await hashSecret(`${decidedBy}\n${registry}\n${presented.user}\n${presented.password}`);
  const known = knownGood.get(pairHash, now);
  if (known !== undefined && !looksAgain) return known;

  // Nobody guesses what is remembered: an administrator may change more than sixty things a minute.
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
      defer(Promise.allSettled([control.recordUse(row.id, now), noteAlso?.recordUse(row.id, now)]));
    return login;
  }
  // A secret of Berth's own is shown to nobody, however wrong the rest is.
  const login = isOurs ? undefined : await elsewhere?.(presented);
  if (login !== undefined) knownGood.remember(pairHash, login, now);
  return login;
}

/**
 * Counts a check of something that is not known to be good.
 * @throws OciError TOO_MANY_REQUESTS, UNAVAILABLE
 */
export async function countCheck({ ofUser, ofAddress }: Limiters, address: string, user: string): Promise<void> {
  // A user name can be of any length; a key should not.
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

/** Hex SHA-256. Secrets are 256 random bits: there is nothing that a slow hash would protect. */
export async function hashSecret(secret: string): Promise<string> {
  return new Uint8Array(await crypto.subtle.digest('SHA-256', new TextEncoder().encode(secret))).toHex();
}

/**
 * The user and secret within a whole platform token, base64 of `<user>:<secret>`. Access tokens have a ".", and are
 * none.
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

/** Of random bytes that happen to be UTF-8 with a colon, this tells a token. */
const CONTROL_CHARACTER = /\p{Cc}/u;

/** `<organization>` of `robot$<organization>.users.kraftcloud`. */
export function robotOrganization(user: string): string | undefined {
  return /^robot\$(.+)\.users\.kraftcloud$/.exec(user)?.[1];
}

function registriesOf({ registries }: CredentialRow): readonly string[] | null {
  return registries === null ? null : (JSON.parse(registries) as string[]);
}

function isUserOf(row: CredentialRow, user: string): boolean {
  return user === row.name || (row.organization !== '' && [user, robotOrganization(user)].includes(row.organization));
}

/** Undefined for a row that contradicts itself: nobody gets more than what was written. */
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
