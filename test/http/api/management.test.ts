import { createExecutionContext, waitOnExecutionContext } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { beforeEach, describe, expect, test, vi } from 'vitest';
import { createApp } from '../../../src/app.ts';
import {
  addUsers,
  basic,
  call,
  codeOf,
  errorsOf,
  HOST,
  type CallOptions,
  tokenFor,
  type UserName,
} from '../../support/client.ts';
import { putImage } from '../../support/content.ts';

beforeEach(addUsers);

const bootstrap = { authorization: `Bearer ${env.BOOTSTRAP_SECRET}` };

function api(method: string, path: string, as: CallOptions['as'], body?: object): Promise<Response> {
  const headers = body === undefined ? {} : { 'Content-Type': 'application/json' };
  return call(method, `/api/${path}`, {
    ...(as === undefined ? {} : { as }),
    headers,
    body: body === undefined ? null : JSON.stringify(body),
  });
}

describe('with only the bootstrap secret', () => {
  test('an administrator creates an organization and its first credential, which can push', async () => {
    expect((await api('POST', 'organizations', bootstrap, { name: 'carol' })).status).toBe(201);
    const created = await api('POST', 'organizations/carol/credentials', bootstrap, {
      name: 'laptop',
      rights: ['pull', 'push'],
    });
    expect(created.status).toBe(201);
    const credential = await created.json<{ secret: string }>();
    expect(credential).toMatchObject({
      kind: 'organization',
      organization: 'carol',
      repositories: ['carol/*'],
      expires_at: null,
    });
    expect(credential.secret).toMatch(/^berth_[\w-]{43}$/);
    for (const name of ['laptop', 'carol']) {
      const as = { authorization: basic({ name, password: credential.secret }) };
      await putImage('carol/app', 1, ['latest'], { as });
    }
    const listed = await (await api('GET', 'organizations/carol/credentials', bootstrap)).text();
    expect(listed).toContain('laptop');
    expect(listed).not.toContain(credential.secret);
    const { results } = await env.DB_CENTRAL.prepare("SELECT * FROM credentials WHERE organization = 'carol'").all();
    expect(JSON.stringify(results)).not.toContain(credential.secret);
    expect(results).toMatchObject([{ last_used_at: expect.any(Number) as number }]);
  });

  test('an administrator creates platform and administrator credentials', async () => {
    for (const kind of ['platform', 'administrator']) {
      const { secret } = await (
        await api('POST', 'credentials', bootstrap, { name: `the-${kind}`, kind })
      ).json<{ secret: string }>();
      const as = { authorization: basic({ name: `the-${kind}`, password: secret }) };
      expect((await api('GET', 'organizations', as)).status).toBe(kind === 'administrator' ? 200 : 403);
      expect((await call('GET', '/v2/alice/app/manifests/x', { as })).status).toBe(
        kind === 'administrator' ? 403 : 404,
      );
    }
    const { credentials } = await (
      await api('GET', 'credentials', bootstrap)
    ).json<{ credentials: { name: string; organization: null }[] }>();
    expect(credentials.map(({ name, organization }) => [name, organization])).toEqual([
      ['admin', null],
      ['platform', null],
      ['the-administrator', null],
      ['the-platform', null],
    ]);
    expect((await api('DELETE', 'credentials/the-platform', bootstrap)).status).toBe(204);
    expect((await api('DELETE', 'credentials/the-platform', bootstrap)).status).toBe(404);
  });

  test.each([
    ['dots', 'a.bootstrap.secret.with.dots'],
    ['the form of a whole token', btoa('operator:chosen-by-hand')],
    ['the form of an access token', 'eyJoZWFkZXI.Y2xhaW1z.c2lnbmF0dXJl'],
  ])('the bootstrap secret may have %s', async (_form, secret) => {
    const context = createExecutionContext();
    const request = new Request(`${HOST}/api/organizations`, { headers: { Authorization: `Bearer ${secret}` } });
    const { status } = await createApp().fetch(request, { ...env, BOOTSTRAP_SECRET: secret }, context);
    await waitOnExecutionContext(context);
    expect(status).toBe(200);
  });

  test('a wrong secret is 401', async () => {
    expect((await api('GET', 'organizations', { authorization: 'Bearer wrong' })).status).toBe(401);
    expect((await api('GET', 'organizations', undefined)).status).toBe(401);
  });
});

