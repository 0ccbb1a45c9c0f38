/** The rules that hold for every request, whatever its route. */
import { env } from 'cloudflare:workers';
import { beforeEach, describe, expect, test, vi } from 'vitest';
import { addUsers, basic, call, codeOf, errorsOf, HOST, tokenFor, USERS } from '../support/client.ts';
import { putImage } from '../support/content.ts';
import { workerWith } from '../support/worker-with.ts';

beforeEach(addUsers);

function callWith(bindings: object, path: string, init: RequestInit = {}): Promise<Response> {
  return workerWith(bindings)(new Request(path.startsWith('/') ? `${HOST}${path}` : path, init));
}

describe('configuration', () => {
  test.each([
    ['SIGNING_KEY', { SIGNING_KEY: undefined }],
    ['SIGNING_KEY', { SIGNING_KEY: 'short' }],
    ['REGISTRY', { REGISTRY: undefined }],
    ['REGISTRY.central.hosts', { REGISTRY: { central: { hosts: [], store: 'central' } } }],
    ['DB_ELSEWHERE', { REGISTRY: { central: { hosts: [':8787'], store: 'elsewhere' } } }],
    ['BOOTSTRAP_SECRET', { BOOTSTRAP_SECRET: 'short' }],
  ])('without a valid %s every request is 503, and the error names it', async (name, change) => {
    for (const path of ['/', '/healthz', '/v2/', '/token', '/api/organizations', '/v2/alice/app/manifests/latest']) {
      const response = await callWith(change, path);
      expect(response.status).toBe(503);
      expect(response.headers.get('Retry-After')).not.toBeNull();
      expect((await errorsOf(response))[0]?.message).toContain(name);
    }
  });

  test('an unknown host is 404, for /healthz too', async () => {
    for (const path of ['/v2/', '/healthz', '/']) {
      const response = await call('GET', `http://typo.example.com${path}`);
      expect(response.status).toBe(404);
      expect(await codeOf(response)).toBe('NAME_UNKNOWN');
    }
  });
});

describe('plain http', () => {
  const names = [
    'index.example.com',
    '192.0.2.1',
    '10.0.0.1',
    'localhost.example.com',
    'notlocalhost',
    '[::2]',
    '127.0.0.1.example.com',
  ];

  test.each(names)('to %s is refused on every path, before any credentials are checked', async (name) => {
    const unused = {
      limit: () => {
        throw new Error('credentials were checked');
      },
    };
    const bindings = { ...env, CREDENTIAL_CHECKS: unused, ADDRESS_CHECKS: unused };
    for (const path of [
      '/',
      '/healthz',
      '/v2/',
      '/v2/alice/app/manifests/latest',
      '/token',
      '/api/organizations',
      '/metrics',
      '/v1/auth',
    ]) {
      for (const authorization of [undefined, basic({ name: 'alice', password: `never-read-${name}` })]) {
        const headers = { ...(authorization !== undefined && { Authorization: authorization }) };
        const response = await callWith(bindings, `http://${name}:8787${path}`, { headers });
        expect([path, response.status, response.headers.get('WWW-Authenticate')]).toEqual([path, 403, null]);
        expect(await response.text()).toContain('https');
      }
    }
  });

  test.each(['localhost', 'index.localhost', 'index.node1.localhost', '127.0.0.1', '[::1]'])(
    'to %s is answered',
    async (name) => {
      const response = await callWith({}, `http://${name}:8787/v2/`);
      expect(response.status).toBe(401);
      expect(response.headers.get('Strict-Transport-Security')).toBeNull();
    },
  );

  test('https is answered everywhere, with Strict-Transport-Security', async () => {
    for (const [path, status] of [
      ['/', 200],
      ['/v2/', 401],
      ['/token', 200],
      ['/api/organizations', 401],
      ['/v1/auth', 401],
      ['/nothing', 404],
    ] as const) {
      const response = await callWith({}, `https://index.example.com:8787${path}`);
      expect([path, response.status]).toEqual([path, status]);
      expect([path, response.headers.get('Strict-Transport-Security')]).toEqual([path, 'max-age=31536000']);
    }
  });
});

