/**
 * A fleet behind one address. Its machines reach many isolates, which share the rate limiters and the cache of the data
 * centre.
 */
import { env } from 'cloudflare:workers';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { createApp } from '../../src/app.ts';
import { addCredentials, addUsers, basic, type NewUser, type User, USERS } from '../support/client.ts';

const MINUTE = 60_000;
const ISOLATES = 20;
const MACHINES = 500;
const FLEET = '192.0.2.1';

const app = createApp();
let tests = 0;
let lookedUp: number;
let isolates: object[];

/** A rate limiter as the binding is: it counts and answers in one call, for a period of a minute. */
function limiter(limit: number): RateLimit {
  const counted = new Map<string, number>();
  return {
    limit: async ({ key }) => {
      const period = `${Math.floor(Date.now() / MINUTE)} ${key}`;
      counted.set(period, (counted.get(period) ?? 0) + 1);
      return { success: (counted.get(period) ?? 0) <= limit };
    },
  };
}

/** Wraps a database to count look-ups of credentials. */
function countingLookUps(database: D1Database): D1Database {
  const prepare = (query: string): D1PreparedStatement => {
    if (query.includes('secret_hash = ?1')) lookedUp += 1;
    return database.prepare(query);
  };
  return { prepare, batch: (statements: D1PreparedStatement[]) => database.batch(statements) } as D1Database;
}

beforeEach(async () => {
  vi.useFakeTimers({ toFake: ['Date'] });
  tests += 1;
  vi.setSystemTime(Math.floor(Date.now() / MINUTE) * MINUTE + tests * 120 * MINUTE);
  await addUsers();
  lookedUp = 0;
  const shared = {
    ...env,
    DB_CENTRAL: countingLookUps(env.DB_CENTRAL),
    CREDENTIAL_CHECKS: limiter(60),
    ADDRESS_CHECKS: limiter(300),
  };
  isolates = Array.from({ length: ISOLATES }, () => ({ ...shared }));
});

/** Makes the limits so small that a test passes them quickly. */
function limitTo(ofUser: number, ofAddress: number): void {
  const limiters = { CREDENTIAL_CHECKS: limiter(ofUser), ADDRESS_CHECKS: limiter(ofAddress) };
  isolates = isolates.map((bindings) => ({ ...bindings, ...limiters }));
}
afterEach(() => {
  vi.useRealTimers();
});

/** Logs in as the n-th client, and returns the status. */
async function logIn(n: number, user: User, address = FLEET): Promise<number> {
  const deferred: Promise<unknown>[] = [];
  const context = {
    waitUntil: (work: Promise<unknown>) => void deferred.push(work.catch(() => undefined)),
    passThroughOnException: () => undefined,
    props: {},
  };
  const headers = { Authorization: basic(user), 'CF-Connecting-IP': address };
  const request = new Request('http://registry.localhost:8787/token', { headers });
  const response = await app.fetch(request, isolates[n % ISOLATES] ?? env, context);
  await response.arrayBuffer();
  await Promise.all(deferred);
  return response.status;
}

/** Lets machines log in at once, and returns the distinct statuses. */
async function boot(userOf: (machine: number) => User): Promise<number[]> {
  const answers = Array.from({ length: MACHINES }, (_, machine) => logIn(machine, userOf(machine)));
  return [...new Set(await Promise.all(answers))];
}

/** Guesses, one after another, until a guess is refused as one too many. Returns how many were not. */
async function guessUntilRefused(userOf: (guess: number) => string): Promise<number> {
  for (let guess = 0; guess < 1000; guess++) {
    const status = await logIn(guess, { name: userOf(guess), password: `a wrong guess ${guess}` });
    if (status === 429) return guess;
    expect(status).toBe(401);
  }
  throw new Error('no guess was refused');
}

async function lookUps(work: () => Promise<unknown>): Promise<number> {
  const before = lookedUp;
  await work();
  return lookedUp - before;
}

