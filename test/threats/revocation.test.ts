import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { addUsers, basic, USERS } from '../support/client.ts';
import { bytesOf } from '../support/fixture.ts';
import { HOSTS_AND_NODES } from './hosts.ts';

const MINUTE = 60_000;

let tests = 0;

beforeEach(async () => {
  vi.useFakeTimers({ toFake: ['Date'] });
  tests += 1;
  // Goes past everything that the isolate remembers of earlier tests.
  vi.setSystemTime(Date.now() + tests * 10 * MINUTE);
  await addUsers();
});
afterEach(() => {
  vi.useRealTimers();
});

describe.each(HOSTS_AND_NODES)('rights that outlive revocation: none at $name', (host) => {
  const pass = (milliseconds: number) => vi.setSystemTime(Date.now() + milliseconds);

  // An isolate that remembers the password still issues tokens 59 seconds after the removal.
  test.each([0, 59_000])(
    'a removed credential, whose last token is taken %i ms later, is refused after five minutes',
    async (wait) => {
      await host.putImage('alice/app', 1, ['latest']);
      const scopes = ['repository:alice/app:pull,push', 'registry:catalog:*'];
      const early = await host.tokenFor('aliceApp', ...scopes);
      expect((await host.call('DELETE', '/api/organizations/alice/credentials/app-only', { as: 'alice' })).status).toBe(
        204,
      );
      const removed = Date.now();
      pass(wait);
      const late = await host.tokenFor('aliceApp', ...scopes);
      const session = await host.open('alice/app', early);
      expect(await host.read('/v2/alice/app/tags/list', late)).toBe(200);

      vi.setSystemTime(removed + MINUTE);
      // The password is remembered for at most a minute; after that it gets no token.
      expect(await host.read('/v2/alice/app/tags/list', 'aliceApp')).toBe(401);
      expect(await host.read('/token', 'aliceApp')).toBe(401);
      const form = new URLSearchParams({
        grant_type: 'password',
        username: 'app-only',
        password: USERS.aliceApp.password,
      });
      expect((await host.call('POST', '/token', { body: form })).status).toBe(401);

      vi.setSystemTime(removed + 5 * MINUTE);
      for (const as of [early, late]) {
        expect(await host.read('/v2/', as)).toBe(401);
        expect(await host.read('/v2/_catalog', as)).toBe(401);
        expect(await host.read('/v2/alice/app/manifests/latest', as)).toBe(401);
        expect((await host.call('POST', '/v2/alice/app/blobs/uploads/', { as })).status).toBe(401);
        expect((await host.call('PATCH', session, { as, body: bytesOf(1, 10) })).status).toBe(401);
      }
    },
  );

  test('a token cannot get another token, so none outlives the removal by more than five minutes', async () => {
    const token = await host.tokenFor('aliceReader', 'repository:alice/app:pull');
    expect(await host.read('/token?scope=repository:alice/app:pull', token)).toBe(401);
    const bearer = token.authorization.slice('Bearer '.length);
    for (const form of [
      { grant_type: 'refresh_token', refresh_token: bearer },
      { grant_type: 'password', username: 'reader', password: bearer },
    ]) {
      expect((await host.call('POST', '/token', { body: new URLSearchParams(form) })).status).toBe(401);
    }
  });

  test('a removed administrator can administer nothing after a minute', async () => {
    const headers = { 'Content-Type': 'application/json' };
    expect(await host.read('/api/organizations', 'admin')).toBe(200);
    const created = await host.call('POST', '/api/credentials', {
      as: 'admin',
      headers,
      body: '{"name":"second","kind":"administrator"}',
    });
    const { secret } = await created.json<{ secret: string }>();
    const second = { authorization: basic({ name: 'second', password: secret }) };
    expect((await host.call('DELETE', '/api/credentials/admin', { as: second })).status).toBe(204);
    pass(MINUTE);
    expect(await host.read('/api/organizations', 'admin')).toBe(401);
    expect(await host.read('/api/organizations', second)).toBe(200);
  });

  test('a removed credential changes nothing from then on, even while its password is remembered', async () => {
    const headers = { 'Content-Type': 'application/json' };
    const credentials = '/api/organizations/alice/credentials';
    const created = await host.call('POST', credentials, {
      as: 'alice',
      headers,
      body: '{"name":"leaver","rights":["pull","push","delete","admin"]}',
    });
    const { secret } = await created.json<{ secret: string }>();
    const leaver = { authorization: basic({ name: 'leaver', password: secret }) };
    await host.putImage('alice/app', 1, ['latest']);
    expect(await host.read(credentials, leaver)).toBe(200);
    expect((await host.call('DELETE', `${credentials}/leaver`, { as: 'alice' })).status).toBe(204);
    // The password is remembered: it can still read for the rest of the minute.
    expect(await host.read(credentials, leaver)).toBe(200);

    const before = await host.snapshotWithoutUse();
    for (const [method, path, body] of [
      ['POST', credentials, '{"name":"again","rights":["pull","admin"]}'],
      ['DELETE', `${credentials}/reader`, undefined],
      ['POST', '/api/organizations/alice/repositories', '{"name":"open","visibility":"public"}'],
      ['PATCH', '/api/organizations/alice/repositories/app', '{"visibility":"public"}'],
      ['DELETE', '/api/organizations/alice/repositories/app', undefined],
      ['DELETE', '/api/v2.0/projects/alice/repositories/app', undefined],
    ] as const) {
      const sent = body === undefined ? {} : { headers, body };
      expect([method, path, (await host.call(method, path, { as: leaver, ...sent })).status]).toEqual([
        method,
        path,
        401,
      ]);
    }
    expect(await host.snapshotWithoutUse()).toBe(before);
  });

  test('a new secret under the same name does not revive the old one', async () => {
    const headers = { 'Content-Type': 'application/json' };
    await host.call('DELETE', '/api/organizations/alice/credentials/reader', { as: 'alice' });
    const body = '{"name":"reader","rights":["pull"]}';
    expect(
      (await host.call('POST', '/api/organizations/alice/credentials', { as: 'alice', headers, body })).status,
    ).toBe(201);
    pass(MINUTE);
    expect(await host.read('/v2/', 'aliceReader')).toBe(401);
  });
});
