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

test('asks with the token, follows nobody, and keeps nothing in a cache', async () => {
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
])('%i is a bad token, with the body %s', async (status, body) => {
  expect(await ask(answering(status, body))).toEqual({ kind: 'bad' });
});

test.each([
  ['another status', answering(500, GOOD), 'status 500'],
  ['a status that is none of ours', answering(404, GOOD), 'status 404'],
  ['something before it, which refuses everyone', answering(403, '<html>Forbidden</html>'), 'status 403'],
  ['a refusal in no words of the platform', answering(403), 'status 403'],
  ['a refusal that says it is none', answering(403, GOOD), 'status 403'],
  ['a refusal without an end', answering(403, `${REFUSAL}${' '.repeat(100_000)}`), 'status 403'],
  ['success of another kind', answering(202, GOOD), 'status 202'],
  ['a redirect', answering(302, null, { Location: 'https://elsewhere.test/v1/auth' }), 'status 302'],
  ['no body', answering(200), 'an answer that does not name a valid organization'],
  ['no JSON', answering(200, '<html>'), 'an answer that does not name a valid organization'],
  [
    'an organization that can be none',
    answering(200, GOOD.replace('alice', '../bob')),
    'an answer that does not name a valid organization',
  ],
  ['a large body', answering(200, `${GOOD}${' '.repeat(100_000)}`), 'an answer of more than 65536 bytes'],
  [
    'a failure',
    async () => Promise.reject(new Error(`cannot send Bearer ${TOKEN}`)),
    'it could not be reached, or broke off',
  ],
] as const)('%s is a platform that is away', async (_, fetcher, problem) => {
  expect(await ask(fetcher)).toEqual({ kind: 'unavailable', problem });
});

test('a body without an end is not read on', async () => {
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
] as [string, Fetcher][])(
  '%s that never comes is waited for no longer than was set, and given up',
  async (_, fetcher) => {
    let signal: AbortSignal | null | undefined;
    const answer = await ask((url, init) => {
      signal = init.signal;
      return fetcher(url, init);
    }, 20);
    expect(answer).toEqual({ kind: 'unavailable', problem: 'no answer within 20 ms' });
    expect(signal?.aborted).toBe(true);
  },
);

test('the error says to try again, and nothing of a token', () => {
  const error = new PlatformUnavailable('status 500');
  expect([error.status, error.code, error.headers]).toEqual([503, 'UNAVAILABLE', { 'Retry-After': '5' }]);
  expect(`${error.message} ${String(error.cause)}`).not.toContain('Bearer');
});
