/** Pages and filters of lists of images at central. */
import { beforeEach, describe, expect, test } from 'vitest';
import { addUsers, call } from '../../support/client.ts';
import { putImage } from '../../support/content.ts';
import {
  type CentralImage,
  errorOf,
  imagesIn,
  list,
  type NodeImage,
  refused,
  wholeOf,
} from '../../support/platform-images.ts';

beforeEach(addUsers);

describe('pages', () => {
  test('follow each other by tag, and untagged images come last', async () => {
    for (const [name, tags] of [
      ['alice/a', ['1', '2', '3']],
      ['alice/b', ['1']],
      ['alice/c', ['1', '2']],
    ] as const) {
      await putImage(name, 1, tags);
    }
    const untagged = await putImage('alice/b', 7, []);
    const seen: string[] = [];
    let path: string | undefined = '/v1/images?details=true&n=2';
    let count = 0;
    while (path !== undefined) {
      const response: Response = await call('GET', path, { as: wholeOf('alice') });
      const link = response.headers.get('Link');
      for (const { name, tags } of await imagesIn<CentralImage>(response))
        seen.push(...tags.map((tag) => `${name}:${tag.name}`));
      path = link === null ? undefined : /^<([^>]+)>/.exec(link)?.[1];
      expect(path === undefined || path.includes('details=true')).toBe(true);
      count++;
    }
    expect(seen).toEqual(['alice/a:1', 'alice/a:2', 'alice/a:3', 'alice/b:1', 'alice/c:1', 'alice/c:2']);
    expect(count).toBe(3);

    const digests: string[] = [];
    path = '/v1/image-store?n=1';
    while (path !== undefined) {
      const response: Response = await call('GET', path, { as: wholeOf('alice') });
      const link = response.headers.get('Link');
      for (const { url, tags } of await imagesIn<NodeImage>(response))
        digests.push(`${url.split('/').slice(1).join('/')} ${tags.join()}`);
      path = link === null ? undefined : /^<([^>]+)>/.exec(link)?.[1];
    }
    expect(digests.at(-1)).toBe(`alice/b@${untagged.digest} `);
    expect(digests).toHaveLength(7);
  });

  test.each(['-1', 'x', '1e3'])('n=%s is refused', async (n) => {
    expect(await errorOf(await call('GET', `/v1/images?n=${n}`, { as: wholeOf('alice') }))).toEqual(refused(400));
  });

  test.each([
    '',
    'x',
    '@',
    '@@',
    '@alice',
    ':',
    'alice/app',
    'alice/app:',
    '@alice/app@',
    'zzz',
    "' OR 1=1",
    '\u{10ffff}',
    '%',
  ])('any text is accepted as a position: %s', async (last) => {
    await putImage('alice/app', 1, ['latest']);
    await putImage('bob/app', 1, ['latest'], { as: 'bob' });
    const query = new URLSearchParams({ last });
    for (const path of ['/v1/images', '/v1/image-store', '/v1/images/list']) {
      const response = await call('GET', `${path}?${query.toString()}`, { as: wholeOf('alice') });
      expect(response.status).toBe(200);
      expect(await response.text()).not.toContain('bob');
    }
  });

  test('n=0 shows nothing', async () => {
    await putImage('alice/app', 1, ['latest']);
    expect(await list('&n=0')).toEqual([]);
  });
});

describe('filters', () => {
  test('find images by a tag or digest, alone or with its repository, as any client writes it', async () => {
    const app = await putImage('alice/app', 1, ['latest', 'v1']);
    await putImage('alice/team/app', 1, ['v2']);
    await putImage('alice/other', 5, ['latest']);
    const found = async (query: string) =>
      (await list(query)).flatMap(({ name, tags }) => tags.map((tag) => `${name}:${tag.name}`));
    const all = ['alice/app:latest', 'alice/app:v1'];
    expect(await found(`&digest=${app.digest}`)).toEqual([...all, 'alice/team/app:v2']);
    expect(await found(`&digest=alice/app@${app.digest}`)).toEqual(all);
    expect(await found(`&digest=registry.localhost:8787/alice/app@${app.digest}`)).toEqual(all);
    expect(await found('&tag=alice/app:v1')).toEqual(all);
    expect(await found('&tag=alice/app')).toEqual(all);
    expect(await found(`&tag=alice/app:none@${app.digest}`)).toEqual(all);
    expect(await found(`&digest=registry.localhost:8787/alice/app:none@${app.digest}`)).toEqual(all);
    expect(await found('&tag=v2')).toEqual(['alice/team/app:v2']);
    expect(await found('&tag=none')).toEqual([]);
    expect(await found(`&tag=latest&digest=${app.digest}`)).toEqual(all);
    expect(await found(`&tag=alice/app:none&digest=${app.digest}`)).toEqual([]);
    expect(await found(`&digest=sha256:${'0'.repeat(64)}`)).toEqual([]);
    // One page searches as many repositories as it can hold.
    const first = await call('GET', '/v1/images?tag=v2&n=1', { as: wholeOf('alice') });
    expect(first.headers.get('Link')).toBe('</v1/images?n=1&last=alice%2Fapp&tag=v2>; rel="next"');
  });

  test('show the requested tag, however many others the image has', async () => {
    const tags = Array.from({ length: 120 }, (_, i) => `b${String(i).padStart(3, '0')}`);
    const many = await putImage('alice/many', 1, tags);
    const shown = async (query: string): Promise<string[]> =>
      (await list(query)).flatMap((image) => image.tags.map(({ name }) => name));
    const inOrder = [...tags.slice(0, 99), 'b119'];
    expect(await shown('&tag=alice/many:b119')).toEqual(inOrder);
    expect(await shown('&tag=b119')).toEqual(inOrder);
    for (const tag of ['b119', 'alice/many:b119']) {
      for (const digest of [many.digest, `alice/many@${many.digest}`])
        expect(await shown(`&tag=${tag}&digest=${digest}`)).toEqual(inOrder);
    }
    expect(await shown(`&tag=alice/many:b119&digest=alice/other@${many.digest}`)).toEqual([]);
    expect(await shown(`&digest=alice/many@${many.digest}`)).toEqual(tags.slice(0, 100));

    await call('DELETE', `/v2/alice/many/manifests/${many.digest}`, { as: 'alice' });
    await putImage('alice/many', 1, ['z']);
    for (const query of [
      '&tag=alice/many:z',
      '&tag=z',
      `&digest=alice/many@${many.digest}`,
      `&tag=z&digest=${many.digest}`,
    ])
      expect([query, await shown(query)]).toEqual([query, ['z']]);
  });

  test.each([
    'digest=latest',
    'digest=alice/app',
    'digest=sha256:00',
    'digest=Alice/app@sha256:00',
    'tag=a/b:-',
    'tag=../app:1',
    'tag=%00',
  ])('a malformed filter is refused: %s', async (query) => {
    expect(await errorOf(await call('GET', `/v1/images?${query}`, { as: wholeOf('alice') }))).toEqual(refused(400));
  });
});
