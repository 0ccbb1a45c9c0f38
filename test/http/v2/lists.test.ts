import { beforeEach, describe, expect, test } from 'vitest';
import { addUsers, call, codeOf, tokenFor, type UserName } from '../../support/client.ts';
import { putBlob, putImage, putManifest } from '../../support/content.ts';
import { bytesOf, imageOf } from '../../support/fixture.ts';

beforeEach(addUsers);

const as = 'alice';

/** Follows Link from page to page, and returns the bodies. */
async function pagesFrom<Body>(path: string): Promise<Body[]> {
  const pages: Body[] = [];
  for (let next: string | undefined = path; next !== undefined;) {
    const response: Response = await call('GET', next, { as });
    expect(response.status).toBe(200);
    pages.push(await response.json<Body>());
    next = /^<([^>]+)>; rel="next"$/.exec(response.headers.get('Link') ?? '')?.[1];
  }
  return pages;
}

describe('tags', () => {
  test('pages are linked', async () => {
    await putImage('alice/app', 1, ['c', 'a', 'b']);
    const pages = await pagesFrom<{ name: string; tags: string[] }>('/v2/alice/app/tags/list?n=2');
    expect(pages).toEqual([
      { name: 'alice/app', tags: ['a', 'b'] },
      { name: 'alice/app', tags: ['c'] },
    ]);
    expect(await pagesFrom('/v2/alice/app/tags/list?last=a')).toEqual([{ name: 'alice/app', tags: ['b', 'c'] }]);
    const none = await call('GET', '/v2/alice/app/tags/list?n=0', { as });
    expect([await none.json(), none.headers.get('Link')]).toEqual([{ name: 'alice/app', tags: [] }, null]);
  });

  test.each(['-1', 'x', '1.5', '1e3', '0x10', '%201'])('n=%s is 400', async (n) => {
    expect((await call('GET', `/v2/alice/app/tags/list?n=${n}`, { as })).status).toBe(400);
  });

  test.each(['', '99999999999999999999', '9'.repeat(400), '0002'])('n=%s is accepted by every list', async (n) => {
    await putImage('alice/app', 1, ['a', 'b', 'c']);
    const size = n === '0002' ? 2 : 3;
    const tags = await call('GET', `/v2/alice/app/tags/list?n=${n}`, { as });
    expect([tags.status, (await tags.json<{ tags: string[] }>()).tags.length]).toEqual([200, size]);
    const digest = `sha256:${'0'.repeat(64)}`;
    const paths = [
      '/v2/_catalog',
      `/v2/alice/app/referrers/${digest}`,
      '/v1/images',
      '/v1/image-store',
      '/v1/images/list',
    ];
    for (const path of paths) expect([path, (await call('GET', `${path}?n=${n}`, { as })).status]).toEqual([path, 200]);
  });

  test('n above the maximum page size is cut to it', async () => {
    const { env } = await import('cloudflare:workers');
    await putImage('alice/app', 1, ['latest']);
    const numbers = 'WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1200)';
    await env.DB_CENTRAL.prepare(
      `INSERT INTO tags ${numbers} SELECT 'alice/app', printf('t%05d', i), 'x', 1, 'central', 1, '' FROM n`,
    ).run();
    const pages = await pagesFrom<{ tags: string[] }>('/v2/alice/app/tags/list?n=999999');
    expect(pages.map(({ tags }) => tags.length)).toEqual([1000, 201]);
  });

  test('hostile strings in the parameters select nothing, break nothing and come back encoded', async () => {
    const subject = await putImage('alice/app', 1, ['a', 'b', 'c']);
    for (const hostile of [
      "' OR 1=1 --",
      '">;rel="x"<script>',
      'a\r\nX-Evil: 1',
      '%00',
      '😀',
      '\u0000',
      'x'.repeat(5000),
    ]) {
      const encoded = encodeURIComponent(hostile);
      const tags = await call('GET', `/v2/alice/app/tags/list?n=1&last=${encoded}`, { as });
      expect([tags.status, tags.headers.get('X-Evil')]).toEqual([200, null]);
      const referrers = await call(
        'GET',
        `/v2/alice/app/referrers/${subject.digest}?artifactType=${encoded}&last=${encoded}`,
        {
          as,
        },
      );
      expect([referrers.status, (await referrers.json<{ manifests: unknown[] }>()).manifests]).toEqual([200, []]);
      expect((await call('GET', `/v2/_catalog?last=${encoded}`, { as })).status).toBe(200);
    }
  });

  test('tags of an unknown repository are 404', async () => {
    const response = await call('GET', '/v2/alice/typo/tags/list', { as });
    expect([response.status, await codeOf(response)]).toEqual([404, 'NAME_UNKNOWN']);
  });
});

