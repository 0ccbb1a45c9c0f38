import { beforeEach, describe, expect, test, vi } from 'vitest';
import { addCredentials, addUsers, basic, call, codeOf, errorsOf, tokenFor, USERS } from '../support/client.ts';
import { putImage } from '../support/content.ts';

beforeEach(addUsers);

interface Granted {
  readonly token: string;
  readonly access_token: string;
  readonly expires_in: number;
  readonly issued_at: string;
}

function scopeOf(token: string): string {
  return (JSON.parse(atob((token.split('.')[1] ?? '').replaceAll('-', '+').replaceAll('_', '/'))) as { scope: string })
    .scope;
}

describe('the challenge', () => {
  test('is a single one, for the token flow, with its realm on the request’s own host', async () => {
    const response = await call('GET', '/v2/');
    expect(response.status).toBe(401);
    expect(response.headers.get('WWW-Authenticate')).toBe(
      'Bearer realm="http://registry.localhost:8787/token",service="registry.localhost:8787"',
    );
  });

  test.each(['Basic Og==', undefined])('names the scope for an anonymous caller too (%s)', async (authorization) => {
    const response = await call(
      'GET',
      '/v2/alice/app/manifests/latest',
      authorization === undefined ? {} : { as: { authorization } },
    );
    expect(response.status).toBe(401);
    expect(response.headers.get('WWW-Authenticate')).toContain('scope="repository:alice/app:pull"');
  });

  test.each([
    ['GET', '/v2/', ''],
    ['GET', '/v2/_catalog', ',scope="registry:catalog:*"'],
    ['GET', '/v2/alice/app/manifests/latest', ',scope="repository:alice/app:pull"'],
    ['HEAD', `/v2/alice/app/blobs/sha256:${'0'.repeat(64)}`, ',scope="repository:alice/app:pull"'],
    ['GET', '/v2/alice/app/tags/list', ',scope="repository:alice/app:pull"'],
    ['POST', '/v2/alice/app/blobs/uploads/', ',scope="repository:alice/app:pull,push"'],
    ['PUT', '/v2/alice/app/manifests/latest', ',scope="repository:alice/app:pull,push"'],
    ['DELETE', '/v2/alice/app/manifests/latest', ',scope="repository:alice/app:delete"'],
  ])('names the scope after a wrong credential too: %s %s', async (method, path, scope) => {
    const realm = 'Bearer realm="http://registry.localhost:8787/token",service="registry.localhost:8787"';
    const challengeFor = async (authorization: string | undefined): Promise<string | null> => {
      const response = await call(method, path, authorization === undefined ? {} : { as: { authorization } });
      expect(response.status).toBe(401);
      return response.headers.get('WWW-Authenticate');
    };
    expect(await challengeFor(undefined)).toBe(`${realm}${scope}`);
    const expired = await tokenFor('alice');
    vi.useFakeTimers({ toFake: ['Date'] });
    try {
      vi.setSystemTime(Date.now() + 301_000);
      const wrong = [
        expired.authorization,
        'Bearer a.forged.token',
        'Bearer nonsense',
        basic({ name: 'alice', password: 'wrong' }),
        'Basic %%%',
        'Digest x',
      ];
      for (const each of wrong)
        expect([each, await challengeFor(each)]).toEqual([each, `${realm}${scope},error="invalid_token"`]);
    } finally {
      vi.useRealTimers();
    }
  });

  test('answers a wrong password even if the repository is public', async () => {
    await putImage('bob/open', 1, ['latest'], { as: 'bob' });
    const publish = { headers: { 'Content-Type': 'application/json' }, body: '{"visibility":"public"}' };
    await call('PATCH', '/api/organizations/bob/repositories/open', { as: 'bob', ...publish });
    const wrong = { authorization: basic({ name: 'alice', password: 'wrong' }) };
    expect((await call('GET', '/v2/bob/open/manifests/latest')).status).toBe(200);
    expect((await call('GET', '/v2/bob/open/manifests/latest', { as: wrong })).status).toBe(401);
  });

  test('answers an anonymous access token at the ping too', async () => {
    expect((await call('GET', '/v2/', { as: await tokenFor(undefined) })).status).toBe(401);
  });
});

