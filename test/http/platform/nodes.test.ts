/** Lists and removals at a node, and central's view of the images that were pushed there. */
import { env } from 'cloudflare:workers';
import { beforeEach, describe, expect, test } from 'vitest';
import { addUsers, basic, type UserName, USERS } from '../../support/client.ts';
import { indexOf } from '../../support/fixture.ts';
import type { CentralImage, NodeImage } from '../../support/platform-images.ts';
import { wholeOf } from '../../support/platform-images.ts';
import { type HostName, ORIGINS, ThreeHosts } from '../../support/three-hosts.ts';

let hosts: ThreeHosts;

beforeEach(async () => {
  await addUsers();
  hosts = await ThreeHosts.open();
});

async function imagesAt<Image>(host: HostName, path: string): Promise<Image[]> {
  const { status, bytes } = await hosts.call(host, 'GET', path, { as: wholeOf('alice') });
  const text = new TextDecoder().decode(bytes);
  if (status !== 200) throw new Error(`${status} ${text}`);
  return (JSON.parse(text) as { data: { images: Image[] } }).data.images;
}

const atNode = (host: HostName, query = ''): Promise<NodeImage[]> =>
  imagesAt<NodeImage>(host, `/v1/image-store${query}`);
const tagsAtCentral = async (): Promise<string[]> =>
  (await imagesAt<CentralImage>('central', '/v1/images')).flatMap(({ name, tags }) =>
    tags.map((tag) => `${name}:${tag.name}`),
  );

/** Sends a GET with a body, which `Request` forbids: a POST whose method is overridden. */
async function listWithBody(
  host: HostName,
  asked: object,
  as: UserName,
): Promise<[number, { digest: string; tags: readonly string[] }[]]> {
  const body = JSON.stringify(asked);
  const request = new Request(`${ORIGINS[host]}/v1/images/list`, {
    method: 'POST',
    body,
    headers: { Authorization: wholeOf(as).authorization, 'Content-Length': String(body.length) },
  });
  const get = new Proxy(request, {
    get: (target, key) => {
      const value: unknown = key === 'method' ? 'GET' : Reflect.get(target, key, target);
      return typeof value === 'function' ? (value.bind(target) as unknown) : value;
    },
  });
  const response = await hosts.fetch(get);
  const { data } = await response.json<{ data?: { images: { digest: string; tags: readonly string[] }[] } }>();
  return [response.status, (data?.images ?? []).map(({ digest, tags }) => ({ digest, tags }))];
}