describe('permissions', () => {
  const ROUTES = [
    ['GET', 'organizations', 'registry'],
    ['POST', 'organizations', 'registry'],
    ['DELETE', 'organizations/alice', 'registry'],
    ['PUT', 'organizations/alice/quota', 'registry'],
    ['GET', 'credentials', 'registry'],
    ['POST', 'credentials', 'registry'],
    ['DELETE', 'credentials/platform', 'registry'],
    ['GET', 'organizations/alice', 'alice'],
    ['GET', 'organizations/alice/usage', 'alice'],
    ['GET', 'organizations/alice/credentials', 'alice'],
    ['POST', 'organizations/alice/credentials', 'alice'],
    ['DELETE', 'organizations/alice/credentials/reader', 'alice'],
    ['GET', 'organizations/alice/repositories', 'alice'],
    ['POST', 'organizations/alice/repositories', 'alice'],
    ['GET', 'organizations/alice/repositories/app', 'alice'],
    ['PATCH', 'organizations/alice/repositories/app', 'alice'],
    ['DELETE', 'organizations/alice/repositories/app', 'alice'],
  ] as const;
  const BODIES: Record<string, object> = {
    'POST organizations': { name: 'dave' },
    'PUT organizations/alice/quota': { bytes: 1000 },
    'POST credentials': { name: 'x', kind: 'platform' },
    'POST organizations/alice/credentials': { name: 'x', rights: ['pull'] },
    'POST organizations/alice/repositories': { name: 'x' },
    'PATCH organizations/alice/repositories/app': { visibility: 'public' },
  };
  const callers: (UserName | undefined)[] = [undefined, 'alice', 'aliceReader', 'aliceApp', 'bob', 'platform', 'admin'];
  test.each(ROUTES.flatMap(([method, path, scope]) => callers.map((caller) => [method, path, scope, caller] as const)))(
    '%s %s (%s) as %s',
    async (method, path, scope, caller) => {
      const { status } = await api(method, path, caller, BODIES[`${method} ${path}`]);
      const allowed = caller === 'admin' || (scope === 'alice' && caller === 'alice');
      if (caller === undefined) expect(status).toBe(401);
      else if (allowed) expect([200, 201, 204, 404, 409]).toContain(status);
      else expect(status).toBe(403);
    },
  );
});

describe('an error names the bad field', () => {
  test.each([
    ['organizations', { name: 'Carol' }, 'name'],
    ['organizations', {}, 'name'],
    ['organizations', { name: 'carol', extra: 1 }, 'extra'],
    ['organizations/alice/credentials', { name: 'x' }, 'rights'],
    ['organizations/alice/credentials', { name: 'x', rights: [] }, 'rights'],
    ['organizations/alice/credentials', { name: 'x', rights: ['own'] }, 'rights.0'],
    ['organizations/alice/credentials', { name: '-x', rights: ['pull'] }, 'name'],
    ['organizations/alice/credentials', { name: 'x', rights: ['pull'], repositories: ['bob/*'] }, 'repositories.0'],
    [
      'organizations/alice/credentials',
      { name: 'x', rights: ['pull'], repositories: ['alice/*', '*'] },
      'repositories.1',
    ],
    ['organizations/alice/credentials', { name: 'x', rights: ['pull'], expires_at: 'soon' }, 'expires_at'],
    ['organizations/alice/repositories', { name: 'App' }, 'name'],
    ['organizations/alice/repositories', { name: 'app', visibility: 'secret' }, 'visibility'],
    ['credentials', { name: 'x', kind: 'king' }, 'kind'],
  ])('POST %s %j: the field %s', async (path, body, field) => {
    const response = await api('POST', path, 'admin', body);
    expect(response.status).toBe(400);
    const [error] = await errorsOf(response);
    expect(error?.code).toBe('FIELD_INVALID');
    expect(error?.message).toContain(field);
    expect(error?.detail['requestId']).toBe(response.headers.get('X-Request-Id'));
  });

  test('a body that is not JSON, or of another type, is refused', async () => {
    for (const headers of [{ 'Content-Type': 'application/json' }, { 'Content-Type': 'text/plain' }]) {
      const response = await call('POST', '/api/organizations', { as: 'admin', headers, body: '{' });
      expect([response.status, await codeOf(response)]).toEqual([400, 'FIELD_INVALID']);
    }
  });

  test('a body that is too large is refused', async () => {
    const response = await api('POST', 'organizations', 'admin', { name: 'x'.repeat(70_000) });
    expect([response.status, await codeOf(response)]).toEqual([413, 'SIZE_INVALID']);
  });

  test('creating what exists is 409, and changing what does not is 404', async () => {
    const cases = [
      ['POST', 'organizations', { name: 'alice' }, 409],
      ['POST', 'organizations/alice/credentials', { name: 'alice', rights: ['pull'] }, 409],
      ['POST', 'organizations/nobody/credentials', { name: 'x', rights: ['pull'] }, 404],
      ['POST', 'organizations/nobody/repositories', { name: 'x' }, 404],
      ['GET', 'organizations/nobody', undefined, 404],
      ['GET', 'organizations/nobody/usage', undefined, 404],
      ['DELETE', 'organizations/nobody', undefined, 404],
      ['DELETE', 'organizations/alice/credentials/nobody', undefined, 404],
      ['PATCH', 'organizations/alice/repositories/nothing', { visibility: 'public' }, 404],
      ['DELETE', 'organizations/alice/repositories/nothing', undefined, 404],
    ] as const;
    for (const [method, path, body, status] of cases) {
      expect([method, path, (await api(method, path, 'admin', body)).status]).toEqual([method, path, status]);
    }
  });
});