describe('GET /token', () => {
  test('gives docker login a token without scopes', async () => {
    vi.useFakeTimers({ toFake: ['Date'] });
    try {
      // Goes past everything that the isolate remembers of earlier tests, so that the token's time counts from its own
      // look-up.
      vi.setSystemTime(Date.now() + 600_000);
      const response = await call(
        'GET',
        '/token?account=alice&client_id=docker&offline_token=true&service=registry.localhost',
        {
          as: 'alice',
        },
      );
      expect(response.status).toBe(200);
      const granted = await response.json<Granted>();
      expect(granted.access_token).toBe(granted.token);
      expect(granted.expires_in).toBe(295);
      expect(Date.parse(granted.issued_at)).toBeGreaterThan(0);
      expect((await call('GET', '/v2/', { as: { authorization: `Bearer ${granted.token}` } })).status).toBe(200);
    } finally {
      vi.useRealTimers();
    }
  });

  test('grants the allowed part of the request, with several scopes in one parameter or in several', async () => {
    await putImage('bob/open', 1, ['latest'], { as: 'bob' });
    await call('PATCH', '/api/organizations/bob/repositories/open', {
      as: 'bob',
      headers: { 'Content-Type': 'application/json' },
      body: '{"visibility":"public"}',
    });
    const { authorization } = await tokenFor(
      'aliceReader',
      'repository:alice/app:pull,push repository:bob/open:pull,push',
      'repository:bob/closed:pull',
      'nonsense',
      'repository:official/base:*',
      'registry:catalog:*',
    );
    expect(scopeOf(authorization)).toBe(
      'repository:alice/app:pull repository:bob/open:pull repository:official/base:pull registry:catalog:*',
    );
    expect(
      scopeOf((await tokenFor(undefined, 'repository:bob/open:pull,push', 'registry:catalog:*')).authorization),
    ).toBe('repository:bob/open:pull');
  });

  test.each([
    ['a wrong password', basic({ name: 'alice', password: 'wrong' })],
    ['an unknown user', basic({ name: 'nobody', password: 'alice-secret' })],
    ['another’s password', basic({ name: 'alice', password: 'bob-secret' })],
    ['nonsense', 'Basic %%%'],
    ['another scheme', 'Digest x'],
  ])('refuses %s, with the same error', async (_name, authorization) => {
    const response = await call('GET', '/token', { as: { authorization } });
    expect(response.status).toBe(401);
    const { errors } = await response.json<{ errors: { code: string; message: string }[] }>();
    expect(errors[0]).toMatchObject({ code: 'UNAUTHORIZED', message: 'wrong user name or password' });
  });
});

