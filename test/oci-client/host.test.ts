import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Repository } from '../../src/oci-client/repository.ts';
import type { Digest } from '../../src/oci/digest.ts';
import { addUsers, basic, USERS } from '../support/client.ts';
import { ALICE, hostOf, type Wired, wired } from './support.ts';

beforeEach(addUsers);
afterEach(() => void vi.useRealTimers());

const digest = `sha256:${'0'.repeat(64)}` as Digest;
const logins = ({ sent }: Wired) => sent.filter(({ url }) => url.pathname === '/token');
const refusal = (status: number, headers: Record<string, string> = {}) => new Response(null, { status, headers });

test('a login is checked, and a wrong one refused', async () => {
  await hostOf(wired()).check();
  const wrong = hostOf(wired(), { username: 'alice', password: 'wrong' }).check();
  await expect(wrong).rejects.toMatchObject({ status: 401, code: 'UNAUTHORIZED' });
});

test('one token serves many requests of a repository', async () => {
  const wire = wired();
  const repository = new Repository(hostOf(wire), 'alice/app', 'push');
  await repository.hasBlob(digest);
  await Promise.all(Array.from({ length: 5 }, () => repository.hasBlob(digest)));
  expect(logins(wire)).toHaveLength(1);
  expect(logins(wire)[0]?.url.searchParams.getAll('scope')).toEqual(['repository:alice/app:pull,push']);
});

test('the tokens of the last 100 repositories are kept', async () => {
  const wire = wired();
  const host = hostOf(wire);
  const ask = (name: string) => new Repository(host, `alice/${name}`, 'push').hasBlob(digest);
  for (let i = 0; i <= 100; i++) await ask(`app${i}`);
  const before = logins(wire).length;
  await ask('app100');
  expect(logins(wire)).toHaveLength(before);
  await ask('app0');
  expect(logins(wire)).toHaveLength(before + 1);
});

test('requests that begin together share the exchange of a token', async () => {
  const wire = wired();
  const host = hostOf(wire);
  await new Repository(host, 'alice/app', 'push').hasBlob(digest);
  const other = new Repository(host, 'alice/other', 'push');
  await Promise.all(Array.from({ length: 5 }, () => other.hasBlob(digest)));
  expect(logins(wire)).toHaveLength(2);
});

test('a token is exchanged before it ends', async () => {
  const wire = wired();
  const repository = new Repository(hostOf(wire), 'alice/app', 'push');
  await repository.hasBlob(digest);
  vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 270_000 });
  await Promise.all(Array.from({ length: 5 }, () => repository.hasBlob(digest)));
  expect(logins(wire)).toHaveLength(2);
});

test('a token that the registry no longer takes is exchanged once', async () => {
  const challenge = { 'WWW-Authenticate': 'Bearer realm="/token"' };
  let isRevoked = false;
  const wire = wired(({ headers }) => (isRevoked && 'authorization' in headers ? refusal(401, challenge) : undefined));
  const repository = new Repository(hostOf(wire), 'alice/app', 'push');
  await repository.hasBlob(digest);
  isRevoked = true;
  await expect(repository.hasBlob(digest)).rejects.toMatchObject({ status: 401 });
  expect(logins(wire)).toHaveLength(2);
});

test('a registry that has named a token service that fails is asked for another', async () => {
  let isWrong = true;
  const challenge = { 'WWW-Authenticate': 'Bearer realm="/token-of-yesterday"' };
  const wire = wired(({ url }) => {
    if (url.pathname === '/token-of-yesterday') return refusal(404, {});
    return isWrong ? refusal(401, challenge) : undefined;
  });
  const repository = new Repository(hostOf(wire), 'alice/app', 'push');
  await expect(repository.hasBlob(digest)).rejects.toThrow('the login was answered with status 404');
  isWrong = false;
  expect(await repository.hasBlob(digest)).toBe(false);
});