test('no answer that can show a secret may be stored, errors included', async () => {
  const credential = await call('POST', '/api/organizations/alice/credentials', {
    as: 'alice',
    headers: { 'Content-Type': 'application/json' },
    body: '{"name":"new","rights":["pull"]}',
  });
  expect(credential.status).toBe(201);
  const form = new URLSearchParams({ grant_type: 'password', username: 'alice', password: 'alice-secret' });
  const answers = [
    credential,
    await call('GET', '/api/organizations/alice/credentials', { as: 'alice' }),
    await call('GET', '/api/organizations/alice/credentials'),
    await call('POST', '/api/organizations', {
      as: 'alice',
      headers: { 'Content-Type': 'application/json' },
      body: '{',
    }),
    await call('GET', '/token', { as: 'alice' }),
    await call('GET', '/token', { as: { authorization: basic({ name: 'alice', password: 'wrong' }) } }),
    await call('POST', '/token', { body: form }),
    await call('GET', '/v1/auth', { as: 'alice' }),
  ];
  for (const answer of answers)
    expect([answer.url, answer.headers.get('Cache-Control')]).toEqual([answer.url, 'no-store']);
});

describe('health', () => {
  test('is 200 when the stores answer', async () => {
    const response = await call('GET', '/healthz');
    expect(response.status).toBe(200);
    expect(await response.json()).toEqual({
      status: 'ok',
      configuration: 'ok',
      stores: { central: { database: 'ok', bucket: 'ok' } },
    });
  });

  test('is 503 when one does not', async () => {
    const failing = {
      prepare: () => ({ bind: () => ({ all: () => Promise.reject(new Error('D1_ERROR: no answer')) }) }),
    };
    const response = await callWith({ DB_CENTRAL: failing }, '/healthz');
    expect(response.status).toBe(503);
    expect(await response.json()).toMatchObject({ stores: { central: { database: 'unavailable', bucket: 'ok' } } });
  });
});