describe('a push to a node', () => {
  test('is listed there at once, by its digest, and at central once it is announced', async () => {
    hosts.takeAway('queues');
    const before = Date.now();
    const image = await hosts.push('node1', 'alice/app', 1, 'latest');
    expect((await hosts.putManifest('node1', 'alice/app', 'v1', image)).status).toBe(201);
    const [listed, ...others] = await atNode('node1');
    expect(others).toEqual([]);
    expect(listed).toEqual({
      url: `registry.localhost:8788/alice/app@${image.digest}`,
      tags: ['latest', 'v1'],
      size_in_bytes: 100,
      created_at: expect.any(String) as string,
      initrd_or_rom: false,
      args: [],
      env: {},
      users: [],
    });
    expect(Date.parse(listed?.created_at ?? '')).toBeGreaterThanOrEqual(before);
    expect(await imagesAt('node1', '/v1/images')).toEqual([listed]);
    expect(await atNode('node1', `?digest=${image.digest}`)).toEqual([listed]);
    expect(await atNode('node1', '?tag=v1')).toEqual([listed]);
    const old = await imagesAt<object>('node1', '/v1/images/list');
    expect(old).toEqual([
      {
        status: 'success',
        digest: `alice/app@${image.digest}`,
        tags: ['alice/app:latest', 'alice/app:v1'],
        initrd: false,
        size_in_bytes: 100,
        args: '',
        kernel_args: '',
        labels: {},
      },
    ]);
    expect(await atNode('node2')).toEqual([]);
    expect(await tagsAtCentral()).toEqual([]);
    hosts.giveBack();
    await hosts.drain();
    expect(await tagsAtCentral()).toEqual(['alice/app:latest', 'alice/app:v1']);
    expect(await imagesAt<object>('central', '/v1/images/list')).toEqual(old);
  });

  test('of an index is listed as one image at both hosts, without entries for its parts', async () => {
    const one = await hosts.push('node1', 'alice/app', 1, 'latest');
    const two = await hosts.push('node1', 'alice/app', 10, 'latest');
    const index = await indexOf([one.digest, two.digest]);
    expect((await hosts.putManifest('node1', 'alice/app', 'latest', index)).status).toBe(201);
    const sizes = async (host: HostName) =>
      (await atNode(host)).map(({ url, tags, size_in_bytes: size }) => [url.split('@')[1], tags.join(), size]);
    expect(await sizes('node1')).toEqual([[index.digest, 'latest', 200]]);
    await hosts.drain();
    expect(await sizes('central')).toEqual([[index.digest, 'latest', 200]]);
    expect((await atNode('node1', `?digest=alice/app@${one.digest}`)).map(({ tags }) => tags)).toEqual([[]]);
  });

  test('without a tag is listed last, without tags', async () => {
    const tagged = await hosts.push('node1', 'alice/app', 1, 'latest');
    const old = await hosts.push('node1', 'alice/a', 5, 'latest');
    await hosts.push('node1', 'alice/a', 9, 'latest');
    const images = await atNode('node1');
    expect(images.map(({ tags }) => tags.join())).toEqual(['latest', 'latest', '']);
    expect(images[1]?.url).toContain(tagged.digest);
    expect(images[2]?.url).toContain(old.digest);
  });
});

describe('the list of a node', () => {
  test('has the images in its own store, including those that it pulled from another store, with the same size', async () => {
    const image = await hosts.push('central', 'alice/app', 1, 'latest');
    expect(await atNode('node1')).toEqual([]);
    const path = '/v2/alice/app/manifests/latest';
    expect((await hosts.call('node1', 'GET', path)).status).toBe(200);
    for (const blob of image.manifest.requiredBlobs) await hosts.call('node1', 'GET', `/v2/alice/app/blobs/${blob}`);
    await hosts.drain();
    expect((await atNode('node1')).map(({ tags, size_in_bytes: size }) => [tags, size])).toEqual([[['latest'], 100]]);
    expect(await atNode('node2')).toEqual([]);
  });

  test('lacks images that only central has, but older clients that ask for one by name get it', async () => {
    const image = await hosts.push('central', 'alice/app', 1, 'latest');
    const listed = (asked: object[], as: 'alice' | 'bob' = 'alice') => listWithBody('node1', asked, as);
    const found = [200, [{ digest: `alice/app@${image.digest}`, tags: ['alice/app:latest'] }]];
    expect(await listed([{ digest: `alice/app@${image.digest}` }])).toEqual(found);
    expect(await listed([{ tag: 'alice/app:latest' }, { digest: `alice/app@${image.digest}` }])).toEqual(found);
    expect(await listed([{ tag: 'alice/app:none' }])).toEqual([200, []]);
    expect((await listed([{ tag: 'alice/app:latest' }], 'bob'))[0]).toBe(403);
    expect(await atNode('node1', `?digest=alice/app@${image.digest}`)).toEqual([]);
    expect(await atNode('node1')).toEqual([]);
    hosts.takeAway('central D1');
    expect((await listed([{ tag: 'alice/app:latest' }]))[0]).toBe(503);
    const near = await hosts.push('node1', 'alice/near', 5, 'latest');
    expect((await listed([{ digest: `alice/near@${near.digest}` }]))[0]).toBe(200);
  });

  test('includes official images without their organization, as older clients write them', async () => {
    await hosts.push('central', 'official/base', 1, 'latest', 'official');
    for (const host of ['central', 'node1'] as const) {
      const [status, images] = await listWithBody(host, [{ tag: 'base:latest' }], 'bob');
      expect([status, images.map(({ tags }) => tags)]).toEqual([200, [['official/base:latest']]]);
    }
  });

  test('does not wait for central, and is 503 in the same form while its own store is away', async () => {
    await hosts.push('node1', 'alice/app', 1, 'latest');
    hosts.takeAway('central D1');
    expect(await atNode('node1')).toHaveLength(1);
    hosts.giveBack();
    hosts.takeAway('node1 D1');
    const answer = await hosts.call('node1', 'GET', '/v1/image-store', { as: wholeOf('alice') });
    const { status, errors } = JSON.parse(new TextDecoder().decode(answer.bytes)) as {
      status: string;
      errors: object[];
    };
    expect([answer.status, status, errors]).toEqual([
      503,
      'error',
      [{ status: 503, message: expect.any(String) as string }],
    ]);
    expect(answer.headers.get('Retry-After')).not.toBeNull();
  });
});

