import { beforeEach, describe, expect, test } from 'vitest';
import type { PlatformAnswer } from '../../src/auth/platform-call.ts';
import { PlatformChecks } from '../../src/auth/platform-checks.ts';
import type { OrganizationName } from '../../src/oci/reference.ts';

const GOOD: PlatformAnswer = { kind: 'good', organization: 'alice' as OrganizationName };
const BAD: PlatformAnswer = { kind: 'bad' };
const AWAY: PlatformAnswer = { kind: 'unavailable', problem: 'status 500', isAway: true };
const LIMITED: PlatformAnswer = { kind: 'unavailable', problem: 'status 429', isAway: false };

let now: number;
/** One entry for each call, which the test answers. */
let calls: { readonly token: string; readonly answer: (answer: PlatformAnswer) => void }[];
let deferred: Promise<unknown>[];
beforeEach(() => {
  now = Date.UTC(2026, 0, 2);
  calls = [];
  deferred = [];
});

const open = (waitMilliseconds?: number) =>
  new PlatformChecks(
    (token) => {
      const { promise, resolve } = Promise.withResolvers<PlatformAnswer>();
      calls.push({ token, answer: resolve });
      return promise;
    },
    () => now,
    waitMilliseconds,
  );

const check = (checks: PlatformChecks, token = 'token') => checks.check(token, (work) => void deferred.push(work));

/** Waits until this many calls were made. */
async function called(count: number): Promise<void> {
  while (calls.length < count) await new Promise((done) => setTimeout(done, 1));
}

async function answered(checks: PlatformChecks, answer: PlatformAnswer, token = 'token') {
  const before = calls.length;
  const result = check(checks, token);
  result.catch(() => undefined);
  await called(before + 1);
  calls[before]?.answer(answer);
  return result;
}

describe('keeps', () => {
  test('a good answer, until its tokens would last less than a minute', async () => {
    const checks = open();
    const asked = now;
    const checked = { organization: 'alice', checkedAt: asked };
    expect(await answered(checks, GOOD)).toEqual(checked);
    now = asked + 234_999;
    expect(await check(checks)).toEqual(checked);
    expect(calls.length).toBe(1);
    now = asked + 235_000;
    expect(await answered(checks, BAD)).toBeUndefined();
  });

  test('a good answer from the time of the question, not of the answer', async () => {
    const checks = open();
    const asked = now;
    const result = check(checks);
    await called(1);
    now += 4000;
    calls[0]?.answer(GOOD);
    expect((await result)?.checkedAt).toBe(asked);
  });

  test('a bad answer, for ten seconds', async () => {
    const checks = open();
    expect(await answered(checks, BAD)).toBeUndefined();
    now += 9999;
    expect(await check(checks)).toBeUndefined();
    expect(calls.length).toBe(1);
    now += 1;
    expect(await answered(checks, GOOD)).toMatchObject({ organization: 'alice' });
  });

  test('no answer of a platform that is away', async () => {
    const checks = open();
    await expect(answered(checks, AWAY)).rejects.toMatchObject({ kind: 'UNAVAILABLE' });
    expect(await answered(checks, GOOD)).toMatchObject({ organization: 'alice' });
  });

  test('separate answers for any number of tokens', async () => {
    const checks = new PlatformChecks(
      async (token) => ({ kind: 'good', organization: token as OrganizationName }),
      () => now,
    );
    for (let i = 0; i < 2500; i++) expect((await check(checks, `org${i}`))?.organization).toBe(`org${i}`);
  });
});

describe('after the platform has failed for a token that was good', () => {
  const wasGood = (checks: PlatformChecks, token: string) =>
    checks.check(token, (work) => void deferred.push(work), true);
  const fail = async (checks: PlatformChecks, token: string, answer = AWAY) => {
    const before = calls.length;
    const result = wasGood(checks, token);
    result.catch(() => undefined);
    await called(before + 1);
    calls[before]?.answer(answer);
    await expect(result).rejects.toMatchObject({ kind: 'UNAVAILABLE' });
  };

  test('one of these tokens asks every three seconds, for all of them', async () => {
    const checks = open();
    await fail(checks, 'one');
    now += 2999;
    for (const token of ['one', 'two'])
      await expect(wasGood(checks, token)).rejects.toMatchObject({ kind: 'UNAVAILABLE' });
    expect(calls.length).toBe(1);
    now += 1;
    const turn = wasGood(checks, 'two');
    await called(2);
    await expect(wasGood(checks, 'one')).rejects.toMatchObject({ kind: 'UNAVAILABLE' });
    calls[1]?.answer(GOOD);
    expect(await turn).toMatchObject({ organization: 'alice' });
    void wasGood(checks, 'one');
    await called(3);
  });

  test('a token that is not known to have been good is asked about, and keeps no other waiting', async () => {
    const checks = open();
    await expect(answered(checks, AWAY, 'guess')).rejects.toMatchObject({ kind: 'UNAVAILABLE' });
    await fail(checks, 'one');
    expect(await answered(checks, GOOD, 'new')).toBeDefined();
    expect(calls.map(({ token }) => token)).toEqual(['guess', 'one', 'new']);
  });

  test('an answer that may concern only its own token keeps no other waiting', async () => {
    const checks = open();
    await fail(checks, 'one', LIMITED);
    void wasGood(checks, 'two');
    await called(2);
    expect(calls.map(({ token }) => token)).toEqual(['one', 'two']);
  });

  test('a pause that began while the clock was far ahead ends once the clock is set back', async () => {
    const checks = open();
    await fail(checks, 'one');
    now -= 3 * 24 * 3_600_000;
    await fail(checks, 'two');
    expect(calls.length).toBe(2);
  });
});