test('a registry with Basic gets the password, and only after it asked', async () => {
  const expected = basic(USERS.alice);
  const wire = wired(({ headers }) =>
    refusal(headers['authorization'] === expected ? 200 : 401, { 'WWW-Authenticate': 'Basic realm="r"' }),
  );
  const host = hostOf(wire);
  await host.check();
  await host.check();
  expect(wire.sent.map(({ headers }) => headers['authorization'])).toEqual([undefined, expected, expected]);
});

test('an identity token is exchanged by OAuth 2', async () => {
  const wire = wired(({ method, url, headers }) => {
    if (url.host === 'auth.example') return Response.json(method === 'POST' ? { access_token: 'given' } : {});
    const challenge = { 'WWW-Authenticate': 'Bearer realm="https://auth.example/token",service="s"' };
    return refusal(headers['authorization'] === 'Bearer given' ? 200 : 401, challenge);
  });
  await hostOf(wire, { identityToken: 'refresh' }).check();
  expect(wire.sent.map(({ method, url }) => `${method} ${url.host}`)).toEqual([
    'GET registry.localhost:8787',
    'POST auth.example',
    'GET registry.localhost:8787',
  ]);
});

test('a password is not sent without encryption, even if a registry with encryption asks for that', async () => {
  const wire = wired(() => refusal(401, { 'WWW-Authenticate': 'Bearer realm="http://auth.example/token"' }));
  await expect(hostOf(wire, ALICE, 'https://registry.example').check()).rejects.toThrow('without encryption');
  expect(wire.sent).toHaveLength(1);
});

test('a redirect to another host is followed without the login', async () => {
  const wire = wired(({ url, headers }) => {
    if (url.host === 'blobs.example') return new Response('bytes');
    return url.pathname.includes('/blobs/') && headers['authorization'] !== undefined
      ? refusal(307, { Location: 'https://blobs.example/object?signature=s' })
      : undefined;
  });
  const repository = new Repository(hostOf(wire), 'alice/app', 'pull');
  expect(await (await repository.getBlob(digest, 0, 5, true)).text()).toBe('bytes');
  const last = wire.sent.at(-1);
  expect(last?.url.href).toBe('https://blobs.example/object?signature=s');
  expect(last?.headers['authorization']).toBeUndefined();
});

test('a redirect that gives up encryption is not followed', async () => {
  const wire = wired(() => refusal(302, { Location: 'http://blobs.example/object' }));
  await expect(hostOf(wire, ALICE, 'https://registry.example').check()).rejects.toThrow('without encryption');
});

test('redirects that do not end are given up', async () => {
  const wire = wired(({ url }) => refusal(302, { Location: `${url.pathname}x` }));
  await expect(hostOf(wire).check()).rejects.toMatchObject({ status: 302 });
  expect(wire.sent.length).toBeLessThan(10);
});

test('a call is tried again after failures that may pass, as late as the registry asks', async () => {
  const failures = [refusal(503), refusal(429, { 'Retry-After': '7' }), refusal(429, { 'Retry-After': '3600' })];
  const wire = wired(() => failures.shift());
  await hostOf(wire).check();
  const [first = 0, ...asked] = wire.waits;
  expect(first).toBeGreaterThanOrEqual(375);
  expect(first).toBeLessThanOrEqual(625);
  expect(asked).toEqual([7000, 3_600_000]);
});

test('a call that keeps failing is given up with the reason of the registry', async () => {
  const wire = wired(() =>
    Response.json({ errors: [{ code: 'UNAVAILABLE', message: 'try\u001B[2J again' }] }, { status: 503 }),
  );
  await expect(hostOf(wire).check()).rejects.toThrow(
    'registry.localhost:8787: GET /v2/ was answered with status 503, UNAVAILABLE: try [2J again',
  );
  expect(wire.sent).toHaveLength(6);
});

test('a refusal is not tried again', async () => {
  const wire = wired(() => refusal(403));
  await expect(hostOf(wire).check()).rejects.toMatchObject({ status: 403 });
  expect(wire.sent).toHaveLength(1);
});
