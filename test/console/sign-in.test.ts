/** Sessions of the console: how they begin and end, and who can use them. */
import { env } from 'cloudflare:workers';
import { beforeEach, describe, expect, test } from 'vitest';
import { SigningKeys } from '../../src/auth/signing-keys.ts';
import { Sessions } from '../../src/console/session.ts';
import { HOUR } from '../../src/durations.ts';
import { addCredentials, addUsers, call, callApi } from '../support/client.ts';
import { ORIGIN, Reader } from './support.ts';

beforeEach(() => addUsers());

test('a page without a session leads to the sign-in, and back', async () => {
  const reader = new Reader();
  const refused = await reader.send('GET', '/images?prefix=alice');
  expect([refused.status, refused.headers.get('Location')]).toEqual([303, '/sign-in?to=%2Fimages%3Fprefix%3Dalice']);
  expect(await reader.text('/sign-in?to=%2Fimages%3Fprefix%3Dalice')).toContain(
    'name="to" value="/images?prefix=alice"',
  );
  const answer = await reader.signIn('alice', 'alice-secret', '/images?prefix=alice');
  expect([answer.status, answer.headers.get('Location')]).toEqual([303, '/images?prefix=alice']);
  expect(await reader.text('/images')).toContain('Sign out');
});

test('the cookie is for the console alone, and scripts cannot read it', async () => {
  const answer = await new Reader().signIn('alice', 'alice-secret');
  expect(answer.headers.get('Set-Cookie')).toMatch(
    /^berth-session=[\w.-]+; Max-Age=28800; Path=\/; HttpOnly; SameSite=Strict$/,
  );
});

test('over HTTPS the cookie is a __Host- cookie', async () => {
  const answer = await call('POST', 'https://console.localhost:8790/sign-in', {
    headers: { Origin: 'https://console.localhost:8790', 'Content-Type': 'application/x-www-form-urlencoded' },
    body: 'user=alice&secret=alice-secret&to=/',
  });
  expect(answer.headers.get('Set-Cookie')).toMatch(
    /^__Host-berth-session=[\w.-]+; Max-Age=28800; Path=\/; HttpOnly; Secure; SameSite=Strict$/,
  );
});

test('the cookie reveals neither the user nor the secret', async () => {
  const { cookie } = await Reader.signedIn('alice');
  const parts = cookie.split('=')[1]?.split('.') ?? [];
  const texts = parts.map((part) => new TextDecoder().decode(Uint8Array.fromBase64(part, { alphabet: 'base64url' })));
  expect(texts.join(' ')).not.toContain('alice');
});

test('a wrong secret is refused with a message, and begins no session', async () => {
  const reader = new Reader();
  const answer = await reader.signIn('alice', 'wrong');
  expect(answer.status).toBe(401);
  expect(await answer.text()).toContain('Wrong user or secret');
  expect(reader.cookie).toBe('');
});

test('a form that cannot be read is refused with a page', async () => {
  const answer = await call('POST', `${ORIGIN}/sign-in`, {
    headers: { Origin: ORIGIN, 'Content-Type': 'multipart/form-data' },
    body: 'user=alice',
  });
  expect([answer.status, await answer.text()]).toEqual([400, expect.stringContaining('cannot be read')]);
});

test.each([
  ['too long for a cookie is refused, because browsers would drop it', 3000, 400, 'too long for a session'],
  ['that just fits begins a session', 2800, 303, ''],
] as const)('a secret %s', async (_, length, status, text) => {
  const password = 'x'.repeat(length);
  await addCredentials([{ kind: 'organization', name: 'long', password, organization: 'alice' }]);
  const answer = await new Reader().signIn('alice', password);
  expect([answer.status, await answer.text()]).toEqual([status, expect.stringContaining(text)]);
  expect((answer.headers.get('Set-Cookie') ?? '').split(';')[0]?.length).toBeLessThanOrEqual(4096);
});

test('a form without a user is refused', async () => {
  expect((await new Reader().signIn('', 'x')).status).toBe(400);
});

test.each(['https://evil.example/', '//evil.example/', '/\\evil.example/', '/.//evil.example/', 'javascript:alert(1)'])(
  'signing in never leads to %s',
  async (to) => {
    const answer = await new Reader().signIn('alice', 'alice-secret', to);
    expect([answer.status, answer.headers.get('Location')]).toEqual([303, '/']);
  },
);

test('a session ends with its credential', async () => {
  const created = await callApi('POST', 'organizations/alice/credentials', 'alice', {
    name: 'brief',
    rights: ['pull'],
  });
  const { secret } = await created.json<{ secret: string }>();
  const reader = await Reader.signedIn('alice', secret);
  expect((await callApi('DELETE', 'organizations/alice/credentials/brief', 'alice')).status).toBe(204);
  // Changes look a credential up again. Reads may remember it, as for access tokens.
  const answer = await reader.send('POST', '/organizations', { form: { name: 'another' } });
  expect(answer.status).toBeGreaterThanOrEqual(303);
  expect((await callApi('GET', 'organizations/another', 'admin')).status).toBe(404);
});

test('a session ends after eight hours, even if the browser keeps its cookie', async () => {
  const keys = await SigningKeys.import([env.SIGNING_KEY]);
  const sessions = new Sessions(keys);
  const now = Date.now();
  const cookie = await sessions.seal('alice', 'alice-secret', now);
  expect(await sessions.open(cookie, now + 8 * HOUR - 1000)).toMatchObject({ user: 'alice', secret: 'alice-secret' });
  expect(await sessions.open(cookie, now + 8 * HOUR + 1000)).toBeUndefined();
});

