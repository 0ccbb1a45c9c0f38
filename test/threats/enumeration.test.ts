import { beforeEach, describe, expect, test, vi } from 'vitest';
import { env } from 'cloudflare:workers';
import { addUsers, basic, errorsOf } from '../support/client.ts';
import { type Host, HOSTS_AND_NODES } from './hosts.ts';

beforeEach(addUsers);

/** Returns an answer without the parts that differ between any two requests. */
async function shapeOf(response: Response, ...names: readonly string[]): Promise<string> {
  const id = response.headers.get('X-Request-Id') ?? '';
  const headers = [...response.headers].filter(([name]) => name !== 'x-request-id');
  let shape = JSON.stringify([response.status, headers, await response.text()]).replaceAll(id, '');
  for (const name of names) shape = shape.replaceAll(name, '');
  return shape;
}

async function scopeGiven(host: Host, as: 'alice' | 'aliceReader' | undefined, scope: string): Promise<string> {
  const { authorization } = await host.tokenFor(as, scope);
  const [, payload = ''] = authorization.split('.');
  const text = new TextDecoder().decode(Uint8Array.fromBase64(payload, { alphabet: 'base64url' }));
  return (JSON.parse(text) as { scope: string }).scope;
}

// The tests in test/threats/matrix compare the answers of each route about unknown and forbidden repositories.
describe.each(HOSTS_AND_NODES)('enumeration and timing reveal nothing at $name', (host) => {
  test('a wrong user, a wrong password, and another’s password are refused alike', async () => {
    const wrong = [
      { name: 'alice', password: 'not-the-secret' },
      { name: 'nobody', password: 'not-the-secret' },
      { name: 'nobody', password: 'alice-secret' },
      { name: 'bob', password: 'alice-secret' },
      { name: 'admin', password: 'alice-secret' },
      { name: 'alice', password: 'admin-secret' },
      { name: '', password: 'alice-secret' },
      { name: 'alice', password: '' },
    ];
    for (const path of [
      '/token',
      '/v2/',
      '/v2/alice/app/tags/list',
      '/v2/bob/typo/tags/list',
      '/api/organizations/alice',
      '/api/organizations/typo',
    ]) {
      const shapes = new Set<string>();
      for (const [i, user] of wrong.entries()) {
        const headers = { 'CF-Connecting-IP': `198.18.0.${i}` };
        shapes.add(await shapeOf(await host.call('GET', path, { as: { authorization: basic(user) }, headers })));
      }
      expect([path, ...shapes]).toHaveLength(2);
    }
  });

  test('a token grants the same for a private repository as for one that does not exist', async () => {
    await host.putImage('bob/secret', 1, ['latest'], 'bob');
    for (const user of ['alice', 'aliceReader', undefined] as const) {
      expect(await scopeGiven(host, user, 'repository:bob/secret:pull,push')).toBe('');
      expect(await scopeGiven(host, user, 'repository:bob/absent:pull,push')).toBe('');
    }
    expect(await scopeGiven(host, 'aliceReader', 'repository:alice/absent:pull,push')).toBe(
      'repository:alice/absent:pull',
    );
  });

  test('a forbidden mount looks like one of a blob that does not exist', async () => {
    const image = await host.putImage('bob/secret', 1, ['latest'], 'bob');
    const [secret = ''] = image.manifest.requiredBlobs;
    const none = `sha256:${'0'.repeat(64)}`;
    const headersOf = async (digest: string, from: string) => {
      const response = await host.call('POST', `/v2/alice/app/blobs/uploads/?mount=${digest}&from=${from}`, {
        as: 'alice',
      });
      return [response.status, [...response.headers.keys()], await response.text()];
    };
    const unknown = await headersOf(none, 'bob/absent');
    for (const [digest, from] of [
      [secret, 'bob/secret'],
      [secret, 'bob/absent'],
      [none, 'bob/secret'],
    ] as const) {
      expect(await headersOf(digest, from)).toEqual(unknown);
    }
  });

  test('organizations look as unknown as repositories to a caller who manages neither', async () => {
    for (const path of ['', '/usage', '/credentials', '/repositories', '/repositories/app']) {
      const [own, typo] = await Promise.all(
        ['bob', 'bbo'].map(async (name) =>
          shapeOf(await host.call('GET', `/api/organizations/${name}${path}`, { as: 'alice' }), name),
        ),
      );
      expect(own).toBe(typo);
    }
    const taken = await host.call('POST', '/api/organizations', {
      as: 'alice',
      headers: { 'Content-Type': 'application/json' },
      body: '{"name":"bob"}',
    });
    expect([taken.status, (await errorsOf(taken))[0]?.code]).toEqual([403, 'DENIED']);
  });

  test('a refusal reveals nothing about the content: no size, no digest, no time', async () => {
    await host.putImage('bob/secret', 1, ['latest'], 'bob');
    const response = await host.call('HEAD', '/v2/bob/secret/manifests/latest', { as: 'alice' });
    for (const header of ['Docker-Content-Digest', 'ETag', 'Last-Modified', 'Docker-Upload-UUID', 'Link', 'Location']) {
      expect([header, response.headers.get(header)]).toEqual([header, null]);
    }
  });

  test('secrets are compared as hashes, and signatures by the platform in constant time', async () => {
    const digest = vi.spyOn(crypto.subtle, 'digest');
    const verify = vi.spyOn(crypto.subtle, 'verify');
    try {
      const hashed = () => digest.mock.calls.map(([, data]) => new TextDecoder().decode(data as Uint8Array));
      await host.read('/api/organizations', { authorization: 'Bearer a-guess-of-the-bootstrap-secret' });
      expect(hashed()).toEqual(expect.arrayContaining(['a-guess-of-the-bootstrap-secret', env.BOOTSTRAP_SECRET]));
      await host.read('/v2/', { authorization: basic({ name: 'alice', password: 'a-guess-of-a-password' }) });
      expect(hashed()).toContain('a-guess-of-a-password');

      const location = await host.open('alice/app');
      verify.mockClear();
      await host.read(`${location.slice(0, -2)}AA`, 'alice');
      expect(verify).toHaveBeenCalledOnce();
      const { authorization } = await host.tokenFor('alice', 'repository:alice/app:pull');
      verify.mockClear();
      await host.read('/v2/', { authorization: `${authorization.slice(0, -4)}AAAA` });
      expect(verify).toHaveBeenCalledOnce();
    } finally {
      digest.mockRestore();
      verify.mockRestore();
    }
  });
});