describe('POST /token', () => {
  const post = (fields: Record<string, string>) => call('POST', '/token', { body: new URLSearchParams(fields) });

  test("accepts containerd's form", async () => {
    const fields = {
      grant_type: 'password',
      service: 's',
      client_id: 'containerd',
      username: 'alice',
      password: 'alice-secret',
    };
    const response = await post({ ...fields, scope: 'repository:alice/app:pull,push' });
    expect(response.status).toBe(200);
    const granted = await response.json<Granted & { scope: string }>();
    expect(scopeOf(granted.access_token)).toBe('repository:alice/app:pull,push');
    expect(granted.scope).toBe('repository:alice/app:pull,push');
    expect((await post({ ...fields, password: 'wrong' })).status).toBe(401);
  });

  test('says which scopes were granted, as Docker’s document requires; GET does not', async () => {
    const fields = { grant_type: 'password', username: 'reader', password: 'reader-secret' };
    const scope = 'repository:alice/app:pull,push repository:bob/app:pull registry:catalog:*';
    expect(await (await post({ ...fields, scope })).json()).toMatchObject({
      scope: 'repository:alice/app:pull registry:catalog:*',
    });
    expect(await (await post(fields)).json()).toMatchObject({ scope: '' });
    const identity = {
      grant_type: 'refresh_token',
      refresh_token: btoa('alice:alice-secret'),
      scope: 'repository:alice/app:pull',
    };
    expect(await (await post(identity)).json()).toMatchObject({ scope: 'repository:alice/app:pull' });
    const got = await (await call('GET', `/token?scope=repository:alice/app:pull`, { as: 'alice' })).json<object>();
    expect(Object.keys(got).toSorted()).toEqual(['access_token', 'expires_in', 'issued_at', 'token']);
  });

  test('accepts an identity token', async () => {
    expect((await post({ grant_type: 'refresh_token', refresh_token: btoa('alice:alice-secret') })).status).toBe(200);
    expect((await post({ grant_type: 'refresh_token', refresh_token: btoa('alice:wrong') })).status).toBe(401);
    expect((await post({ grant_type: 'refresh_token', refresh_token: 'x' })).status).toBe(401);
  });

  test('refuses a body that is larger than a form needs with 413, whether its length is stated or not', async () => {
    const form = `grant_type=password&scope=${'x'.repeat(70_000)}`;
    const headers = { 'Content-Type': 'application/x-www-form-urlencoded' };
    const streamed = new Response(form).body!.pipeThrough(new IdentityTransformStream());
    for (const body of [form, streamed]) expect((await call('POST', '/token', { body, headers })).status).toBe(413);
  });

  test('refuses another grant type, or a body that is not a form, with 400, so that the client falls back to GET', async () => {
    expect((await post({ grant_type: 'authorization_code' })).status).toBe(400);
    expect((await call('POST', '/token', { body: '{}', headers: { 'Content-Type': 'application/json' } })).status).toBe(
      400,
    );
  });
});

describe('the forms in which Unikraft’s clients present a credential', () => {
  const whole = btoa('robot$alice.users.kraftcloud:alice-secret');
  test.each([
    ['user and secret', 'alice', 'alice-secret'],
    ['robot user and secret', 'robot$alice.users.kraftcloud', 'alice-secret'],
    ['robot user and whole token', 'robot$alice.users.kraftcloud', whole],
    ['organization and whole token', 'alice', whole],
    ['organization and whole token of the organization', 'alice', btoa('alice:alice-secret')],
    ['name of the credential', 'reader', 'reader-secret'],
    ['organization, with the secret of a named credential', 'alice', 'reader-secret'],
  ])('%s', async (_name, name, password) => {
    expect((await call('GET', '/v2/', { as: { authorization: basic({ name, password }) } })).status).toBe(200);
  });

  test.each([
    ['another organization with the whole token', 'bob', whole],
    ['another robot', 'robot$bob.users.kraftcloud', 'alice-secret'],
    ['a whole token that names another', 'alice', btoa('bob:alice-secret')],
  ])('not %s', async (_name, name, password) => {
    expect((await call('GET', '/v2/', { as: { authorization: basic({ name, password }) } })).status).toBe(401);
  });
});

describe('no token lasts less than the minute that clients assume', () => {
  test.each([
    [60_000, 200],
    [59_000, 401],
    [1000, 401],
  ])('for a credential that ends in %i ms, GET and POST answer %i', async (left, status) => {
    vi.useFakeTimers({ toFake: ['Date'] });
    try {
      const end = Math.ceil(Date.now() / 1000) * 1000 + 600_000;
      vi.setSystemTime(end - left);
      const user = { name: 'ending', password: 'ending-secret' };
      await addCredentials([{ ...user, kind: 'organization', organization: 'alice', expiresAt: end }]);
      const form = new URLSearchParams({ grant_type: 'password', username: user.name, password: user.password });
      const answers = [
        await call('GET', '/token', { as: { authorization: basic(user) } }),
        await call('POST', '/token', { body: form }),
      ];
      for (const answer of answers) {
        expect(answer.status).toBe(status);
        if (status === 200) expect((await answer.json<Granted>()).expires_in).toBe(60);
        else
          expect((await errorsOf(answer))[0]?.message).toBe(
            'the credential expires in less than a minute: use another credential',
          );
      }
      expect((await call('GET', '/v2/', { as: { authorization: basic(user) } })).status).toBe(200);
    } finally {
      vi.useRealTimers();
    }
  });
});

