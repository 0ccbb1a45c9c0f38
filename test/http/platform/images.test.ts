/** Lists of images at central, as `kraft cloud image ls` and `unikraft images list` read them. */
import { env } from 'cloudflare:workers';
import { beforeEach, describe, expect, test } from 'vitest';
import { addUsers, call, type UserName } from '../../support/client.ts';
import { putImage } from '../../support/content.ts';
import { indexOf } from '../../support/fixture.ts';
import {
  errorOf,
  imagesIn,
  list,
  type NodeImage,
  type OldImage,
  put,
  refused,
  unikernel,
  wholeOf,
} from '../../support/platform-images.ts';

beforeEach(addUsers);

async function makePublic(organization: 'alice' | 'bob', name: string): Promise<void> {
  const headers = { 'Content-Type': 'application/json' };
  const path = `/api/organizations/${organization}/repositories/${name}`;
  await call('PATCH', path, { as: organization, headers, body: '{"visibility":"public"}' });
}

describe("the list of an organization's images", () => {
  test('has each repository with every tag, as soon as it is pushed', async () => {
    expect(await list()).toEqual([]);
    const before = Date.now();
    const app = await putImage('alice/app', 1, ['latest', 'v1']);
    const deep = await putImage('alice/team/app', 2, ['latest']);
    await putImage('bob/app', 3, ['latest'], { as: 'bob' });
    const tag = (name: string, digest: string) => ({
      name,
      digest,
      size: 100,
      push_time: expect.any(String) as string,
    });
    const listed = await list();
    expect(listed).toEqual([
      { name: 'alice/app', tags: [tag('latest', app.digest), tag('v1', app.digest)] },
      { name: 'alice/team/app', tags: [tag('latest', deep.digest)] },
    ]);
    const pushed = Date.parse(listed[0]?.tags[0]?.push_time ?? '');
    expect(pushed).toBeGreaterThanOrEqual(before);
    expect(pushed).toBeLessThanOrEqual(Date.now() + 100);
  });

  test('omits deleted and untagged images', async () => {
    const image = await putImage('alice/app', 1, ['latest', 'old']);
    await putImage('alice/app', 5, []);
    await putImage('alice/gone', 9, ['latest']);
    await call('DELETE', '/v2/alice/app/manifests/old', { as: 'alice' });
    await call('DELETE', `/api/v2.0/projects/alice/repositories/gone`, { as: wholeOf('alice') });
    expect((await list()).map(({ name, tags }) => [name, tags.map((tag) => tag.name)])).toEqual([
      ['alice/app', ['latest']],
    ]);
    await call('DELETE', `/v2/alice/app/manifests/${image.digest}`, { as: 'alice' });
    expect(await list()).toEqual([]);
  });

  test('is the same with every form of login, and refused without one', async () => {
    await putImage('alice/app', 1, ['latest']);
    const token = btoa('alice:alice-secret');
    for (const authorization of [
      `Bearer ${token}`,
      `bearer ${token}`,
      `Basic ${btoa('alice:alice-secret')}`,
      `Basic ${btoa(`alice:${token}`)}`,
      `Bearer ${btoa('robot$alice.users.kraftcloud:alice-secret')}`,
    ]) {
      expect(await imagesIn(await call('GET', '/v1/images', { as: { authorization } }))).toHaveLength(1);
    }
    const { token: accessToken } = await (await call('GET', '/token', { as: 'alice' })).json<{ token: string }>();
    for (const authorization of [
      '',
      'Basic Og==',
      `Bearer ${accessToken}`,
      `Bearer ${btoa('alice:wrong')}`,
      'Bearer x',
      'Digest x',
    ]) {
      const options = authorization === '' ? {} : { as: { authorization } };
      expect(await errorOf(await call('GET', '/v1/images', options))).toEqual(refused(401));
    }
  });
});

