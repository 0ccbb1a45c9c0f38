/** Pinning images to nodes through the management API. */
import { env } from 'cloudflare:workers';
import { beforeEach, expect, test } from 'vitest';
import { addUsers, call, type UserName } from '../../support/client.ts';

const PINS = '/api/organizations/alice/repositories/app/images';
const pins = (method: string, path: string, as: UserName = 'admin') => call(method, `${PINS}/${path}`, { as });

beforeEach(addUsers);

test('a pin is set once, listed, and removed', async () => {
  const put = await pins('PUT', '1.2/pins/node1');
  expect(put.status).toBe(200);
  const pinned = await put.json<{ node: string; pinned_at: string }>();
  expect(pinned).toMatchObject({ node: 'node1' });
  expect(await (await pins('PUT', '1.2/pins/node1')).json()).toEqual(pinned);
  expect(await (await pins('GET', '1.2/pins')).json()).toEqual({ pins: [pinned] });
  const { results } = await env.DB_NODE1!.prepare('SELECT repository, reference FROM pins').all();
  expect(results).toEqual([{ repository: 'alice/app', reference: '1.2' }]);
  expect((await pins('DELETE', '1.2/pins/node1')).status).toBe(204);
  expect((await pins('DELETE', '1.2/pins/node1')).status).toBe(404);
  expect(await (await pins('GET', '1.2/pins')).json()).toEqual({ pins: [] });
});

test('a pin may name a digest', async () => {
  const digest = `sha256:${'0'.repeat(64)}`;
  expect((await pins('PUT', `${digest}/pins/node2`)).status).toBe(200);
  expect(await (await pins('GET', `${digest}/pins`)).json()).toMatchObject({ pins: [{ node: 'node2' }] });
});

test('an unknown node, a malformed reference and callers without the right are refused', async () => {
  const nowhere = await pins('PUT', '1.2/pins/nowhere');
  expect([nowhere.status, await nowhere.text()]).toEqual([
    404,
    expect.stringContaining('there is no node nowhere') as string,
  ]);
  expect((await pins('PUT', '-/pins/node1')).status).toBe(400);
  expect((await pins('PUT', '1.2/pins/node1', 'alice')).status).toBe(403);
  expect((await pins('GET', '1.2/pins', 'alice')).status).toBe(403);
});