describe('referrers', () => {
  test('are an OCI index, filtered on request, in linked pages', async () => {
    const subject = await putImage('alice/app', 1, ['latest']);
    const descriptor = {
      mediaType: subject.manifest.mediaType,
      digest: subject.digest,
      size: subject.bytes.byteLength,
    };
    const config = await putBlob('alice/app', bytesOf(9, 10));
    for (const [artifactType, note] of [
      ['application/a', 'one'],
      ['application/b', 'two'],
      ['application/a', 'three'],
    ]) {
      const image = await imageOf(config, [], { artifactType, subject: descriptor, annotations: { note } });
      expect((await putManifest('alice/app', image.digest, image)).status).toBe(201);
    }
    type Index = {
      mediaType: string;
      schemaVersion: number;
      manifests: { artifactType: string; annotations: { note: string } }[];
    };
    const path = `/v2/alice/app/referrers/${subject.digest}`;
    const pages = await pagesFrom<Index>(`${path}?n=2&artifactType=application/a`);
    expect(pages.flatMap(({ manifests }) => manifests.map(({ annotations }) => annotations.note)).toSorted()).toEqual([
      'one',
      'three',
    ]);
    expect((await pagesFrom<Index>(`${path}?n=1`)).flatMap(({ manifests }) => manifests)).toHaveLength(3);
    const filtered = await call('GET', `${path}?artifactType=application/b`, { as });
    expect(filtered.headers.get('OCI-Filters-Applied')).toBe('artifactType');
    expect(filtered.headers.get('Content-Type')).toBe('application/vnd.oci.image.index.v1+json');
    expect(filtered.headers.get('Cache-Control')).toBe('no-transform');
    expect(await filtered.json<Index>()).toMatchObject({
      schemaVersion: 2,
      manifests: [{ artifactType: 'application/b' }],
    });
  });

  test('are filtered by type without regard to case, and shown as they were pushed, in pages', async () => {
    const subject = await putImage('alice/app', 1, ['latest']);
    const descriptor = {
      mediaType: subject.manifest.mediaType,
      digest: subject.digest,
      size: subject.bytes.byteLength,
    };
    const config = await putBlob('alice/app', bytesOf(9, 10));
    const types = [
      'application/A',
      'application/a',
      'Application/a',
      'application/B',
      'application/b',
      'application/ab',
    ];
    for (const artifactType of types) {
      const image = await imageOf(config, [], { artifactType, subject: descriptor });
      expect((await putManifest('alice/app', image.digest, image)).status).toBe(201);
    }
    type Index = { manifests: { artifactType: string }[] };
    const shown = async (query: string): Promise<string[]> =>
      (await pagesFrom<Index>(`/v2/alice/app/referrers/${subject.digest}?n=1${query}`)).flatMap(({ manifests }) =>
        manifests.map(({ artifactType }) => artifactType),
      );
    expect((await shown('&artifactType=application/A')).toSorted()).toEqual(types.slice(0, 3).toSorted());
    expect((await shown('&artifactType=APPLICATION/B')).toSorted()).toEqual(types.slice(3, 5).toSorted());
    expect((await shown('')).toSorted()).toEqual(types.toSorted());
  });

  test('are never 404, even for an unknown repository or the zero digest; a malformed digest is 400', async () => {
    const zero = `sha256:${'0'.repeat(64)}`;
    const response = await call('GET', `/v2/alice/typo/referrers/${zero}`, { as });
    expect([response.status, (await response.json<{ manifests: unknown[] }>()).manifests]).toEqual([200, []]);
    expect((await call('GET', '/v2/alice/typo/referrers/latest', { as })).status).toBe(400);
  });
});

describe('the catalog', () => {
  test('shows each caller only the repositories that they may pull', async () => {
    await putImage('alice/app', 1, ['latest']);
    await putImage('alice/secret', 1, ['latest']);
    await putImage('bob/app', 1, ['latest'], { as: 'bob' });
    await putImage('bob/open', 1, ['latest'], { as: 'bob' });
    await putImage('official/base', 1, ['latest'], { as: 'official' });
    const headers = { 'Content-Type': 'application/json' };
    await call('PATCH', '/api/organizations/bob/repositories/open', {
      as: 'bob',
      headers,
      body: '{"visibility":"public"}',
    });
    const everyone = ['bob/open', 'official/base'];
    const expected: [UserName, string[]][] = [
      ['alice', ['alice/app', 'alice/secret', ...everyone]],
      ['aliceApp', ['alice/app', ...everyone]],
      ['bob', ['bob/app', ...everyone]],
      ['platform', ['alice/app', 'alice/secret', 'bob/app', ...everyone]],
      ['admin', everyone],
    ];
    for (const [user, repositories] of expected) {
      expect(await (await call('GET', '/v2/_catalog', { as: user })).json()).toEqual({ repositories });
    }
    const paged = await pagesFrom<{ repositories: string[] }>('/v2/_catalog?n=3');
    expect(paged.map(({ repositories }) => repositories.length)).toEqual([3, 1]);
  });

  test('requires a login, and for a token its scope', async () => {
    expect((await call('GET', '/v2/_catalog')).status).toBe(401);
    const narrow = await call('GET', '/v2/_catalog', { as: await tokenFor('alice', 'repository:alice/app:pull') });
    expect(narrow.status).toBe(401);
    expect(narrow.headers.get('WWW-Authenticate')).toContain('scope="registry:catalog:*",error="insufficient_scope"');
    expect((await call('GET', '/v2/_catalog', { as: await tokenFor('alice', 'registry:catalog:*') })).status).toBe(200);
  });
});
