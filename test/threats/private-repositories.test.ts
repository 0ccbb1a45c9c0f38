import { beforeEach, describe, expect, test } from 'vitest';
import { addUsers, basic, type UserName } from '../support/client.ts';
import { first } from '../support/fixture.ts';
import { type As, type Host, HOSTS_AND_NODES } from './hosts.ts';

beforeEach(addUsers);

async function catalog(host: Host, as: As | undefined, query = ''): Promise<string[]> {
  const response = await host.call('GET', `/v2/_catalog${query}`, as === undefined ? {} : { as });
  return (await response.json<{ repositories?: string[] }>()).repositories ?? [];
}

describe.each(HOSTS_AND_NODES)('private repositories are neither listed nor pulled at $name', (host) => {
  beforeEach(async () => {
    await host.putImage('alice/app', 1, ['latest']);
    await host.putImage('alice/other', 1, ['latest']);
    await host.putImage('bob/open', 1, ['latest'], 'bob');
    await host.putImage('bob/secret', 1, ['latest'], 'bob');
    await host.putImage('official/base', 1, ['latest'], 'official');
    await host.publish('bob', 'open');
  });

  test.each<[UserName | undefined, string[]]>([
    [undefined, []],
    ['alice', ['alice/app', 'alice/other', 'bob/open', 'official/base']],
    ['aliceApp', ['alice/app', 'bob/open', 'official/base']],
    ['bob', ['bob/open', 'bob/secret', 'official/base']],
    ['admin', ['bob/open', 'official/base']],
    ['platform', ['alice/app', 'alice/other', 'bob/open', 'bob/secret', 'official/base']],
  ])('the catalog of %s', async (as, expected) => {
    expect(await catalog(host, as)).toEqual(expected);
    // The rule holds for every start and size of a page.
    for (const last of ['', 'alice/app', 'bob/open', 'bob/secre', 'zzz', '\u{7f}', '/', '%']) {
      const from = `?n=1&last=${encodeURIComponent(last)}`;
      for (const name of await catalog(host, as, from)) expect(expected).toContain(name);
    }
  });

  test('no answer is kept for another caller', async () => {
    const digest = first((await host.putImage('bob/secret', 1, ['latest'], 'bob')).manifest.requiredBlobs);
    for (const path of ['manifests/latest', `blobs/${digest}`, 'tags/list']) {
      const url = `/v2/bob/secret/${path}`;
      for (const [as, status] of [
        ['bob', 200],
        ['alice', 403],
        ['platform', 200],
        ['admin', 403],
        ['bob', 200],
      ] as const) {
        expect([path, as, await host.read(url, as)]).toEqual([path, as, status]);
      }
      expect(await host.read(url)).toBe(401);
      // No cache on the way may keep an answer either.
      const response = await host.call('GET', url, { as: 'bob' });
      expect(response.headers.get('Cache-Control') ?? '').not.toMatch(/public|max-age|s-maxage|immutable/);
      await response.arrayBuffer();
    }
  });

  test('a remembered login admits no other login', async () => {
    expect(await host.read('/v2/bob/secret/tags/list', 'bob')).toBe(200);
    for (const [name, password] of [
      ['alice', 'bob-secret'],
      ['bob', 'alice-secret'],
      ['bob\n', 'bob-secret'],
      ['bob', '\nbob-secret'],
    ] as const) {
      expect(await host.read('/v2/bob/secret/tags/list', { authorization: basic({ name, password }) })).toBe(401);
    }
  });

  test('a repository is private as soon as it is made private', async () => {
    const digest = first((await host.putImage('bob/open', 1, ['latest'], 'bob')).manifest.requiredBlobs);
    const token = await host.tokenFor('alice', 'repository:bob/open:pull');
    const paths = ['manifests/latest', `blobs/${digest}`, 'tags/list'].map((path) => `/v2/bob/open/${path}`);
    for (const path of paths) expect([await host.read(path), await host.read(path, token)]).toEqual([200, 200]);
    const headers = { 'Content-Type': 'application/json' };
    await host.call('PATCH', '/api/organizations/bob/repositories/open', {
      as: 'bob',
      headers,
      body: '{"visibility":"private"}',
    });
    for (const path of paths) expect([await host.read(path), await host.read(path, token)]).toEqual([401, 403]);
    expect(await catalog(host, 'alice')).not.toContain('bob/open');
  });

  test('a token for one repository is not valid for one with a similar name', async () => {
    const token = await host.tokenFor('alice', 'repository:alice/app:pull');
    for (const name of ['alice/other', 'alice/app/below', 'alice/ap', 'alice/app2']) {
      expect([name, await host.read(`/v2/${name}/tags/list`, token)]).toEqual([name, 401]);
    }
    const restricted: [string, number][] = [
      ['alice/app', 200],
      ['alice/app/below', 403],
      ['alice/app2', 403],
      ['alice/team', 403],
      ['alice/teams/x', 403],
      ['alice/team/x', 404],
    ];
    for (const [name, status] of restricted)
      expect([name, await host.read(`/v2/${name}/tags/list`, 'aliceApp')]).toEqual([name, status]);
  });
});
