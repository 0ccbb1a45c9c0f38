/**
 * An empty body counts as empty on every route: without headers, with `Content-Length: 0`, or as an empty chunked body.
 */
import { beforeAll, beforeEach, expect, test } from 'vitest';
import { addUsers, basic, call, HOST, USERS } from '../support/client.ts';

beforeEach(addUsers);

const routes: { method: string; path: string }[] = [];
beforeAll(async () => {
  await addUsers();
  const { paths } = await (await call('GET', '/api/openapi.json')).json<{ paths: Record<string, object> }>();
  for (const [path, operations] of Object.entries(paths)) {
    for (const method of Object.keys(operations)) {
      if (method !== 'get') routes.push({ method: method.toUpperCase(), path: path.replaceAll(/\{(\w+)\}/g, named) });
    }
  }
  routes.push({ method: 'POST', path: '/token' }, { method: 'POST', path: '/v2/alice/app/blobs/uploads/' });
  routes.push({ method: 'PUT', path: '/v2/alice/app/manifests/latest' });
});

/** Returns a well-formed parameter that names nothing that exists, so that no request changes anything. */
function named(_all: string, name: string): string {
  return { organization: 'nobody', reference: 'latest', node: 'nowhere', store: 'node1' }[name] ?? 'absent';
}

const EMPTY: Readonly<Record<string, () => BodyInit | null>> = {
  none: () => null,
  'Content-Length: 0': () => '',
  chunked: () => {
    const { readable, writable } = new IdentityTransformStream();
    void writable.close();
    return readable;
  },
};

async function answer(
  method: string,
  path: string,
  body: BodyInit | null,
  headers: Record<string, string>,
): Promise<string> {
  const user = path.startsWith('/api/') ? USERS.admin : USERS.alice;
  const response = await call(method, `${HOST}${path}`, { as: { authorization: basic(user) }, headers, body });
  return `${method} ${path}: ${response.status} ${(await response.text()).replaceAll(/"(?:requestId|pinned_at)":"[^"]+"/g, '')}`;
}

test('an empty body gets the same answer as no body, whatever its headers', async () => {
  expect(routes.length).toBeGreaterThan(15);
  for (const { method, path } of routes) {
    const expected = await answer(method, path, null, {});
    for (const [name, body] of Object.entries(EMPTY)) {
      expect(`${name}, ${await answer(method, path, body(), {})}`).toBe(`${name}, ${expected}`);
      if (!path.startsWith('/api/')) continue;
      const ofJson = await answer(method, path, body(), { 'Content-Type': 'application/json' });
      expect(`${name}, of JSON, ${ofJson}`).toBe(`${name}, of JSON, ${expected}`);
    }
  }
});

test('a request with Content-Length: 0 pins an image', async () => {
  const response = await call('PUT', '/api/organizations/alice/repositories/app/images/1.2/pins/node1', {
    as: 'admin',
    body: '',
  });
  expect(response.status).toBe(200);
});