test('a credential whose row contradicts itself is refused', async () => {
  // The schema refuses such a row; this tests the second line of defence.
  const { logIn, KnownGood, hashSecret } = await import('../../../src/auth/login.ts');
  const row = { id: 'x', kind: 'organization', organization: '', name: 'x', rights: '["pull"]', repositories: '[]' };
  const control = {
    credentialBySecret: async () => ({
      ...row,
      secret_hash: await hashSecret('x'),
      created_at: 0,
      expires_at: null,
      last_used_at: null,
      registries: null,
    }),
  };
  const unlimited = { limit: async () => ({ success: true }) };
  const login = await logIn(
    { user: 'x', password: 'x' },
    {
      decidedBy: 'central',
      registry: 'central',
      control: control as unknown as Parameters<typeof logIn>[1]['control'],
      limiters: { ofUser: unlimited, ofAddress: unlimited },
      address: 'a',
      now: 0,
      defer: () => undefined,
      knownGood: new KnownGood(),
    },
  );
  expect(login).toBeUndefined();
});

describe('repositories', () => {
  test('are private until made public, and private again when removed and pushed anew', async () => {
    await putImage('alice/team/app', 1, ['latest']);
    const manifest = '/v2/alice/team/app/manifests/latest';
    expect((await call('GET', manifest)).status).toBe(401);
    const changed = await api('PATCH', 'organizations/alice/repositories/team%2Fapp', 'alice', {
      visibility: 'public',
    });
    expect(await changed.json()).toMatchObject({ name: 'alice/team/app', visibility: 'public' });
    expect((await call('GET', manifest)).status).toBe(200);
    expect((await call('GET', manifest, { as: 'bob' })).status).toBe(200);
    expect((await api('DELETE', 'organizations/alice/repositories/team%2Fapp', 'alice')).status).toBe(204);
    expect((await call('GET', manifest, { as: 'alice' })).status).toBe(404);
    await putImage('alice/team/app', 1, ['latest']);
    expect((await call('GET', manifest)).status).toBe(401);
  });

  test('can be created before the first push', async () => {
    expect(
      (await api('POST', 'organizations/alice/repositories', 'alice', { name: 'early', visibility: 'public' })).status,
    ).toBe(201);
    expect((await api('POST', 'organizations/alice/repositories', 'alice', { name: 'early' })).status).toBe(409);
    expect(await (await call('GET', '/v2/alice/early/tags/list')).json()).toEqual({ name: 'alice/early', tags: [] });
  });

  test('usage counts distinct blobs and manifests', async () => {
    const { bytes: manifest } = await putImage('alice/a', 1, ['x', 'y']);
    await putImage('alice/b', 1, ['x']);
    expect(await (await api('GET', 'organizations/alice/usage', 'alice')).json()).toEqual({
      repositories: 2,
      manifests: 2,
      tags: 3,
      blobs: 2,
      bytes: 100,
      manifest_bytes: manifest.byteLength,
      used: 100 + manifest.byteLength,
      in_flight: 0,
      quota: null,
      limits: { manifests: 1_000_000, tags: 1_000_000 },
      complete: true,
    });
  });
});

