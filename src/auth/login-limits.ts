/**
 * Limits failed logins: of each user at an address, and of each address. Good logins do not count, so a fleet behind
 * one address locks itself out only if it fails as well.
 *
 * The rate limiting binding counts and answers in one call, and cannot be asked without counting. So a login is counted
 * once it has failed. The isolate that thereby learns that a limit is passed leaves a note. While the note exists, a
 * login that is not known to have been good is refused without a look-up, whether it is right or wrong. A look-up that
 * is already under way is still answered.
 */
import { MINUTE } from '../durations.ts';
import { OciError } from '../oci/errors.ts';
import { SKEW_SECONDS } from './access-token.ts';
import { BoundedCache } from '../bounded-cache.ts';
import { hashSecret } from './secret-hash.ts';
import type { SharedNotes } from './shared-notes.ts';

/** The Workers rate limiting bindings. */
export interface Limiters {
  /** Counts per address and user. */
  readonly ofUser: RateLimit;
  /** Counts per address, so that changing the user name does not help. */
  readonly ofAddress: RateLimit;
}

/** The origin of a login. */
interface LoginSource {
  /** The client's address. */
  readonly address: string;
  readonly user: string;
}

/** The time for which logins are refused after a limit was passed: the period of the rate limiters. */
const REFUSED_MILLISECONDS = MINUTE;
const PASSED_BYTES = 256 * 1024;

export class LoginLimits {
  readonly #notes: SharedNotes;
  /** When limits were passed, by the hash of their keys, in milliseconds since the epoch. */
  readonly #passed = new BoundedCache<number>(PASSED_BYTES);

  constructor(notes: SharedNotes) {
    this.#notes = notes;
  }

  /** @throws OciError TOO_MANY_REQUESTS if a limit was passed within the last minute */
  async requireNotPassed(source: LoginSource, now: number): Promise<void> {
    const passed = await Promise.all((await keysOf(source)).map((key) => this.#isPassed(key, now)));
    if (passed.includes(true)) throw tooMany();
  }

  /**
   * Counts a failed login.
   * @param defer lets work continue after the response
   * @throws OciError TOO_MANY_REQUESTS if it is one too many, UNAVAILABLE
   */
  async countFailure(
    { ofUser, ofAddress }: Limiters,
    source: LoginSource,
    now: number,
    defer: (work: Promise<unknown>) => void,
  ): Promise<void> {
    const [user, address] = await keysOf(source);
    const outcomes = await Promise.all([ofUser.limit({ key: user }), ofAddress.limit({ key: address })]).catch(
      (cause: unknown) => {
        throw new OciError('UNAVAILABLE', { cause, headers: { 'Retry-After': '5' } });
      },
    );
    const passed = [user, address].filter((_, i) => outcomes[i]?.success === false);
    for (const key of passed) {
      const hash = await hashSecret(key);
      this.#passed.set(hash, now);
      defer(this.#notes.write(nameOf(hash), String(now), REFUSED_MILLISECONDS / 1000));
    }
    if (passed.length > 0) throw tooMany();
  }

  async #isPassed(key: string, now: number): Promise<boolean> {
    const hash = await hashSecret(key);
    const isRecent = (at: number): boolean => at <= now + SKEW_SECONDS * 1000 && now < at + REFUSED_MILLISECONDS;
    if (isRecent(this.#passed.get(hash) ?? -Infinity)) return true;
    const shared = Number((await this.#notes.read(nameOf(hash))) ?? -Infinity);
    if (!isRecent(shared)) return false;
    this.#passed.set(hash, shared);
    return true;
  }
}

/** Returns the keys that the limiters count by. The user name is hashed because it can have any length. */
async function keysOf({ address, user }: LoginSource): Promise<readonly [user: string, address: string]> {
  return [`${address} ${await hashSecret(user)}`, address];
}

function nameOf(hash: string): string {
  return `too many failed logins\n${hash}`;
}

function tooMany(): OciError {
  return new OciError('TOO_MANY_REQUESTS', {
    message: 'too many failed logins from this address: wait a minute, then try again',
    headers: { 'Retry-After': '60' },
  });
}
