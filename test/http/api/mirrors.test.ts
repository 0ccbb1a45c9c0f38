/** Mirrors over the management API. Their pulls are tested in test/registry/mirrored. */
import { env } from 'cloudflare:workers';
import { decodeJwt } from 'jose';
import { beforeEach, describe, expect, test } from 'vitest';
import type { OrganizationName } from '../../../src/oci/reference.ts';
import { Database } from '../../../src/stores/database.ts';
import { allMirrors, mirrorOf } from '../../../src/stores/organizations/mirrors.ts';
import { addUsers, callApi, type CallOptions, tokenFor } from '../../support/client.ts';
import { putImage } from '../../support/content.ts';
import { takePrinted } from '../../support/console.ts';

const PATH = 'organizations/alice/mirror';
const SECRET = 'the-secret-of-the-upstream';
const LOGIN = { username: 'berth', password: SECRET };
const database = new Database(env.DB_CENTRAL);

const DEFAULTS = {
  organization: 'alice',
  login_host: null,
  prefix: '',
  username: null,
  repositories: ['*'],
  ttl_seconds: 900,
  stale_seconds: 604_800,
  expires_seconds: null,
  pushes: 'refused',
  public: false,
};

beforeEach(addUsers);

async function ask(method: string, as: CallOptions['as'], body?: object, path = PATH) {
  const answer = await callApi(method, path, as, body);
  const text = await answer.text();
  return { status: answer.status, body: text === '' ? undefined : (JSON.parse(text) as Record<string, unknown>) };
}

async function set(body: object): Promise<void> {
  expect(await ask('PUT', 'admin', body)).toMatchObject({ status: 200 });
}

/** Returns the credential that a pull would use. */
async function kept(): Promise<object | undefined> {
  return (await mirrorOf(database, 'alice' as OrganizationName))?.credential;
}

test('an organization becomes a mirror with only the name of a preset', async () => {
  const { status, body } = await ask('PUT', 'admin', { from: 'hub' });
  expect([status, body]).toEqual([200, { ...DEFAULTS, from: 'hub', changed_at: expect.any(String) }]);
  expect(await ask('GET', 'admin')).toEqual({ status: 200, body });
  expect((await ask('GET', 'admin', undefined, 'mirrors')).body).toEqual({ mirrors: [body] });
});

test('every setting is kept as it was given', async () => {
  const settings = {
    from: 'https://registry.example.com',
    login_host: 'login.example.com:8443',
    prefix: 'team/apps',
    repositories: ['web', 'tools/*'],
    ttl_seconds: 0,
    stale_seconds: null,
    expires_seconds: 86_400,
    pushes: 'kept',
    public: true,
  };
  const { body } = await ask('PUT', 'admin', { ...settings, ...LOGIN });
  expect(body).toMatchObject({ ...settings, username: 'berth' });
  expect(await allMirrors(database)).toMatchObject([
    {
      loginHost: 'login.example.com:8443',
      ttl: 0,
      stale: Infinity,
      pushes: 'kept',
      isPublic: true,
      credential: { user: 'berth', secret: SECRET },
    },
  ]);
});

test('an organization that holds images may become a mirror, and keeps them', async () => {
  await putImage('alice/app', 1, ['latest']);
  await set({ from: 'hub' });
  await ask('DELETE', 'admin');
  expect((await callApi('GET', 'organizations/alice/repositories/app/images/latest', 'alice')).status).toBe(200);
});

test('its own administrator may see it, but not change it, and nobody sees the password', async () => {
  await set({ from: 'hub', ...LOGIN });
  const own = await ask('GET', 'alice');
  expect(own).toMatchObject({ status: 200, body: { username: 'berth' } });
  const answers = [
    own,
    await ask('GET', 'admin'),
    await ask('GET', 'admin', undefined, 'mirrors'),
    await ask('GET', 'admin', undefined, 'audit'),
    await ask('GET', 'alice', undefined, 'organizations/alice/audit'),
  ];
  expect(JSON.stringify(answers)).not.toContain(SECRET);
  for (const method of ['PUT', 'DELETE']) {
    expect((await ask(method, 'alice', method === 'PUT' ? { from: 'hub' } : undefined)).status).toBe(403);
  }
  expect((await ask('GET', 'bob')).status).toBe(403);
  expect((await ask('GET', 'alice', undefined, 'mirrors')).status).toBe(403);
});

test('anybody gets a token for a public mirror, and sees its images, until it is private again', async () => {
  await putImage('alice/app', 1, ['latest']);
  const scopeOf = async (): Promise<unknown> => {
    const { authorization } = await tokenFor(undefined, 'repository:alice/app:pull,push');
    return decodeJwt(authorization.replace('Bearer ', ''))['scope'];
  };
  const image = 'organizations/alice/repositories/app/images/latest';
  for (const isPublic of [false, true, false]) {
    await set({ from: 'hub', public: isPublic });
    expect([isPublic, (await callApi('GET', image, 'bob')).status]).toEqual([isPublic, isPublic ? 200 : 403]);
    expect([isPublic, await scopeOf()]).toEqual([isPublic, isPublic ? 'repository:alice/app:pull' : '']);
  }
});