describe('permissions to list', () => {
  beforeEach(async () => {
    for (const name of ['alice/app', 'alice/other', 'alice/team/one', 'alice/open'])
      await putImage(name, 1, ['latest']);
    await putImage('bob/app', 1, ['latest'], { as: 'bob' });
    await putImage('bob/open', 1, ['latest'], { as: 'bob' });
    await putImage('official/base', 1, ['latest'], { as: 'official' });
    await makePublic('alice', 'open');
  });

  const names = async (user: UserName, path = ''): Promise<string[]> =>
    (await list(path, user)).map(({ name }) => name);

  test('a credential lists the repositories that it covers, and public ones', async () => {
    const all = ['alice/app', 'alice/open', 'alice/other', 'alice/team/one'];
    expect(await names('alice')).toEqual(all);
    expect(await names('aliceReader')).toEqual(all);
    expect(await names('aliceApp')).toEqual(['alice/app', 'alice/open', 'alice/team/one']);
    expect(await names('platform')).toEqual([...all, 'bob/app', 'bob/open', 'official/base']);
    expect(await names('platform', '&namespace=alice')).toEqual(all);
    expect(await names('admin')).toEqual(['alice/open', 'official/base']);
  });

  test('every logged-in caller lists official, and public repositories of other organizations', async () => {
    for (const user of ['alice', 'aliceApp', 'bob', 'official', 'platform', 'admin'] as const) {
      expect(await names(user, '&namespace=official')).toEqual(['official/base']);
    }
    expect(await names('bob', '&namespace=alice')).toEqual(['alice/open']);
    await makePublic('bob', 'open');
    expect(await names('alice', '&namespace=bob')).toEqual(['bob/open']);
  });

  test('a private repository is refused, whether it exists or not', async () => {
    for (const namespace of ['bob', 'nobody']) {
      const response = await call('GET', `/v1/images?namespace=${namespace}`, { as: wholeOf('alice') });
      expect(await errorOf(response)).toEqual(refused(403));
    }
    for (const tag of ['bob/app:latest', 'bob/none:latest', 'nobody/app']) {
      const response = await call('GET', `/v1/images?tag=${tag}`, { as: wholeOf('alice') });
      expect(await errorOf(response)).toEqual(refused(403));
    }
  });

  test.each(['Bob', 'bob/app', '../bob', "bob' OR 1=1 --", '%00', 'b*b', '%25', 'bob%2F'])(
    'a hostile namespace is refused: %s',
    async (namespace) => {
      const response = await call('GET', `/v1/images?namespace=${namespace}`, { as: wholeOf('alice') });
      expect(await errorOf(response)).toEqual(refused(400));
    },
  );
});

