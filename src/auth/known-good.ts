/**
 * Remembers good logins: in the isolate, and in notes of its data center. So all machines of a fleet, which reach many
 * isolates, cost one look-up a minute. It keeps hashes of secrets, never the secrets themselves.
 *
 * The result of a look-up answers for a minute, wherever it is read. For an hour, the memory knows that the login was
 * good. Such a login is not a guess, so the limits of failed logins do not stop it, but it is looked up again.
 */
import { z } from 'zod';
import { HOUR, MINUTE } from '../durations.ts';
import { credentialClaim, KEPT_MILLISECONDS, SKEW_SECONDS } from './access-token.ts';
import { BoundedCache } from '../bounded-cache.ts';
import type { Login } from './credential.ts';
import type { SharedNotes } from './shared-notes.ts';

/** The time for which a good login answers without being looked up again, in milliseconds. */
const KNOWN_GOOD_MILLISECONDS = MINUTE;
const KNOWN_GOOD_BYTES = 2 * 1024 * 1024;

/** The time for which a good login is distinguished from a guess, in milliseconds. */
const ONCE_GOOD_MILLISECONDS = HOUR;

/** Times are in milliseconds since the epoch. */
interface Entry {
  readonly login: Login;
  readonly since: number;
  /** The end of the time in which the login answers. */
  readonly until: number;
}

const entry: z.ZodType<Entry> = z.object({
  login: z.object({
    credential: credentialClaim,
    registries: z.array(z.string()).nullable(),
    checkedAt: z.number(),
    expiresAt: z
      .number()
      .nullable()
      .transform((end) => end ?? undefined),
  }),
  since: z.number(),
  until: z.number(),
});

interface Remembered {
  /** Undefined if the login was good, but has to be looked up again. */
  readonly login: Login | undefined;
}

export class KnownGood {
  readonly #entries = new BoundedCache<Entry>(KNOWN_GOOD_BYTES);
  readonly #notes: SharedNotes;

  constructor(notes: SharedNotes) {
    this.#notes = notes;
  }

  /** Returns the remembered login; undefined if it is not known to have been good. @param hash of the login */
  async recall(hash: string, now: number): Promise<Remembered | undefined> {
    const own = this.#entries.get(hash);
    if (own !== undefined && answers(own, now)) return own;
    const shared = await this.#shared(hash);
    if (shared !== undefined && answers(shared, now)) {
      this.#entries.set(hash, shared);
      return shared;
    }
    return [own, shared].some((each) => each !== undefined && wasGood(each, now)) ? { login: undefined } : undefined;
  }

  /** Remembers a login that was just looked up. @param defer lets work continue after the response */
  remember(hash: string, login: Login, now: number, defer: (work: Promise<unknown>) => void): void {
    const { checkedAt, expiresAt } = login;
    const until = Math.min(now + KNOWN_GOOD_MILLISECONDS, checkedAt + KEPT_MILLISECONDS, expiresAt ?? Infinity);
    const found: Entry = { login, since: now, until };
    this.#entries.set(hash, found);
    const text = JSON.stringify({ ...found, login: { ...login, expiresAt: expiresAt ?? null } });
    defer(this.#notes.write(nameOf(hash), text, ONCE_GOOD_MILLISECONDS / 1000));
  }

  /** Forgets a login that turned out not to be good any more. */
  forget(hash: string, defer: (work: Promise<unknown>) => void): void {
    this.#entries.delete(hash);
    defer(this.#notes.erase(nameOf(hash)));
  }

  async #shared(hash: string): Promise<Entry | undefined> {
    const text = await this.#notes.read(nameOf(hash));
    return text === undefined ? undefined : entry.safeParse(JSON.parse(text)).data;
  }
}

function nameOf(hash: string): string {
  return `good login\n${hash}`;
}

function answers({ since, until }: Entry, now: number): boolean {
  return isPast(since, now) && now < until;
}

function wasGood({ since }: Entry, now: number): boolean {
  return isPast(since, now) && now < since + ONCE_GOOD_MILLISECONDS;
}

/** Whether a time has come, by a clock that may be a little behind. If not, the clock was set back since. */
function isPast(time: number, now: number): boolean {
  return time <= now + SKEW_SECONDS * 1000;
}
