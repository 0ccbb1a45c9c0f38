/** A registry that is bootstrapped, logged in to, pushed to and attacked logs no secret, in any form. */
import { appendFile, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { loggedSecrets, secrets } from '../support/local/logged-secrets.ts';
import {
  type Caller,
  chunked,
  comparePull,
  imageOf,
  loggedIn,
  pushSteps,
  request,
  sha256,
} from '../support/local/push.ts';
import { serverForFile } from '../support/local/server-for-file.ts';

const server = serverForFile();

const basicOf = (name: string, password: string): string =>
  `Basic ${Buffer.from(`${name}:${password}`).toString('base64')}`;

async function answer<Body>(caller: Caller, method: string, path: string, body?: object): Promise<Body> {
  secrets.addAuthorization(caller.authorization);
  const init =
    body === undefined ? {} : { body: JSON.stringify(body), headers: { 'Content-Type': 'application/json' } };
  const json = await (await request(caller, method, path, init)).text();
  secrets.addAnswer(json);
  return JSON.parse(json) as Body;
}

test('neither a push from the bootstrap secret on, nor refused requests, leave a secret in the log', async () => {
  const { url } = server.current;
  const { BOOTSTRAP_SECRET: bootstrapSecret = '' } = JSON.parse(
    await readFile(join(server.folder, 'secrets.json'), 'utf8'),
  ) as Record<string, string>;
  const bootstrap = { url, authorization: `Bearer ${bootstrapSecret}` };
  await answer(bootstrap, 'POST', '/api/organizations', { name: 'carol' });
  const created = await answer<{ secret: string }>(bootstrap, 'POST', '/api/organizations/carol/credentials', {
    name: 'laptop',
    rights: ['pull', 'push', 'delete'],
  });
  const upstream = { from: 'https://registry.example.com', username: 'berth', password: 'kept-for-the-upstream' };
  secrets.add('the password of a mirror', upstream.password);
  const mirror = await answer(bootstrap, 'PUT', '/api/organizations/carol/mirror', upstream);
  expect(JSON.stringify(mirror)).not.toContain(upstream.password);
  await answer(bootstrap, 'PUT', '/api/organizations/carol/mirror', { ...upstream, from: 'https://127.0.0.2' });
  expect((await request(bootstrap, 'DELETE', '/api/organizations/carol/mirror')).status).toBe(204);
  const carol = { url, authorization: basicOf('carol', created.secret) };
  const scope = 'repository:carol/app:pull,push';
  const { token } = await answer<{ token: string }>(carol, 'GET', `/token?scope=${scope}&account=carol`);
  const form = new URLSearchParams({ grant_type: 'password', username: 'carol', password: created.secret, scope });
  secrets.addAnswer(await (await fetch(new URL('/token', url), { method: 'POST', body: form })).text());

  const caller = { url, authorization: `Bearer ${token}` };
  const image = imageOf(100_000);
  for (const step of pushSteps('carol/app', 'latest', image)) await step.run(caller);
  await comparePull(caller, 'carol/app', 'latest', image);

  // These requests put secrets where they do not belong, or are wrong in other ways.
  const opened = await request(caller, 'POST', '/v2/carol/app/blobs/uploads/');
  const location = new URL(opened.headers.get('Location') ?? '', url).pathname;
  const attempts: [Caller, string, string, RequestInit?][] = [
    [{ url, authorization: basicOf('carol', `${created.secret}x`) }, 'GET', '/v2/'],
    [{ url, authorization: basicOf(created.secret, created.secret) }, 'GET', '/token'],
    [{ url, authorization: `Bearer ${token}x` }, 'GET', '/v2/carol/app/tags/list'],
    [bootstrap, 'GET', '/v2/'],
    [caller, 'GET', '/api/organizations'],
    [caller, 'GET', `/v2/carol/app/tags/list?token=${token}`],
    [caller, 'PATCH', location.replaceAll('.', '%2E'), chunked(Buffer.from('x'))],
    [caller, 'PUT', `${location}?digest=${sha256(Buffer.from('y'))}`, chunked(Buffer.from('x'))],
    [loggedIn(url, 'bob'), 'DELETE', location],
  ];
  for (const [by, method, path, init] of attempts) {
    secrets.addAuthorization(by.authorization);
    const { status } = await request(by, method, path, init);
    expect([method, path, status < 500]).toEqual([method, path, true]);
  }
  expect((await readFile(join(server.folder, 'log.jsonl'), 'utf8')).split('\n').length).toBeGreaterThan(10);
  expect(await loggedSecrets(server.folder, server.current.output())).toEqual([]);

  // Shows that the search would find secrets: it finds one in the same log with one more line.
  const log = join(server.folder, 'log.jsonl');
  const before = await readFile(log, 'utf8');
  for (const planted of [
    bootstrapSecret,
    created.secret,
    token,
    token.slice(-43),
    location.slice(-43),
    'alice-dev',
    basicOf('alice', 'alice-dev').slice(6),
  ]) {
    await appendFile(log, `{"planted":"${planted}"}\n`);
    expect([planted, (await loggedSecrets(server.folder, '')).length > 0]).toEqual([planted, true]);
    await writeFile(log, before);
    if (planted !== 'alice-dev' && !planted.startsWith('YWxp'))
      expect(await loggedSecrets(server.folder, planted)).not.toEqual([]);
  }
});