describe('rights end in time', () => {
  test('a removed credential gets no token, and its tokens and its Basic end within five minutes', async () => {
    vi.useFakeTimers({ toFake: ['Date'] });
    try {
      // Goes past everything that the isolate remembers of earlier tests.
      vi.setSystemTime(Date.now() + 600_000);
      const as = await tokenFor('aliceReader', 'repository:alice/app:pull');
      await putImage('alice/app', 1, ['latest']);
      const manifest = '/v2/alice/app/manifests/latest';
      expect((await call('GET', manifest, { as: 'aliceReader' })).status).toBe(200);
      vi.setSystemTime(Date.now() + 50_000);
      const late = await (await call('GET', '/token', { as: 'aliceReader' })).json<Granted>();
      expect(late.expires_in).toBe(245);
      expect((await call('DELETE', '/api/organizations/alice/credentials/reader', { as: 'alice' })).status).toBe(204);
      vi.setSystemTime(Date.now() + 11_000);
      expect((await call('GET', manifest, { as: 'aliceReader' })).status).toBe(401);
      expect((await call('GET', '/token', { as: 'aliceReader' })).status).toBe(401);
      expect((await call('GET', manifest, { as })).status).toBe(200);
      vi.setSystemTime(Date.now() + 240_000);
      const refused = await call('GET', manifest, { as });
      expect(refused.status).toBe(401);
      expect(refused.headers.get('WWW-Authenticate')).toContain('error="invalid_token"');
    } finally {
      vi.useRealTimers();
    }
  });
});

/**
 * Guesses until one is refused as too many. A window of the limiter may end in between; among twice its limit plus one
 * guesses, one window has too many.
 */
async function guessUntilRefused(
  limit: number,
  address: string,
  userOf: (i: number) => string,
): Promise<{ refused: Response; statuses: number[] }> {
  const statuses: number[] = [];
  for (let i = 0; i < 2 * limit + 1; i++) {
    const as = { authorization: basic({ name: userOf(i), password: `guess-${i}` }) };
    const response = await call('GET', '/token', { as, headers: { 'CF-Connecting-IP': address } });
    if (response.status === 429) return { refused: response, statuses };
    statuses.push(response.status);
  }
  throw new Error('no guess was refused');
}

test('changing the user name does not help a guesser', async () => {
  const { refused, statuses } = await guessUntilRefused(300, '192.0.2.9', (i) => `user-${i}`);
  expect(await codeOf(refused)).toBe('TOOMANYREQUESTS');
  expect(new Set(statuses)).toEqual(new Set([401]));
});

test('changing the address within its /64 does not help a guesser; another /64 counts separately', async () => {
  const guess = async (address: string): Promise<number> => {
    const as = { authorization: basic({ name: 'bob', password: `guess-from-${address}` }) };
    return (await call('GET', '/token', { as, headers: { 'CF-Connecting-IP': address } })).status;
  };
  const statuses: number[] = [];
  for (let i = 0; i < 121 && statuses.at(-1) !== 429; i++)
    statuses.push(await guess(`2001:db8:1:2::${i.toString(16)}`));
  expect(statuses.at(-1)).toBe(429);
  expect(await guess('2001:db8:1:3::1')).toBe(401);
});

test('guesses are limited for each user and address, with 429 and Retry-After; a known good credential is not', async () => {
  const headers = { 'CF-Connecting-IP': '192.0.2.1' };
  const good = { authorization: basic(USERS.bob) };
  expect((await call('GET', '/v2/', { as: good, headers })).status).toBe(200);
  const { refused, statuses } = await guessUntilRefused(60, '192.0.2.1', () => 'bob');
  expect(refused.headers.get('Retry-After')).toBe('60');
  expect(await codeOf(refused)).toBe('TOOMANYREQUESTS');
  expect(new Set(statuses)).toEqual(new Set([401]));
  expect((await call('GET', '/v2/', { as: good, headers })).status).toBe(200);
  expect((await call('GET', '/v2/', { as: good, headers: { 'CF-Connecting-IP': '192.0.2.2' } })).status).toBe(200);
});