test('a session ends with the signing key that sealed it', async () => {
  const [before, after] = [env.SIGNING_KEY, btoa('k'.repeat(32))];
  const cookie = await new Sessions(await SigningKeys.import([before])).seal('alice', 'alice-secret', Date.now());
  const opened = async (keys: [string, ...string[]]) =>
    new Sessions(await SigningKeys.import(keys)).open(cookie, Date.now());
  expect(await opened([after, before])).toMatchObject({ user: 'alice' });
  expect(await opened([after])).toBeUndefined();
});

test('signing in replaces a session that another has planted', async () => {
  const attacker = await Reader.signedIn('bob');
  const victim = new Reader();
  const form = { user: 'alice', secret: 'alice-secret', to: '/images' };
  await victim.send('POST', '/sign-in', { form, headers: { Cookie: attacker.cookie } });
  expect(victim.cookie).toMatch(/^berth-session=./);
  expect(victim.cookie).not.toBe(attacker.cookie);
  expect(await victim.text('/images')).toContain('<span>alice</span>');
  expect(await attacker.text('/images')).toContain('<span>bob</span>');
});

test('signing out ends the session in this browser', async () => {
  const reader = await Reader.signedIn('alice');
  expect((await reader.submit('/images', '/sign-out')).headers.get('Location')).toBe('/sign-in');
  expect(reader.cookie).toBe('');
  expect((await reader.send('GET', '/images')).status).toBe(303);
});

test('a part of an open page is refused without a session, not replaced by the sign-in', async () => {
  const answer = await new Reader().send('GET', '/images', { headers: { 'HX-Request': 'true' } });
  expect([answer.status, answer.headers.get('Location')]).toEqual([401, null]);
});

describe('a link of another site', () => {
  const headers = { 'Sec-Fetch-Site': 'cross-site', 'Sec-Fetch-Mode': 'navigate', 'Sec-Fetch-Dest': 'document' };

  test('makes its page open once more, with the cookie, and does not end the session', async () => {
    const answer = await new Reader().send('GET', '/images?prefix=a', { headers });
    expect([answer.status, answer.headers.get('Set-Cookie')]).toEqual([200, null]);
    expect(answer.headers.get('Cache-Control')).toBe('no-store');
    expect(await answer.text()).toContain('<meta http-equiv="refresh" content="0" />');
  });

  test.each([
    ['the second time', { 'Sec-Fetch-Site': 'same-origin' }],
    ['in a frame', { 'Sec-Fetch-Dest': 'iframe' }],
    ['by a script', { 'Sec-Fetch-Mode': 'no-cors' }],
  ])('leads to the sign-in %s', async (_, other) => {
    const answer = await new Reader().send('GET', '/images', { headers: { ...headers, ...other } });
    expect([answer.status, answer.headers.get('Set-Cookie')]).toEqual([303, null]);
  });
});

describe('a cookie that Berth has not sealed', () => {
  test.each([
    ['nonsense', 'x'],
    ['an unsealed token', `${btoa('{"alg":"none"}')}.${btoa('{"user":"admin","secret":"x","jti":"1"}')}.`],
  ])('%s is not a session', async (_, value) => {
    const answer = await new Reader().send('GET', '/images', { headers: { Cookie: `berth-session=${value}` } });
    expect(answer.headers.get('Location')).toMatch(/^\/sign-in/);
  });

  test('a changed one is not a session', async () => {
    const { cookie } = await Reader.signedIn('alice');
    const changed = `${cookie.slice(0, -2)}${cookie.endsWith('AA') ? 'BB' : 'AA'}`;
    const answer = await new Reader().send('GET', '/images', { headers: { Cookie: changed } });
    expect(answer.headers.get('Location')).toMatch(/^\/sign-in/);
  });
});

describe('a change that the console has not asked for', () => {
  const create = (reader: Reader, headers: Record<string, string>, form: Record<string, string> = {}) =>
    reader.send('POST', '/organizations', { headers, form: { name: 'forged', ...form } });

  test.each([
    ['from another site', { Origin: 'https://evil.example' }],
    ['from a sandboxed page', { Origin: 'null' }],
    ["from a registry's page", { Origin: 'http://localhost:8787' }],
    ['from a page of the same site', { Origin: ORIGIN, 'Sec-Fetch-Site': 'same-site' }],
  ])('%s is refused', async (_, headers) => {
    const reader = await Reader.signedIn('admin');
    expect((await create(reader, headers)).status).toBe(403);
    expect((await callApi('GET', 'organizations/forged', 'admin')).status).toBe(404);
  });

  test.each([
    ['without a token', {}],
    ['with a token that nobody made', { 'form-token': 'A'.repeat(43) }],
  ])('%s is refused', async (_, form) => {
    const reader = await Reader.signedIn('admin');
    expect((await create(reader, {}, form)).status).toBe(403);
    expect((await callApi('GET', 'organizations/forged', 'admin')).status).toBe(404);
  });

  test('with the token of another session is refused', async () => {
    const [one, other] = [await Reader.signedIn('admin'), await Reader.signedIn('admin')];
    const [, token = ''] = /name="form-token" value="([^"]+)"/.exec(await one.text('/organizations')) ?? [];
    expect((await create(other, {}, { 'form-token': token })).status).toBe(403);
  });
});