describe('after the clock was set back by days', () => {
  const DAYS = 3 * 24 * 3_600_000;

  test.each([
    ['good', GOOD],
    ['bad', BAD],
  ])('an earlier %s answer is asked for again', async (_, answer) => {
    const checks = open();
    await answered(checks, answer);
    now -= DAYS;
    await answered(checks, answer === GOOD ? BAD : GOOD);
    expect(calls.length).toBe(2);
  });

  test('a call of a cancelled request keeps nobody waiting', async () => {
    const checks = open();
    void check(checks).catch(() => undefined);
    await called(1);
    now -= DAYS;
    expect(await answered(checks, GOOD)).toBeDefined();
  });
});

describe('forgets', () => {
  const many = 1000;
  /** Answers that tokens starting with "bad" are bad. */
  const openAsking = (asked: string[]) =>
    new PlatformChecks(
      async (token) => {
        asked.push(token);
        return token.startsWith('bad') ? BAD : GOOD;
      },
      () => now,
    );

  test('no good answer because of bad ones', async () => {
    const asked: string[] = [];
    const checks = openAsking(asked);
    await check(checks, 'good');
    for (let i = 0; i < 2 * many + 10; i++) await check(checks, `bad${i}`);
    await check(checks, 'good');
    expect(asked.filter((token) => token === 'good').length).toBe(1);
  });

  test.each(['good', 'bad'])('only the oldest of the %s answers', async (kind) => {
    const asked: string[] = [];
    const checks = openAsking(asked);
    for (let i = 0; i <= many; i++) await check(checks, `${kind}${i}`);
    asked.length = 0;
    for (let i = many; i > 0; i--) await check(checks, `${kind}${i}`);
    expect(asked).toEqual([]);
    await check(checks, `${kind}0`);
    expect(asked).toEqual([`${kind}0`]);
  });
});

describe('concurrent checks of one token', () => {
  test.each([
    ['a good one', GOOD],
    ['a bad one', BAD],
  ] as const)('make one call: %s', async (_, answer) => {
    const checks = open();
    const results = Array.from({ length: 20 }, () => check(checks));
    await called(1);
    calls[0]?.answer(answer);
    expect(new Set((await Promise.all(results)).map((checked) => checked?.organization)).size).toBe(1);
    expect(calls.length).toBe(1);
  });

  test('make one call, which fails for all of them', async () => {
    const checks = open();
    const results = Promise.allSettled(Array.from({ length: 20 }, () => check(checks)));
    await called(1);
    calls[0]?.answer(AWAY);
    expect(new Set((await results).map(({ status }) => status))).toEqual(new Set(['rejected']));
    expect(calls.length).toBe(1);
  });

  test('of two tokens make two calls', async () => {
    const checks = open();
    const results = ['one', 'two', 'one', 'two'].map((token) => check(checks, token));
    await called(2);
    for (const { answer } of calls) answer(GOOD);
    await Promise.all(results);
    expect(calls.map(({ token }) => token).toSorted()).toEqual(['one', 'two']);
  });

  test('the call continues after the response of the request that made it', async () => {
    const checks = open();
    const result = check(checks);
    await called(1);
    expect(deferred.length).toBe(1);
    calls[0]?.answer(AWAY);
    await expect(result).rejects.toThrow();
    // The promise for waitUntil never rejects.
    await expect(deferred[0]).resolves.toEqual(AWAY);
  });

  test('when the calling request is gone, one waiting request calls instead, once', async () => {
    const checks = open(30);
    void check(checks);
    await called(1);
    const waiting = Array.from({ length: 5 }, () => check(checks));
    // The clock of the check must advance with real time.
    setTimeout(() => (now += 30), 30);
    await called(2);
    calls[1]?.answer(GOOD);
    expect((await Promise.all(waiting)).map((checked) => checked?.organization)).toEqual(Array(5).fill('alice'));
    expect(calls.length).toBe(2);
    // A late answer does no harm.
    calls[0]?.answer(BAD);
  });

  test('a call that was given up long ago keeps nobody waiting', async () => {
    const checks = open(60_000);
    void check(checks);
    await called(1);
    now += 60_000;
    expect(await answered(checks, GOOD)).toMatchObject({ organization: 'alice' });
  });
});
