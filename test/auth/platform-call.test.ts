import { expect, test } from 'vitest';
import { askPlatform, PlatformUnavailable } from '../../src/auth/platform-call.ts';

const TOKEN = btoa('alice:the-secret-of-this-test');
const GOOD = JSON.stringify({ status: 'success', data: { organization_name: 'alice' } });

type Fetcher = (url: string, init: RequestInit) => Promise<Response>;

const ask = (fetcher: Fetcher, milliseconds?: number) =>
  askPlatform('https://platform.test', TOKEN, {
    fetcher: fetcher as typeof fetch,
    ...(milliseconds === undefined ? {} : { milliseconds }),
  });

const answering = (status: number, body: BodyInit | null = null, headers: HeadersInit = {}): Fetcher => {
  return async () => new Response(body, { status, headers });
};

test('a call sends the token, follows no redirect, and caches nothing', async () => {
  const calls: [string, RequestInit][] = [];
  const answer = await ask(async (...call) => {
    calls.push(call);
    return new Response(GOOD);
  });
  expect(answer).toEqual({ kind: 'good', organization: 'alice' });
  expect(calls).toMatchObject([
    [
      'https://platform.test/v1/auth',
      { redirect: 'manual', cache: 'no-store', headers: { Authorization: `Bearer ${TOKEN}` } },
    ],
  ]);
});

const REFUSAL = JSON.stringify({ status: 'error', errors: [{ status: 403, message: 'no' }] });

test.each([
  [401, GOOD],
  [401, ''],
  [403, REFUSAL],
])('%i means a bad token, with the body %s', async (status, body) => {
  expect(await ask(answering(status, body))).toEqual({ kind: 'bad' });
});

test.each([
  ['another status', answering(500, GOOD), 'status 500'],
  ['an unexpected status', answering(404, GOOD), 'status 404'],
  ['a proxy that refuses everyone', answering(403, '<html>Forbidden</html>'), 'status 403'],
  ["a refusal without the platform's message", answering(403), 'status 403'],
  ['a refusal with the body of a success', answering(403, GOOD), 'status 403'],
  ['an endless refusal', answering(403, `${REFUSAL}${' '.repeat(100_000)}`), 'status 403'],
  ['another kind of success', answering(202, GOOD), 'status 202'],
  ['a redirect', answering(302, null, { Location: 'https://elsewhere.test/v1/auth' }), 'status 302'],
  ['no body', answering(200), 'an answer that does not name a valid organization'],
  ['a body that is not JSON', answering(200, '<html>'), 'an answer that does not name a valid organization'],
  [
    'an invalid organization',
    answering(200, GOOD.replace('alice', '../bob')),
    'an answer that does not name a valid organization',
  ],
  ['a large body', answering(200, `${GOOD}${' '.repeat(100_000)}`), 'an answer of more than 65536 bytes'],
  [
    'a failure',
    async () => Promise.reject(new Error(`cannot send Bearer ${TOKEN}`)),
    'it could not be reached, or broke off',
  ],
] as const)('%s means that the platform is away', async (_, fetcher, problem) => {
  expect(await ask(fetcher)).toMatchObject({ kind: 'unavailable', problem });
});

test.each([
  [500, true],
  [503, true],
  [402, false],
  [429, false],
  [200, false],
])('the status %i says that the platform is away for every token: %s', async (status, isAway) => {
  expect(await ask(answering(status))).toMatchObject({ kind: 'unavailable', isAway });
});

test('a failed connection says that the platform is away for every token', async () => {
  expect(await ask(async () => Promise.reject(new Error('refused')))).toMatchObject({ isAway: true });
});

test('an endless body is not read to its end', async () => {
  let pieces = 0;
  let cancelled = false;
  const body = new ReadableStream<Uint8Array>({
    pull(controller) {
      pieces += 1;
      controller.enqueue(new Uint8Array(1024).fill(32));
    },
    cancel() {
      cancelled = true;
    },
  });
  expect(await ask(async () => new Response(body))).toMatchObject({ kind: 'unavailable' });
  expect([pieces < 80, cancelled]).toEqual([true, true]);
});

test.each([
  ['an answer', async () => new Promise<Response>(() => undefined)],
  ['a body', async () => new Response(new ReadableStream({ pull: () => new Promise(() => undefined) }))],
] as [string, Fetcher][])('%s that never comes is given up after the configured time', async (_, fetcher) => {
  let signal: AbortSignal | null | undefined;
  const answer = await ask((url, init) => {
    signal = init.signal;
    return fetcher(url, init);
  }, 20);
  expect(answer).toEqual({ kind: 'unavailable', problem: 'no answer within 20 ms', isAway: true });
  expect(signal?.aborted).toBe(true);
});

test('the error says to try again, and contains no token', () => {
  const error = new PlatformUnavailable('status 500');
  expect([error.status, error.code, error.headers]).toEqual([503, 'UNAVAILABLE', { 'Retry-After': '5' }]);
  expect(`${error.message} ${String(error.cause)}`).not.toContain('Bearer');
});
