/** Credentials: how many an organization may have, how they are listed, where they are valid, and when they end. */
import { env } from 'cloudflare:workers';
import { beforeEach, expect, test, vi } from 'vitest';
import { KnownGood } from '../../../src/auth/known-good.ts';
import { logIn } from '../../../src/auth/login.ts';
import { LoginLimits } from '../../../src/auth/login-limits.ts';
import { hashSecret } from '../../../src/auth/secret-hash.ts';
import { SharedNotes } from '../../../src/auth/shared-notes.ts';
import { SigningKeys } from '../../../src/auth/signing-keys.ts';
import { MAX_CREDENTIALS } from '../../../src/stores/organizations/limits.ts';
import { addUsers, basic, call, callApi } from '../../support/client.ts';

beforeEach(addUsers);

const CREDENTIALS = 'organizations/alice/credentials';

/** Adds credentials with the names `c0000`, `c0001`, … for the given patterns of repositories. */
async function addMany(count: number, from: number, repositories: readonly string[]): Promise<void> {
  await env.DB_CENTRAL.prepare(`
    WITH RECURSIVE n(i) AS (SELECT ?2 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?1 + ?2)
    INSERT INTO credentials (id, kind, organization, name, rights, repositories, secret_hash, created_at, expires_at)
    SELECT 'c' || i, 'organization', 'alice', 'c' || printf('%04d', i), '["pull"]', ?3, 'c' || i, 0, 1 FROM n`)
    .bind(count, from, JSON.stringify(repositories))
    .run();
}

async function counted(): Promise<number> {
  const found = "SELECT count(*) AS credentials FROM credentials WHERE organization = 'alice'";
  return (await env.DB_CENTRAL.prepare(found).first<number>('credentials'))!;
}

test('an organization has a thousand credentials at most, even if two are created at once', async () => {
  await addMany(MAX_CREDENTIALS - (await counted()) - 1, 0, ['alice/*']);
  const create = (name: string) => callApi('POST', CREDENTIALS, 'alice', { name, rights: ['pull'] });
  const statuses = (await Promise.all([create('x'), create('y')])).map(({ status }) => status);
  expect([statuses.toSorted(), await counted()]).toEqual([[201, 403], MAX_CREDENTIALS]);
  const refused = await create('z');
  const { errors } = await refused.json<{ errors: { code: string; message: string; detail: object }[] }>();
  expect([refused.status, errors]).toMatchObject([
    403,
    [{ code: 'DENIED', detail: { organization: 'alice', limit: 'credentials', most: 1000 } }],
  ]);
  expect(errors[0]?.message).toMatch(/limit of 1000 credentials .* remove others first/);
  expect((await create('c0000')).status).toBe(409);
  expect((await callApi('DELETE', `${CREDENTIALS}/c0000`, 'alice')).status).toBe(204);
  expect((await create('z')).status).toBe(201);
});

test('removing an organization removes all of its credentials', async () => {
  await addMany(MAX_CREDENTIALS - (await counted()), 0, ['alice/*']);
  expect((await callApi('DELETE', 'organizations/alice', 'admin')).status).toBe(204);
  expect(await counted()).toBe(0);
});

test('a page has a hundred credentials at most', async () => {
  await addMany(150, 0, ['alice/*']);
  const namesOf = async (query: string): Promise<string[]> => {
    const { credentials } = await (
      await callApi('GET', `${CREDENTIALS}?${query}`, 'admin')
    ).json<{ credentials: { name: string }[] }>();
    return credentials.map(({ name }) => name);
  };
  const first = await namesOf('n=1000&last=c');
  expect([first.length, first[0], first[99]]).toEqual([100, 'c0000', 'c0099']);
  expect((await namesOf('last=c0099')).slice(0, 50).at(-1)).toBe('c0149');
});

test('an admin of some repositories finds its credentials among a thousand others', async () => {
  await addMany(600, 0, ['alice/*']);
  await addMany(1, 600, ['alice/team/app']);
  const body = { name: 'team', rights: ['pull', 'admin'], repositories: ['alice/team/*'] };
  const { secret } = await (await callApi('POST', CREDENTIALS, 'alice', body)).json<{ secret: string }>();
  const as = { authorization: basic({ name: 'team', password: secret }) };
  const { credentials } = await (
    await callApi('GET', `${CREDENTIALS}?n=5`, as)
  ).json<{ credentials: { name: string }[] }>();
  expect(credentials.map(({ name }) => name)).toEqual(['c0600', 'team']);
});