test('an organization can be removed once it is empty, and a new owner of its name sees nothing of the old one, not even what old tokens pushed later', async () => {
  vi.useFakeTimers({ toFake: ['Date'] });
  try {
    const image = await putImage('alice/app', 1, ['latest']);
    await api('PATCH', 'organizations/alice/repositories/app', 'alice', { visibility: 'public' });
    expect((await api('DELETE', 'organizations/alice', 'admin')).status).toBe(409);
    await call('DELETE', `/v2/alice/app/manifests/${image.digest}`, { as: 'alice' });
    const token = await tokenFor('alice', 'repository:alice/app:pull,push');
    expect((await api('DELETE', 'organizations/alice', 'admin')).status).toBe(204);
    expect((await api('GET', 'organizations/alice', 'admin')).status).toBe(404);
    await putImage('alice/app', 1, ['late'], { as: token });
    expect((await api('POST', 'organizations', 'admin', { name: 'alice' })).status).toBe(409);
    vi.setSystemTime(Date.now() + 600_000);
    expect((await api('POST', 'organizations', 'admin', { name: 'alice' })).status).toBe(201);
    const created = await api('POST', 'organizations/alice/credentials', 'admin', { name: 'new', rights: ['pull'] });
    const { secret } = await created.json<{ secret: string }>();
    const as = { authorization: basic({ name: 'alice', password: secret }) };
    expect((await call('GET', `/v2/alice/app/blobs/${image.manifest.requiredBlobs[0]}`, { as })).status).toBe(404);
    expect((await call('GET', '/v2/alice/app/manifests/late', { as })).status).toBe(404);
    expect((await call('GET', '/v2/alice/app/tags/list', { as })).status).toBe(404);
    expect((await call('GET', '/v2/alice/app/tags/list')).status).toBe(401);
  } finally {
    vi.useRealTimers();
  }
});

test('removing an organization that does not exist changes nothing', async () => {
  await putImage('alice/app', 1, ['latest']);
  await env.DB_CENTRAL.prepare("DELETE FROM organizations WHERE name = 'alice'").run();
  expect((await api('DELETE', 'organizations/alice', 'admin')).status).toBe(404);
  expect((await call('GET', '/v2/alice/app/manifests/latest', { as: 'alice' })).status).toBe(200);
});

test('a credential ends at its stated time', async () => {
  vi.useFakeTimers({ toFake: ['Date'] });
  try {
    const expires = new Date(Date.now() + 120_000).toISOString();
    const body = { name: 'short', rights: ['pull'], expires_at: expires };
    const { secret } = await (
      await api('POST', 'organizations/alice/credentials', 'alice', body)
    ).json<{ secret: string }>();
    const as = { authorization: basic({ name: 'short', password: secret }) };
    const token = await (await call('GET', '/token', { as })).json<{ expires_in: number }>();
    expect(token.expires_in).toBeLessThanOrEqual(120);
    vi.setSystemTime(Date.now() + 121_000);
    expect((await call('GET', '/v2/', { as })).status).toBe(401);
  } finally {
    vi.useRealTimers();
  }
});

test('lists come in pages', async () => {
  for (const name of ['o1', 'o2', 'o3']) await api('POST', 'organizations', 'admin', { name });
  const page = await (await api('GET', 'organizations?n=2&last=o1', 'admin')).json();
  expect(page).toMatchObject({ organizations: [{ name: 'o2' }, { name: 'o3' }] });
});

describe('n of a list', () => {
  const LISTS = [
    'organizations',
    'credentials',
    'organizations/alice/credentials',
    'organizations/alice/repositories',
    'organizations/alice/audit',
    'audit',
    'replication/queues/node1/parked',
    'replication/queues/node1/only-here',
  ];

  test.each(['', '1001', '99999999999999999999', '9'.repeat(400)])(
    '%j is accepted: an empty one means the default, and one above the maximum the maximum',
    async (n) => {
      for (const list of LISTS)
        expect([list, (await api('GET', `${list}?n=${n}`, 'admin')).status]).toEqual([list, 200]);
    },
  );

  test.each(['0', '00', '-1', '1.5', '1e2', '0x10', 'x', '%201'])(
    '%j is 400, and the message says what n must be',
    async (n) => {
      for (const list of LISTS) {
        const response = await api('GET', `${list}?n=${n}`, 'admin');
        expect([list, response.status]).toEqual([list, 400]);
        expect((await errorsOf(response))[0]?.message).toBe('n: must be a whole number, 1 or more');
      }
    },
  );

  test('above the maximum gives a page of the maximum', async () => {
    const names = 'WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1200)';
    await env.DB_CENTRAL.prepare(
      `INSERT INTO organizations (name, created_at) ${names} SELECT printf('o%05d', i), 0 FROM n`,
    ).run();
    const sizeOf = async (query: string) =>
      (await (await api('GET', `organizations${query}`, 'admin')).json<{ organizations: unknown[] }>()).organizations
        .length;
    expect([await sizeOf('?n=99999999999999999999'), await sizeOf('?n='), await sizeOf('')]).toEqual([1000, 100, 100]);
  });
});