describe('an image', () => {
  test('is as large as its distinct blobs; an index, as the distinct blobs of everything that it lists', async () => {
    const shared = { layer: 'kernel', seed: 1, bytes: 1000 } as const;
    const one = await unikernel('alice/app', [shared, { layer: 'initrd', seed: 2, bytes: 200 }]);
    const two = await unikernel('alice/app', [shared, { layer: 'initrd', seed: 3, bytes: 400 }]);
    await put('alice/app', one.digest, one);
    await put('alice/app', two.digest, two);
    const index = await indexOf([one.digest, two.digest]);
    await put('alice/app', 'latest', index);
    await put('alice/app', 'one', one);
    const [app] = await list();
    // Both have the same config: 30 bytes.
    expect(app?.tags.map(({ name, digest, size }) => [name, digest, size])).toEqual([
      ['latest', index.digest, 1630],
      ['one', one.digest, 1230],
    ]);
  });

  test('is as large as its blobs are, whatever its manifest states', async () => {
    // `imageOf` states 1 for each blob.
    await putImage('alice/app', 1, ['latest']);
    expect((await list())[0]?.tags[0]?.size).toBe(100);
  });

  test('is measured completely whether the children of an index come before or after it, however deep', async () => {
    const one = await unikernel('alice/app', [{ layer: 'initrd', seed: 2, bytes: 200 }]);
    const two = await unikernel('alice/app', [{ layer: 'plain', seed: 3, bytes: 400 }]);
    const inner = await indexOf([one.digest, two.digest]);
    const outer = await indexOf([inner.digest]);
    const at = async () => {
      const images = await imagesIn<OldImage>(await call('GET', '/v1/images/list', { as: wholeOf('alice') }));
      return images.filter(({ tags }) => tags.length > 0).map(({ size_in_bytes: size, initrd }) => [size, initrd]);
    };
    await put('alice/app', 'latest', outer);
    expect(await at()).toEqual([[0, false]]);
    await put('alice/app', two.digest, two);
    expect(await at()).toEqual([[0, false]]);
    await put('alice/app', inner.digest, inner);
    expect(await at()).toEqual([[430, false]]);
    await put('alice/app', one.digest, one);
    expect(await at()).toEqual([[660, true]]);
  });

  test('counts blobs that an index lists as manifests', async () => {
    const image = await putImage('alice/app', 1, []);
    const index = await indexOf(image.manifest.requiredBlobs);
    await put('alice/app', 'cache', index);
    expect((await list())[0]?.tags[0]?.size).toBe(100);
  });

  test('without measured columns is measured by the first list', async () => {
    const one = await unikernel('alice/app', [{ layer: 'rom', seed: 2, bytes: 200 }]);
    await put('alice/app', one.digest, one);
    await put('alice/app', 'latest', await indexOf([one.digest]));
    await env.DB_CENTRAL.prepare('UPDATE manifests SET image_size = NULL, image_kind = NULL').run();
    const [image] = await imagesIn<OldImage>(await call('GET', '/v1/images/list', { as: wholeOf('alice') }));
    expect([image?.size_in_bytes, image?.initrd]).toEqual([230, true]);
  });

  test('is listed although its descriptors state absurd sizes', async () => {
    const size = Number.MAX_SAFE_INTEGER;
    const blobs = Array.from({ length: 3000 }, (_, i) => ({ digest: `sha256:${String(i).padStart(64, '0')}`, size }));
    const body = JSON.stringify({ blobs, layers: [3, '"', null, { mediaType: 5, annotations: 'x' }] });
    const headers = { 'Content-Type': 'application/x-own' };
    const pushed = await call('PUT', '/v2/alice/app/manifests/latest', { as: 'alice', headers, body });
    expect(pushed.status).toBe(201);
    expect((await list())[0]?.tags[0]?.size).toBe(size);
  });
});

test('unknown paths and other methods get errors in the same form', async () => {
  const as = wholeOf('alice');
  expect(await errorOf(await call('GET', '/v1/nothing', { as }))).toEqual(refused(404));
  expect(await errorOf(await call('GET', '/api/v2.0/nothing', { as }))).toEqual(refused(404));
  expect(await errorOf(await call('POST', '/v1/images', { as, body: '{}' }))).toEqual(refused(405));
  expect(await errorOf(await call('GET', '/v1/nothing'))).toEqual(refused(401));
});

test('/v1/auth names the organization of a token', async () => {
  const who = async (user: UserName) => (await call('GET', '/v1/auth', { as: wholeOf(user) })).json();
  const answer = (name: string) => ({
    status: 'success',
    data: { organization_name: name, registry: 'registry.localhost:8787' },
  });
  expect(await who('alice')).toEqual(answer('alice'));
  expect(await who('aliceReader')).toEqual(answer('alice'));
  expect(await who('platform')).toEqual(answer(''));
  expect(await errorOf(await call('GET', '/v1/auth'))).toEqual(refused(401));
});

test("the layers decide an image's kind", async () => {
  const kinds: [Parameters<typeof unikernel>[1], boolean][] = [
    [[{ layer: 'rom', seed: 1, bytes: 10 }], true],
    [[{ layer: 'kernel', seed: 2, bytes: 10 }], false],
    [
      [
        { layer: 'kernel', seed: 2, bytes: 10 },
        { layer: 'initrd', seed: 3, bytes: 10 },
      ],
      true,
    ],
    [[{ layer: 'plain', seed: 4, bytes: 10 }], false],
  ];
  for (const [i, [parts, expected]] of kinds.entries()) {
    const image = await unikernel(`alice/app${i}`, parts);
    await put(`alice/app${i}`, 'latest', image);
    const path = `/v1/image-store?digest=alice/app${i}@${image.digest}`;
    const [listed] = await imagesIn<NodeImage>(await call('GET', path, { as: wholeOf('alice') }));
    expect(listed?.initrd_or_rom).toBe(expected);
  }
});
