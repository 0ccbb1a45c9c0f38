/** Names of images and registries on named hosts: some hosts serve a registry, `index.…`, some an API, `api.…`. */
import { beforeEach, expect, test } from 'vitest';
import { addUsers } from '../../support/client.ts';
import { putImage } from '../../support/content.ts';
import { type CentralImage, imagesIn, type NodeImage, wholeOf } from '../../support/platform-images.ts';
import { applyAtNode1, openWithPlatform } from '../../support/platform.ts';
import { keepQueuesStill } from '../../support/still-queues.ts';
import { ORIGINS } from '../../support/three-hosts.ts';

const REGISTRY = {
  central: { hosts: ['api.example.com', 'index.example.com'], store: 'central' },
  nodes: [
    { name: 'fra', hosts: ['api.fra.example.com', 'index.fra.example.com'], store: 'node1', region: 'weur' },
    { name: 'ams', hosts: ['api.ams.example.com', 'ams.example.net'], store: 'node1', region: 'weur' },
  ],
};

const at = (host: string, path: string): Promise<Response> =>
  openWithPlatform(() => undefined, { REGISTRY, PLATFORM_AUTH_URL: undefined }).call(
    'central',
    'GET',
    `https://${host}${path}`,
    {
      as: wholeOf('alice'),
    },
  );

beforeEach(async () => {
  keepQueuesStill();
  await addUsers();
  await applyAtNode1();
});

test.each([
  ['api.fra.example.com', 'fra.example.com', 'node1'],
  ['index.fra.example.com', 'fra.example.com', 'node1'],
  ['index.fra.example.com:8443', 'fra.example.com:8443', 'node1'],
  ['api.fra.example.com:8443', 'fra.example.com:8443', 'node1'],
  ['api.ams.example.com', 'ams.example.com', 'node1'],
  ['ams.example.net', 'ams.example.net', 'node1'],
  ['api.example.com', 'example.com', 'central'],
] as const)('a request to %s lists images of %s', async (asked, named, store) => {
  const { digest } = await putImage('alice/app', 1, ['latest'], { as: 'alice', host: ORIGINS[store] });
  const images = await imagesIn<NodeImage>(await at(asked, '/v1/image-store'));
  expect(images.map(({ url }) => url)).toEqual([`${named}/alice/app@${digest}`]);
});

test.each([
  'index.example.com',
  'example.com',
  'api.example.com',
  'index.fra.example.com',
  'fra.example.com',
  'FRA.example.com',
  'fra.example.com:443',
  'ams.example.net',
  'api.ams.example.com',
  // Only the API is served there, but image names still begin with it.
  'ams.example.com',
  'ams.example.com:443',
])('an image is found by a name that begins with %s', async (host) => {
  const { digest } = await putImage('alice/app', 1, ['latest']);
  for (const query of [`tag=${host}/alice/app:latest`, `digest=${host}/alice/app@${digest}`]) {
    const images = await imagesIn<CentralImage>(await at('index.example.com', `/v1/images?${query}`));
    expect([query, images.map(({ name }) => name)]).toEqual([query, ['alice/app']]);
  }
});

test.each(['elsewhere.example.com', 'index.fra.example.com.evil.example'])(
  'an unknown host is part of the repository name: %s',
  async (host) => {
    await putImage('alice/app', 1, ['latest']);
    expect((await at('index.example.com', `/v1/images?tag=${host}/alice/app:latest`)).status).toBe(403);
  },
);

test.each(['index.example.com', 'api.example.com', 'index.fra.example.com', 'api.fra.example.com', 'ams.example.net'])(
  '/v1/auth calls the registry index.example.com at %s',
  async (host) => {
    const { data } = await (await at(host, '/v1/auth')).json<{ data: object }>();
    expect(data).toEqual({ organization_name: 'alice', registry: 'index.example.com' });
  },
);