test('an empty version asks about the current write, and one that no push can have returned is 400', async () => {
  await putImage('alice/app', 1, ['latest']);
  const asked = (version: string) =>
    api('GET', `organizations/alice/repositories/app/images/latest?version=${version}`, 'alice');
  expect((await asked('')).status).toBe(200);
  for (const version of ['0', '-1', '1.5', '1e15', '0x10', 'x', '99999999999999999999']) {
    const response = await asked(version);
    expect([version, response.status]).toEqual([version, 400]);
    expect((await errorsOf(response))[0]?.message).toBe(
      'version: must be a version that a push returned in Berth-Version',
    );
  }
});

test('the OpenAPI document describes every route, and comes from the same schemas', async () => {
  const document = await (
    await call('GET', '/api/openapi.json')
  ).json<{ openapi: string; paths: Record<string, object>; components: { schemas: object } }>();
  expect(document.openapi).toBe('3.1.0');
  expect(
    Object.entries(document.paths)
      .flatMap(([path, methods]) => Object.keys(methods).map((method) => `${method} ${path}`))
      .toSorted(),
  ).toEqual(
    [
      'get /api/organizations',
      'post /api/organizations',
      'get /api/organizations/{organization}',
      'delete /api/organizations/{organization}',
      'get /api/organizations/{organization}/usage',
      'put /api/organizations/{organization}/quota',
      'get /api/organizations/{organization}/credentials',
      'post /api/organizations/{organization}/credentials',
      'delete /api/organizations/{organization}/credentials/{name}',
      'get /api/maintenance',
      'get /api/deployment',
      'get /api/audit',
      'get /api/organizations/{organization}/audit',
      'get /api/credentials',
      'post /api/credentials',
      'delete /api/credentials/{name}',
      'get /api/organizations/{organization}/repositories',
      'post /api/organizations/{organization}/repositories',
      'get /api/organizations/{organization}/repositories/{repository}',
      'get /api/organizations/{organization}/repositories/{repository}/images/{reference}',
      'get /api/organizations/{organization}/repositories/{repository}/images/{reference}/history',
      'post /api/organizations/{organization}/repositories/{repository}/images/{reference}/restore',
      'post /api/organizations/{organization}/repositories/{repository}/images/{reference}/prefetch',
      'get /api/organizations/{organization}/repositories/{repository}/images/{reference}/pins',
      'put /api/organizations/{organization}/repositories/{repository}/images/{reference}/pins/{node}',
      'delete /api/organizations/{organization}/repositories/{repository}/images/{reference}/pins/{node}',
      'get /api/replication/queues',
      'get /api/replication/queues/{store}',
      'patch /api/replication/queues/{store}',
      'get /api/replication/queues/{store}/parked',
      'post /api/replication/queues/{store}/retry',
      'post /api/replication/queues/{store}/announce-all',
      'get /api/replication/queues/{store}/only-here',
      'delete /api/replication/stores/{store}/locations',
      'patch /api/organizations/{organization}/repositories/{repository}',
      'delete /api/organizations/{organization}/repositories/{repository}',
    ].toSorted(),
  );
  expect(document.components.schemas).toHaveProperty('NewOrganizationCredential.properties.rights.items.enum', [
    'pull',
    'push',
    'delete',
    'admin',
  ]);
});

test('a credential cannot create one for registries where it is not valid itself', async () => {
  const made = await api('POST', 'organizations/alice/credentials', 'admin', {
    name: 'local',
    rights: ['pull', 'admin'],
    registries: ['central'],
  });
  const { secret } = await made.json<{ secret: string }>();
  const as = { authorization: `Basic ${btoa(`local:${secret}`)}` };
  const make = (fields: object) =>
    call('POST', '/api/organizations/alice/credentials', {
      as,
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ rights: ['pull'], ...fields }),
    });
  expect(await (await make({ name: 'heir' })).json()).toMatchObject({ registries: ['central'] });
  expect((await make({ name: 'beyond', registries: ['central', 'node1'] })).status).toBe(403);
  expect((await make({ name: 'unknown', registries: ['nowhere'] })).status).toBe(400);
});