test('the audit log names the upstream', async () => {
  await set({ from: 'hub', ...LOGIN });
  await ask('DELETE', 'admin');
  const { body } = await ask('GET', 'alice', undefined, 'organizations/alice/audit');
  expect(body).toMatchObject({
    entries: [
      { action: 'remove mirror', key: null },
      { action: 'set mirror', key: 'hub' },
    ],
  });
});

test('a removed mirror is gone, and the organization stays', async () => {
  await set({ from: 'hub' });
  expect((await ask('DELETE', 'admin')).status).toBe(204);
  expect((await ask('DELETE', 'admin')).status).toBe(404);
  expect((await ask('GET', 'admin')).status).toBe(404);
  expect((await callApi('GET', 'organizations/alice', 'admin')).status).toBe(200);
});

describe('a request without a password', () => {
  beforeEach(() => set({ from: 'https://registry.example.com', login_host: 'login.example.com', ...LOGIN }));

  test('keeps the stored one while it goes to the same hosts for the same user', async () => {
    const same = { from: 'https://registry.example.com', login_host: 'login.example.com', username: 'berth' };
    await set({ ...same, ttl_seconds: 5 });
    expect(await kept()).toEqual({ user: 'berth', secret: SECRET });
  });

  test.each([
    ['another upstream', { from: 'https://evil.example' }],
    ['a host that is like it', { from: 'https://registry.example.com.evil.example' }],
    ['another login host', { login_host: 'evil.example' }],
    ['no login host', { login_host: null }],
    ['another user', { username: 'other' }],
  ])('is refused for %s, and changes nothing', async (_what, fields) => {
    const same = { from: 'https://registry.example.com', login_host: 'login.example.com', username: 'berth' };
    const { status, body } = await ask('PUT', 'admin', { ...same, ...fields });
    expect([status, JSON.stringify(body)]).toEqual([400, expect.stringContaining('password')]);
    expect(await ask('GET', 'admin')).toMatchObject({ body: { from: 'https://registry.example.com' } });
    expect(await kept()).toEqual({ user: 'berth', secret: SECRET });
  });

  test('and without a user removes it', async () => {
    await set({ from: 'https://registry.example.com', login_host: 'login.example.com' });
    expect(await kept()).toBeUndefined();
    expect((await ask('PUT', 'admin', { from: 'https://registry.example.com', username: 'berth' })).status).toBe(400);
  });
});

describe('a request is refused', () => {
  test.each([
    ['an address', { from: 'https://10.0.0.1' }, 'from'],
    ['an address in other digits', { from: 'https://0x0a000001' }, 'from'],
    ['the address of a metadata service', { from: 'http://169.254.169.254' }, 'from'],
    ['http', { from: 'http://registry.example.com' }, 'from'],
    ["a host of this registry's own", { from: 'http://registry.localhost:8787' }, 'from'],
    ['a node', { from: 'http://registry.localhost:8788' }, 'from'],
    ['a path', { from: 'https://registry.example.com/v2/' }, 'from'],
    ['a login in the URL', { from: 'https://user:pass@registry.example.com' }, 'from'],
    ['a name that is no preset', { from: 'dockerhub' }, 'from'],
    ['a login host that is a URL', { from: 'hub', login_host: 'https://auth.example' }, 'login_host'],
    ['a prefix with a slash at its end', { from: 'hub', prefix: 'team/' }, 'prefix'],
    ['a prefix that climbs', { from: 'hub', prefix: '../team' }, 'prefix'],
    [
      'an expiry together with forwarded pushes',
      { from: 'hub', pushes: 'forwarded', expires_seconds: 60 },
      'expires_seconds',
    ],
    ['no repositories', { from: 'hub', repositories: [] }, 'repositories'],
    ['a repository in capitals', { from: 'hub', repositories: ['App'] }, 'repositories'],
    ['a negative time', { from: 'hub', ttl_seconds: -1 }, 'ttl_seconds'],
    ['a password for nobody', { from: 'hub', password: SECRET }, 'username'],
    ['a user without a password', { from: 'hub', username: 'berth' }, 'password'],
    ['a user name that would end in the password', { from: 'hub', username: 'a:b', password: SECRET }, 'username'],
    ['a password of another type', { from: 'hub', username: 'berth', password: [SECRET] }, 'password'],
  ])('with %s', async (_what, fields, field) => {
    const { status, body } = await ask('PUT', 'admin', fields);
    expect([status, body]).toMatchObject([400, { errors: [{ code: 'FIELD_INVALID', detail: { field } }] }]);
    expect(JSON.stringify(body)).not.toContain(SECRET);
    expect(takePrinted()).not.toContain(SECRET);
    expect(await allMirrors(database)).toEqual([]);
  });
});
