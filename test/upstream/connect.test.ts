/** The client of upstreams, whose network is a function. */
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { Repository } from '../../src/oci-client/repository.ts';
import { parseUpstream, type Reach } from '../../src/upstream/address.ts';
import { connectUpstream, Postponed, type UpstreamCredential } from '../../src/upstream/connect.ts';

const REACH: Reach = { isOwn: ({ host }) => host === 'index.example.com', allowsLoopback: false };
const LOGIN = { user: 'ci', secret: 'the-secret-of-ci' };
const BASIC = `Basic ${btoa('ci:the-secret-of-ci')}`;

interface Sent {
  readonly url: string;
  readonly authorization: string | null;
}

let sent: Sent[];
let answer: (url: URL, headers: Headers) => Response | Promise<Response>;

beforeEach(() => {
  sent = [];
  vi.stubGlobal('fetch', async (url: URL, init: RequestInit) => {
    const headers = new Headers(init.headers);
    sent.push({ url: url.href, authorization: headers.get('authorization') });
    expect(init.redirect).toBe('manual');
    return answer(url, headers);
  });
});
afterEach(() => {
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

function repositoryOf(from: string, credential?: UpstreamCredential, loginHost?: string): Repository {
  const upstream = parseUpstream(from, loginHost, REACH);
  return new Repository(connectUpstream(upstream, credential, REACH), 'library/alpine', 'pull');
}

const tags = (): Response => Response.json({ tags: ['1'] });
const challenge = (realm: string): Response =>
  new Response(null, { status: 401, headers: { 'WWW-Authenticate': `Bearer realm="${realm}",service="s"` } });

/** A registry that wants a token of a realm. */
const wantsToken =
  (realm: string, seconds = 300) =>
  (url: URL, headers: Headers): Response => {
    if (url.href.startsWith(realm)) return Response.json({ token: `t${sent.length}`, expires_in: seconds });
    return headers.has('authorization') ? tags() : challenge(realm);
  };

const exchanges = (realm: string): Sent[] => sent.filter(({ url }) => url.startsWith(realm));

test('many requests share one exchange of a token, until shortly before its end', async () => {
  vi.useFakeTimers({ toFake: ['Date'] });
  const realm = 'https://auth.docker.io/token';
  answer = wantsToken(realm, 300);
  const repository = repositoryOf('hub', LOGIN);
  await repository.tags();
  await Promise.all([repository.tags(), repository.tags(), repository.tags()]);
  expect(exchanges(realm)).toEqual([
    { url: `${realm}?service=s&scope=repository%3Alibrary%2Falpine%3Apull`, authorization: BASIC },
  ]);
  vi.setSystemTime(Date.now() + 250_000);
  await repository.tags();
  expect(exchanges(realm)).toHaveLength(2);
});

test('without a credential, the exchange is anonymous', async () => {
  answer = wantsToken('https://auth.docker.io/token');
  expect(await repositoryOf('hub').tags()).toEqual(['1']);
  expect(exchanges('https://auth.docker.io')[0]?.authorization).toBeNull();
});

test('Basic is sent to the registry alone', async () => {
  answer = (_url, headers) =>
    headers.has('authorization')
      ? tags()
      : new Response(null, { status: 401, headers: { 'WWW-Authenticate': 'Basic realm="r"' } });
  expect(await repositoryOf('https://registry.example', LOGIN).tags()).toEqual(['1']);
  expect(sent.map(({ authorization }) => authorization)).toEqual([null, BASIC]);
});

describe('a token service elsewhere', () => {
  const REALM = 'https://login.example/token';

  test('is not told the credential', async () => {
    answer = wantsToken(REALM);
    await expect(repositoryOf('https://registry.example', LOGIN).tags()).rejects.toThrow(
      'registry.example asks to send its credential to login.example: allow that with login_host',
    );
    expect(exchanges(REALM)).toEqual([]);
  });

  test('is told it if the request names its host', async () => {
    answer = wantsToken(REALM);
    expect(await repositoryOf('https://registry.example', LOGIN, 'login.example').tags()).toEqual(['1']);
  });

  test.each(['https://127.0.0.1/token', 'https://169.254.169.254/token', 'https://index.example.com/token'])(
    'at %s is not asked',
    async (realm) => {
      answer = wantsToken(realm);
      await expect(repositoryOf('https://registry.example').tags()).rejects.toThrow('a request is not sent');
      expect(exchanges(realm)).toEqual([]);
    },
  );
});

test('a registry that never accepts the login is asked twice', async () => {
  answer = (url) =>
    url.pathname === '/token' ? Response.json({ token: 't' }) : challenge('https://registry.example/token');
  await expect(repositoryOf('https://registry.example', LOGIN).tags()).rejects.toMatchObject({ status: 401 });
  expect(sent).toHaveLength(3);
});

describe('a redirect', () => {
  const to = (location: string) => (url: URL) =>
    url.host === 'registry.example' ? new Response(null, { status: 307, headers: { Location: location } }) : tags();

  test('to another host is followed without the login', async () => {
    const repository = repositoryOf('https://registry.example', LOGIN);
    answer = (url, headers) =>
      url.host === 'registry.example' && !headers.has('authorization')
        ? new Response(null, { status: 401, headers: { 'WWW-Authenticate': 'Basic realm="r"' } })
        : to('https://cdn.example/x')(url);
    expect(await repository.tags()).toEqual(['1']);
    expect(sent.at(-1)).toEqual({ url: 'https://cdn.example/x', authorization: null });
  });

  test.each([
    'https://127.0.0.1/',
    'https://169.254.169.254/latest/meta-data/',
    'https://metadata.google.internal/',
    'https://[::1]/',
    'https://localhost/',
    'https://index.example.com/api/organizations',
    'http://cdn.example/x',
  ])('to %s is not followed', async (location) => {
    answer = to(location);
    await expect(repositoryOf('https://registry.example').tags()).rejects.toThrow(/is not sent|without encryption/);
    expect(sent).toHaveLength(1);
  });
});

test('the next page of a list is not asked for at an address of the network', async () => {
  answer = () => Response.json({ tags: ['1'] }, { headers: { Link: '<https://10.0.0.1/v2/>; rel="next"' } });
  await expect(repositoryOf('https://registry.example').tags()).rejects.toThrow('10.0.0.1 is an address');
});

test('a long wait that the registry asks for is not spent waiting', async () => {
  answer = () => new Response(null, { status: 429, headers: { 'Retry-After': '3600' } });
  const refused = repositoryOf('https://registry.example').tags();
  await expect(refused).rejects.toBeInstanceOf(Postponed);
  await expect(refused).rejects.toMatchObject({ milliseconds: 3_600_000 });
  expect(sent).toHaveLength(1);
});

describe('an upstream that goes silent', () => {
  test.each<[string, () => Response | Promise<Response>]>([
    ['before its answer', () => new Promise<Response>(() => undefined)],
    ['within its answer', () => new Response(new ReadableStream({ type: 'bytes' }))],
  ])('%s is given up', async (_, silent) => {
    vi.useFakeTimers();
    answer = silent;
    const asked = repositoryOf('https://registry.example').tags();
    const outcome = expect(asked).rejects.toThrow(/does not answer|stopped sending/);
    await vi.advanceTimersByTimeAsync(10 * 60_000);
    await outcome;
  });
});

test('HTML instead of JSON is refused, and the error names the list that was asked for', async () => {
  answer = () => new Response('<html>', { headers: { 'Content-Type': 'text/html' } });
  await expect(repositoryOf('https://registry.example').tags()).rejects.toThrow(
    'the list of tags of registry.example is not a JSON object',
  );
});