describe('requests', () => {
  test('have an id, in the header, in error bodies and in the log', async () => {
    const log = vi.spyOn(console, 'log');
    const response = await call('GET', '/v2/alice/app/manifests/latest', { as: 'alice' });
    const id = response.headers.get('X-Request-Id');
    expect(id).toMatch(/^[0-9a-f-]{36}$/);
    const [error] = await errorsOf(response);
    expect(error).toMatchObject({ code: 'NAME_UNKNOWN', detail: { requestId: id } });
    const line = log.mock.calls.map(([text]) => String(text)).find((text) => text.includes(id ?? '?'));
    expect(JSON.parse(line ?? '{}')).toMatchObject({
      requestId: id,
      method: 'GET',
      status: 404,
      repository: 'alice/app',
      subject: 'id-of-alice',
    });
  });

  test('leave a line whose first field is the time', async () => {
    const log = vi.spyOn(console, 'log');
    const before = Date.now();
    await call('GET', '/v2/');
    const line = String(log.mock.calls.at(-1)?.[0]);
    const time = /^\{"time":"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z)","requestId":/.exec(line)?.[1];
    expect(Date.parse(time ?? '')).toBeGreaterThanOrEqual(before);
    expect(Date.parse(time ?? '')).toBeLessThanOrEqual(Date.now());
  });

  test('take scheme and host from their own URL, whatever a header says', async () => {
    const headers = {
      'X-Forwarded-Proto': 'https',
      'X-Forwarded-Host': 'evil.test',
      Forwarded: 'host=evil.test;proto=https',
    };
    const { host } = new URL(HOST);
    expect((await call('GET', '/v2/', { headers })).headers.get('WWW-Authenticate')).toBe(
      `Bearer realm="http://${host}/token",service="${host}"`,
    );
  });

  test('leave no secret in the log', async () => {
    const log = vi.spyOn(console, 'log');
    const canary = 'canary-7c1f';
    await call('GET', '/v2/', { as: { authorization: basic({ name: 'alice', password: canary }) } });
    await call('GET', `/token?scope=x&password=${canary}`, {
      as: { authorization: basic({ name: canary, password: canary }) },
    });
    await call('POST', '/token', {
      body: new URLSearchParams({ grant_type: 'password', username: 'alice', password: canary }),
    });
    await call('GET', '/v2/', { as: { authorization: `Bearer ${canary}` } });
    await call('GET', '/api/organizations', { as: { authorization: `Bearer ${canary}` } });
    const { authorization } = await tokenFor('alice', 'repository:alice/app:pull,push');
    await putImage('alice/app', 1, ['latest'], { as: { authorization } });
    const open = await call('POST', '/v2/alice/app/blobs/uploads/', { as: 'alice' });
    const location = open.headers.get('Location') ?? '';
    await call('GET', location, { as: 'alice' });
    // A client may encode the path differently.
    await call('GET', location.replaceAll('.', '%2E'), { as: 'alice' });
    const encode = (text: string): string => text.replaceAll(/[^/]/g, (one) => `%${one.charCodeAt(0).toString(16)}`);
    for (const written of [
      location.replace('/blobs/uploads/', '/blobs%2Fuploads/'),
      location.replace('/blobs/uploads/', '/blobs%252Fuploads/'),
      location.replace('/blobs/uploads/', '%2fblobs%2fuploads%2f'),
      location.replace('/blobs/uploads/', '/blobs/uploads%2F'),
      location.replace('/blobs/uploads/', '/BLOBS/uploads/'),
      location.replace('/blobs/uploads/', '/blob/upload/'),
      location.replace('/v2/', '//v2/'),
      encode(location),
      encode(location).replace('/%62%6c%6f%62%73/', '/blobs%2F'),
      `/v2/alice/app/manifests/${authorization.slice(7)}`,
      `/${authorization.slice(7)}`,
      `/%2525/${encode(location).replaceAll('%', '%25')}/%`,
    ]) {
      await call('GET', written, { as: 'alice' });
    }
    await call(
      'GET',
      location.replace(/[^/]+$/, (reference) => reference.split('.').toReversed().join('.')),
      { as: 'alice' },
    );
    const lines = decodeURIComponent(
      log.mock.calls
        .flat()
        .join('\n')
        .replaceAll(/%(?![0-9A-F]{2})/gi, '%25'),
    );
    expect(lines).toContain('/v2/alice/app/blobs/uploads/');
    for (const secret of [
      canary,
      authorization.slice(7),
      USERS.alice.password,
      env.BOOTSTRAP_SECRET,
      location.split('.').at(-1) ?? '',
    ]) {
      expect(lines).not.toContain(secret);
    }
  });

  test('to an unknown path, or with a method that a path does not support, get an OCI error', async () => {
    const cases = [
      ['GET', '/nothing', 404],
      ['GET', '/v2/alice/app/nothing', 404],
      ['POST', '/v2/', 405],
      ['POST', '/v2/alice/app/manifests/latest', 405],
      ['PATCH', '/v2/alice/app/tags/list', 405],
      ['GET', '/v2/alice/app/blobs/uploads/', 405],
      ['PUT', '/v2/_catalog', 405],
      ['PUT', '/token', 405],
    ] as const;
    for (const [method, path, status] of cases) {
      const response = await call(method, path, { as: 'alice' });
      expect([method, path, response.status, await codeOf(response)]).toEqual([method, path, status, 'UNSUPPORTED']);
    }
  });

  test('from a browser to / get a page that explains the registry', async () => {
    expect(await (await call('GET', '/')).text()).toContain('docker login registry.localhost:8787');
  });
});

test('a database that does not answer is 503 with Retry-After, and one that reports an SQL error is 500', async () => {
  const failing = (message: string) => ({
    prepare: () => ({ bind: () => ({ all: () => Promise.reject(new Error(message)) }) }),
  });
  for (const [message, status] of [
    ['D1_ERROR: Network connection lost.', 503],
    ['D1_ERROR: no such table: tags: SQLITE_ERROR', 500],
  ] as const) {
    const { authorization } = await tokenFor('alice', 'repository:alice/app:pull');
    const headers = { Authorization: authorization };
    const response = await callWith({ DB_CENTRAL: failing(message) }, '/v2/alice/app/manifests/latest', { headers });
    expect(response.status).toBe(status);
    expect(response.headers.get('Retry-After') === null).toBe(status === 500);
    expect(await response.text()).not.toContain('D1_ERROR');
  }
});