describe('a removal through a node', () => {
  test.each(['by tag', 'by digest', 'whole'] as const)('takes effect there and at central at once: %s', async (how) => {
    const image = await hosts.push('node1', 'alice/team/app', 1, 'latest');
    await hosts.putManifest('node1', 'alice/team/app', 'v1', image);
    await hosts.drain();
    expect(await tagsAtCentral()).toHaveLength(2);
    const left = how === 'by tag' ? ['v1'] : [];
    const [path, status] = {
      'by tag': ['/v2/alice/team/app/manifests/latest', 202],
      'by digest': [`/v2/alice/team/app/manifests/${image.digest}`, 202],
      whole: ['/api/v2.0/projects/alice/repositories/team%2Fapp', 200],
    }[how] as [string, number];
    const as = how === 'whole' ? wholeOf('alice') : { authorization: basic(USERS.alice) };
    expect((await hosts.call('node1', 'DELETE', path, { as })).status).toBe(status);
    expect((await atNode('node1')).flatMap(({ tags }) => tags)).toEqual(left);
    expect(await tagsAtCentral()).toEqual(left.map((tag) => `alice/team/app:${tag}`));
    expect((await hosts.call('node1', 'DELETE', path, { as })).status).toBe(404);
  });

  test('includes images that are not announced yet', async () => {
    hosts.takeAway('queues');
    await hosts.push('node1', 'alice/app', 1, 'latest');
    const path = '/api/v2.0/projects/alice/repositories/app';
    expect((await hosts.call('node1', 'DELETE', path, { as: wholeOf('alice') })).status).toBe(200);
    expect(await atNode('node1')).toEqual([]);
    hosts.giveBack();
    await hosts.drain();
    expect(await tagsAtCentral()).toEqual([]);
  });
});

test("a node's /v1/auth names the organization of a token", async () => {
  const { bytes } = await hosts.call('node1', 'GET', '/v1/auth', { as: wholeOf('alice') });
  expect(JSON.parse(new TextDecoder().decode(bytes))).toEqual({
    status: 'success',
    data: { organization_name: 'alice', registry: 'registry.localhost:8787' },
  });
});

test('a summary at a node shows the usage at central', async () => {
  const { bytes: manifest } = await hosts.push('node1', 'alice/app', 1, 'latest');
  await hosts.drain();
  const path = '/api/v2.0/projects/alice/summary';
  const { bytes } = await hosts.call('node2', 'GET', path, { as: wholeOf('alice') });
  expect(JSON.parse(new TextDecoder().decode(bytes))).toEqual({
    quota: { hard: { storage: -1 }, used: { storage: 100 + manifest.byteLength } },
  });
});

test('every store measures an image alike, however its rows arrived', async () => {
  await hosts.push('node1', 'alice/app', 1, 'latest');
  await hosts.push('central', 'alice/other', 5, 'latest');
  await hosts.drain();
  await hosts.call('node1', 'GET', '/v2/alice/other/manifests/latest');
  await hosts.drain();
  const rows = async (database: D1Database) =>
    (await database.prepare('SELECT repository, digest, image_size, image_kind FROM manifests ORDER BY 1, 2').all())
      .results;
  expect(await rows(env.DB_NODE1!)).toEqual(await rows(env.DB_CENTRAL));
});
