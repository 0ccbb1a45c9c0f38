/** Credentials of an organization: how many it may have, and how they are listed. */
import { env } from 'cloudflare:workers';
import { beforeEach, expect, test } from 'vitest';
import { MAX_CREDENTIALS } from '../../../src/stores/organizations/limits.ts';
import { addUsers, basic, call, type CallOptions } from '../../support/client.ts';

beforeEach(addUsers);

const CREDENTIALS = '/api/organizations/alice/credentials';

function api(method: string, path: string, as: CallOptions['as'] = 'admin', body?: object): Promise<Response> {
  const headers = body === undefined ? {} : { 'Content-Type': 'application/json' };
  return call(method, path, { ...(as && { as }), headers, body: body === undefined ? null : JSON.stringify(body) });
}

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
  const create = (name: string) => api('POST', CREDENTIALS, 'alice', { name, rights: ['pull'] });
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
  expect((await api('DELETE', `${CREDENTIALS}/c0000`, 'alice')).status).toBe(204);
  expect((await create('z')).status).toBe(201);
});

test('removing an organization removes all of its credentials', async () => {
  await addMany(MAX_CREDENTIALS - (await counted()), 0, ['alice/*']);
  expect((await api('DELETE', '/api/organizations/alice')).status).toBe(204);
  expect(await counted()).toBe(0);
});

test('a page has a hundred credentials at most', async () => {
  await addMany(150, 0, ['alice/*']);
  const namesOf = async (query: string): Promise<string[]> => {
    const { credentials } = await (
      await api('GET', `${CREDENTIALS}?${query}`)
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
  const { secret } = await (await api('POST', CREDENTIALS, 'alice', body)).json<{ secret: string }>();
  const as = { authorization: basic({ name: 'team', password: secret }) };
  const { credentials } = await (
    await api('GET', `${CREDENTIALS}?n=5`, as)
  ).json<{ credentials: { name: string }[] }>();
  expect(credentials.map(({ name }) => name)).toEqual(['c0600', 'team']);
});

test('an admin of some repositories removes its credentials, and cannot tell whether others exist', async () => {
  const add = async (name: string, rights: readonly string[], repositories: readonly string[]) => {
    const made = await api('POST', CREDENTIALS, 'admin', { name, rights, repositories });
    return { authorization: basic({ name, password: (await made.json<{ secret: string }>()).secret }) };
  };
  const as = await add('team', ['pull', 'admin'], ['alice/team/*']);
  await add('whole', ['pull'], ['alice/*']);
  await add('secret', ['pull'], ['alice/secret', 'alice/team/app']);
  await add('pusher', ['push'], ['alice/team/*']);
  await add('puller', ['pull'], ['alice/team/app']);
  const remove = async (name: string): Promise<unknown[]> => {
    const answer = await api('DELETE', `${CREDENTIALS}/${name}`, as);
    const { errors } = answer.status === 204 ? {} : await answer.json<{ errors: { message: string }[] }>();
    return [answer.status, errors?.[0]?.message.replaceAll(name, '<name>')];
  };
  const unknown = await remove('unknown');
  expect(unknown[0]).toBe(404);
  for (const name of ['whole', 'secret']) expect(await remove(name)).toEqual(unknown);
  expect((await remove('pusher'))[0]).toBe(403);
  expect((await remove('puller'))[0]).toBe(204);
  expect((await api('DELETE', `${CREDENTIALS}/whole`)).status).toBe(204);
});
