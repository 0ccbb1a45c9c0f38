/**
 * Caches the platform's answers in an isolate. Concurrent checks of the same token share one call.
 *
 * - Tokens are stored only as their SHA-256.
 * - A good answer is kept only so long that an access token issued at the end is still valid for a minute. Nothing that
 *   is issued for it lasts longer than five minutes from when the platform was asked.
 * - Anyone can make up bad tokens, so they have their own room: no number of them evicts a good answer.
 * - Requests wait for each other's calls. A cancelled request never settles the promises that it created. So a call
 *   continues after its response (`defer`), and a request that waits for longer than a call can take asks itself.
 * - If the platform is away for one token that was good, it counts as away for all such tokens. One of them then asks
 *   every few seconds for all of them. An answer that may concern only one token, such as a 429, makes no other token
 *   wait. A token that is not known to have been good neither waits in this way nor makes others wait, because anyone
 *   can send a token that the platform fails for. Such tokens have the limits of failed logins.
 */
import type { OrganizationName } from '../oci/reference.ts';
import { KEPT_MILLISECONDS } from './access-token.ts';
import { hashSecret } from './secret-hash.ts';
import { CALL_MILLISECONDS, type PlatformAnswer, PlatformUnavailable } from './platform-call.ts';

/** The time for which a bad answer is kept, in milliseconds. */
const BAD_MILLISECONDS = 10_000;

/**
 * The time after a failure of the platform in which it is not asked again about tokens that were good, in milliseconds.
 */
const PAUSE_MILLISECONDS = 3000;

/** The longest wait for another request's call, in milliseconds. */
const WAIT_MILLISECONDS = CALL_MILLISECONDS + 250;

/** The most entries in each of the three maps: good answers, bad answers, calls. An entry takes a few hundred bytes. */
const ENTRIES = 1000;

/** Times are in milliseconds since the epoch. */
interface CheckedToken {
  readonly organization: OrganizationName;
  /** When the platform was asked. */
  readonly checkedAt: number;
}

interface Kept {
  /** Undefined for a bad token. */
  readonly checked: CheckedToken | undefined;
  /** The start of its validity. It is later than now if the clock was set back. */
  readonly since: number;
  readonly until: number;
}

interface Call {
  readonly since: number;
  /** Never rejects. It may never settle if the request that made the call was cancelled. */
  readonly outcome: Promise<Kept | PlatformAnswer>;
}

/** A time in which tokens that were good are answered with the problem that one of them met. */
interface Pause {
  readonly since: number;
  readonly problem: string;
}

export class PlatformChecks {
  readonly #ask: (token: string) => Promise<PlatformAnswer>;
  readonly #now: () => number;
  readonly #waitMilliseconds: number;
  readonly #good = new Map<string, Kept>();
  readonly #bad = new Map<string, Kept>();
  readonly #calls = new Map<string, Call>();
  #pause: Pause | undefined;

  /** @param ask never rejects */
  constructor(
    ask: (token: string) => Promise<PlatformAnswer>,
    now: () => number = () => Date.now(),
    waitMilliseconds = WAIT_MILLISECONDS,
  ) {
    this.#ask = ask;
    this.#now = now;
    this.#waitMilliseconds = waitMilliseconds;
  }

  /**
   * Returns what the platform says about a token.
   * @param defer lets work continue after the response: `ctx.waitUntil`
   * @param wasGood whether the token is known to have been good
   * @returns undefined for a bad token
   * @throws PlatformUnavailable
   */
  async check(
    token: string,
    defer: (work: Promise<unknown>) => void,
    wasGood = false,
  ): Promise<CheckedToken | undefined> {
    const hash = await hashSecret(token);
    for (;;) {
      const now = this.#now();
      const isKept = (kept: Kept | undefined): boolean => kept !== undefined && kept.since <= now && now < kept.until;
      const kept = [this.#good.get(hash), this.#bad.get(hash)].find(isKept);
      if (kept !== undefined) return kept.checked;
      let call = this.#calls.get(hash);
      const left = call === undefined || call.since > now ? 0 : call.since + this.#waitMilliseconds - now;
      if (call === undefined || left <= 0) {
        if (wasGood) this.#takeTurn(now);
        call = this.#begin(token, hash, wasGood);
        defer(call.outcome);
        return checkedOf(await call.outcome);
      }
      const outcome = await withinTime(call.outcome, left);
      if (outcome !== undefined) return checkedOf(outcome);
    }
  }

  /**
   * Lets a token that was good ask, and makes the others wait if the last one that asked failed.
   * @throws PlatformUnavailable
   */
  #takeTurn(now: number): void {
    if (this.#pause === undefined) return;
    const { since, problem } = this.#pause;
    if (since <= now && now < since + PAUSE_MILLISECONDS) throw new PlatformUnavailable(problem);
    this.#pause = { since: now, problem };
  }

  #begin(token: string, hash: string, wasGood: boolean): Call {
    const since = this.#now();
    const run = async (): Promise<Kept | PlatformAnswer> => {
      const answer = await this.#ask(token);
      if (this.#calls.get(hash) === call) this.#calls.delete(hash);
      if (wasGood) {
        const isAway = answer.kind === 'unavailable' && answer.isAway;
        this.#pause = isAway ? { since: this.#now(), problem: answer.problem } : undefined;
      }
      return this.#keep(hash, answer, since);
    };
    const call: Call = { since, outcome: run() };
    remember(this.#calls, hash, call);
    return call;
  }

  #keep(hash: string, answer: PlatformAnswer, checkedAt: number): Kept | PlatformAnswer {
    if (answer.kind === 'unavailable') return answer;
    const kept: Kept =
      answer.kind === 'good'
        ? {
            checked: { organization: answer.organization, checkedAt },
            since: checkedAt,
            until: checkedAt + KEPT_MILLISECONDS,
          }
        : { checked: undefined, since: checkedAt, until: this.#now() + BAD_MILLISECONDS };
    remember(kept.checked === undefined ? this.#bad : this.#good, hash, kept);
    return kept;
  }
}

/** @throws PlatformUnavailable */
function checkedOf(outcome: Kept | PlatformAnswer): CheckedToken | undefined {
  if ('until' in outcome) return outcome.checked;
  throw new PlatformUnavailable(outcome.kind === 'unavailable' ? outcome.problem : outcome.kind);
}

async function withinTime<Value>(work: Promise<Value>, milliseconds: number): Promise<Value | undefined> {
  const { promise, resolve } = Promise.withResolvers<undefined>();
  const timer = setTimeout(resolve, milliseconds);
  const first = await Promise.race([work, promise]);
  clearTimeout(timer);
  return first;
}

/** Adds an entry, and evicts the oldest if the map is full. Maps keep the order of insertion. */
function remember<Value>(map: Map<string, Value>, key: string, value: Value): void {
  map.delete(key);
  const [oldest] = map.keys();
  if (oldest !== undefined && map.size >= ENTRIES) map.delete(oldest);
  map.set(key, value);
}