test('an admin of some repositories removes its credentials, and cannot tell whether others exist', async () => {
  const add = async (name: string, rights: readonly string[], repositories: readonly string[]) => {
    const made = await callApi('POST', CREDENTIALS, 'admin', { name, rights, repositories });
    return { authorization: basic({ name, password: (await made.json<{ secret: string }>()).secret }) };
  };
  const as = await add('team', ['pull', 'admin'], ['alice/team/*']);
  await add('whole', ['pull'], ['alice/*']);
  await add('secret', ['pull'], ['alice/secret', 'alice/team/app']);
  await add('pusher', ['push'], ['alice/team/*']);
  await add('puller', ['pull'], ['alice/team/app']);
  const remove = async (name: string): Promise<unknown[]> => {
    const answer = await callApi('DELETE', `${CREDENTIALS}/${name}`, as);
    const { errors } = answer.status === 204 ? {} : await answer.json<{ errors: { message: string }[] }>();
    return [answer.status, errors?.[0]?.message.replaceAll(name, '<name>')];
  };
  const unknown = await remove('unknown');
  expect(unknown[0]).toBe(404);
  for (const name of ['whole', 'secret']) expect(await remove(name)).toEqual(unknown);
  expect((await remove('pusher'))[0]).toBe(403);
  expect((await remove('puller'))[0]).toBe(204);
  expect((await callApi('DELETE', `${CREDENTIALS}/whole`, 'admin')).status).toBe(204);
});

test('the name of a hidden credential is taken, and the answer says nothing else about it', async () => {
  const made = await callApi('POST', CREDENTIALS, 'admin', {
    name: 'team',
    rights: ['pull', 'admin'],
    repositories: ['alice/team/*'],
  });
  const as = { authorization: basic({ name: 'team', password: (await made.json<{ secret: string }>()).secret }) };
  for (const [name, repositories] of [['hidden', ['alice/*']] as const, ['shown', ['alice/team/app']] as const]) {
    await callApi('POST', CREDENTIALS, 'admin', { name, rights: ['pull'], repositories });
    const taken = await callApi('POST', CREDENTIALS, as, { name, rights: ['pull'] });
    const { errors } = await taken.json<{ errors: { message: string }[] }>();
    expect([taken.status, errors.map(({ message }) => message)]).toEqual([
      409,
      [`the name ${name} is taken: choose another, or remove the credential of that name`],
    ]);
  }
});

test('a credential ends at its stated time', async () => {
  vi.useFakeTimers({ toFake: ['Date'] });
  try {
    const expires = new Date(Date.now() + 120_000).toISOString();
    const body = { name: 'short', rights: ['pull'], expires_at: expires };
    const { secret } = await (await callApi('POST', CREDENTIALS, 'alice', body)).json<{ secret: string }>();
    const as = { authorization: basic({ name: 'short', password: secret }) };
    const token = await (await call('GET', '/token', { as })).json<{ expires_in: number }>();
    expect(token.expires_in).toBeLessThanOrEqual(120);
    vi.setSystemTime(Date.now() + 121_000);
    expect((await call('GET', '/v2/', { as })).status).toBe(401);
  } finally {
    vi.useRealTimers();
  }
});

test('a credential cannot create one for registries where it is not valid itself', async () => {
  const made = await callApi('POST', CREDENTIALS, 'admin', {
    name: 'local',
    rights: ['pull', 'admin'],
    registries: ['central'],
  });
  const { secret } = await made.json<{ secret: string }>();
  const as = { authorization: `Basic ${btoa(`local:${secret}`)}` };
  const make = (fields: object) => callApi('POST', CREDENTIALS, as, { rights: ['pull'], ...fields });
  expect(await (await make({ name: 'heir' })).json()).toMatchObject({ registries: ['central'] });
  expect((await make({ name: 'beyond', registries: ['central', 'node1'] })).status).toBe(403);
  expect((await make({ name: 'unknown', registries: ['nowhere'] })).status).toBe(400);
});

test('a credential whose row contradicts itself is refused', async () => {
  // The schema refuses such a row; this tests the second line of defence.
  const notes = new SharedNotes(await SigningKeys.import([env.SIGNING_KEY]));
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
      knownGood: new KnownGood(notes),
      limits: new LoginLimits(notes),
    },
  );
  expect(login).toBeUndefined();
});
