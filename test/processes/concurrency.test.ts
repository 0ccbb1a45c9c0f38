/** 32 clients at once: the state is consistent, and every error is one that the spec names. */
import { expect, test } from 'vitest';
import { comparePull, imageOf, loggedIn, pushSteps, putManifest, request } from '../support/local/push.ts';
import { serverForFile } from '../support/local/server-for-file.ts';

const CLIENTS = 32;
const server = serverForFile();

test('32 clients that push one image store it once', async () => {
  const caller = loggedIn(server.current.url, 'alice');
  const image = imageOf(300_000, 500_000);
  await Promise.all(
    Array.from({ length: CLIENTS }, async () => {
      for (const step of pushSteps('alice/same', 'latest', image)) await step.run(caller);
    }),
  );
  await comparePull(caller, 'alice/same', 'latest', image);
  const usage = await (await request(caller, 'GET', '/api/organizations/alice/usage')).json();
  const bytes = image.blobs.reduce((sum, blob) => sum + blob.byteLength, 0);
  expect(usage).toMatchObject({ repositories: 1, manifests: 1, tags: 1, blobs: 3, bytes });
});

test('32 clients that move one tag leave it at one of their images', async () => {
  const caller = loggedIn(server.current.url, 'alice');
  const images = Array.from({ length: CLIENTS }, () => imageOf(1000));
  for (const image of images) for (const step of pushSteps('alice/moving', image.digest, image)) await step.run(caller);
  await Promise.all(images.map((image) => putManifest(caller, 'alice/moving', 'latest', image)));
  const response = await request(caller, 'GET', '/v2/alice/moving/manifests/latest');
  const winner = images.find(({ digest }) => digest === response.headers.get('Docker-Content-Digest'));
  expect(winner).toBeDefined();
  await comparePull(caller, 'alice/moving', 'latest', winner!);
  expect(await (await request(caller, 'GET', '/v2/alice/moving/tags/list')).json()).toMatchObject({ tags: ['latest'] });
});

test('clients that push, pull and delete one tag get only answers that the spec names', async () => {
  const caller = loggedIn(server.current.url, 'alice');
  const image = imageOf(1000);
  for (const step of pushSteps('alice/busy', 'latest', image)) await step.run(caller);
  const seen = new Set<number>();
  await Promise.all(
    Array.from({ length: CLIENTS }, async (_, i) => {
      const method = ['PUT', 'GET', 'DELETE', 'HEAD'][i % 4] ?? 'GET';
      for (let round = 0; round < 8; round++) {
        const headers = { 'Content-Type': 'application/vnd.oci.image.manifest.v1+json' };
        const init = method === 'PUT' ? { body: new Uint8Array(image.manifest), headers } : {};
        const response = await request(caller, method, '/v2/alice/busy/manifests/latest', init);
        seen.add(response.status);
        await response.arrayBuffer();
      }
    }),
  );
  expect([...seen].filter((status) => ![200, 201, 202, 404].includes(status))).toEqual([]);
  await putManifest(caller, 'alice/busy', 'latest', image);
  await comparePull(caller, 'alice/busy', 'latest', image);
});