describe('500 machines behind one address', () => {
  test('boot at once with one credential, while guesses from there are refused', async () => {
    const guesser = async (): Promise<number> => guessUntilRefused((guess) => `user-${guess}`);
    const [statuses, guesses] = await Promise.all([boot(() => USERS.alice), guesser()]);
    expect(statuses).toEqual([200]);
    expect(guesses).toBe(300);
    expect(await boot(() => USERS.alice)).toEqual([200]);
  });

  test('boot at once with a credential each', async () => {
    const users = Array.from({ length: MACHINES }, (_, machine): NewUser => ({
      kind: 'organization',
      name: `machine-${machine}`,
      password: `secret-of-machine-${machine}`,
      organization: 'alice',
      rights: ['pull'],
    }));
    await addCredentials(users);
    expect(await boot((machine) => users[machine] ?? USERS.bob)).toEqual([200]);
    expect(await guessUntilRefused(() => 'alice')).toBe(60);
  });

  test('are one look-up a minute, once the first one is answered', async () => {
    expect(await lookUps(() => logIn(0, USERS.alice))).toBe(1);
    expect(await lookUps(() => boot(() => USERS.alice))).toBe(0);
    vi.setSystemTime(Date.now() + MINUTE);
    expect(await lookUps(() => logIn(0, USERS.alice))).toBe(1);
    expect(await lookUps(() => boot(() => USERS.alice))).toBe(0);
  });
});

describe('past the limit of failed logins', () => {
  beforeEach(async () => {
    limitTo(3, 12);
    expect(await logIn(0, USERS.alice)).toBe(200);
    await guessUntilRefused(() => 'alice');
  });

  test('an unknown secret is refused by every isolate before it is looked up, right or wrong', async () => {
    const bot: NewUser = { kind: 'organization', name: 'bot', password: 'bot-secret', organization: 'alice' };
    await addCredentials([bot]);
    const asked = async (): Promise<void> => {
      for (let i = 0; i < ISOLATES; i++) {
        expect(await logIn(i, { name: 'alice', password: 'another guess' })).toBe(429);
        expect(await logIn(i, { name: 'alice', password: bot.password })).toBe(429);
      }
    };
    expect(await lookUps(asked)).toBe(0);
    expect(await logIn(1, bot, '192.0.2.2')).toBe(200);
  });

  test('a remembered one passes, even after the minute for which it answers', async () => {
    for (let i = 0; i < ISOLATES; i++) expect(await logIn(i, USERS.alice)).toBe(200);
    for (let hour = 0; hour < 3; hour++) {
      vi.setSystemTime(Date.now() + 59 * MINUTE);
      await guessUntilRefused(() => 'alice');
      expect(await logIn(hour, USERS.alice)).toBe(200);
    }
  });

  test('a remembered one that is removed ends within a minute, and is then a guess', async () => {
    await env.DB_CENTRAL.prepare("DELETE FROM credentials WHERE id = 'id-of-alice'").run();
    vi.setSystemTime(Date.now() + MINUTE);
    await guessUntilRefused(() => 'alice');
    // The first is looked up, since it was good; it fails, and is one failure too many.
    expect(await lookUps(async () => expect(await logIn(1, USERS.alice)).toBe(429))).toBe(1);
    const others = async (): Promise<void> => {
      for (let i = 2; i < ISOLATES; i++) expect(await logIn(i, USERS.alice)).toBe(429);
    };
    expect(await lookUps(others)).toBe(0);
  });

  test('it is over after a minute', async () => {
    expect(await logIn(1, { name: 'alice', password: 'another guess' })).toBe(429);
    vi.setSystemTime(Date.now() + MINUTE);
    expect(await logIn(1, { name: 'alice', password: 'another guess' })).toBe(401);
  });

  test('other users at the address go on, until the address itself has failed too often', async () => {
    expect(await logIn(1, USERS.bob)).toBe(200);
    expect(await logIn(1, { name: 'bob', password: 'a guess' })).toBe(401);
    await guessUntilRefused((guess) => `user-${guess}`);
    expect(await logIn(2, USERS.bob)).toBe(200);
    expect(await logIn(2, { name: 'bob', password: 'a guess' })).toBe(429);
    expect(await logIn(2, USERS.official)).toBe(429);
    expect(await logIn(2, USERS.official, '192.0.2.2')).toBe(200);
  });
});
