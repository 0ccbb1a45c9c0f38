/**
 * Invariant 6 over HTTP: every route × caller × repository. The expected status comes from the rule alone, whatever
 * exists, because unknown and forbidden must look alike.
 */
import { beforeEach, describe, expect, test } from 'vitest';
import { addUsers, call, codeOf, errorsOf, tokenFor, type UserName } from '../support/client.ts';
import { putImage } from '../support/content.ts';
import { snapshotWithoutUse } from '../support/fixture.ts';
import { sampled } from '../support/sample.ts';

beforeEach(addUsers);

type Caller = UserName | 'anonymous';
const CALLERS: readonly Caller[] = ['anonymous', 'alice', 'aliceReader', 'aliceApp', 'bob', 'platform', 'admin'];
const REPOSITORIES = [
  'alice/app',
  'alice/other',
  'alice/typo',
  'bob/app',
  'bob/open',
  'bob/typo',
  'official/base',
] as const;
const PUSHED = new Map<string, UserName>([
  ['alice/app', 'alice'],
  ['alice/other', 'alice'],
  ['bob/app', 'bob'],
  ['bob/open', 'bob'],
  ['official/base', 'official'],
]);

const BLOB = `sha256:${'a'.repeat(64)}`;
const ROUTES = [
  ['GET', 'manifests/latest', 'pull'],
  ['HEAD', 'manifests/latest', 'pull'],
  ['GET', `manifests/${BLOB}`, 'pull'],
  ['GET', `blobs/${BLOB}`, 'pull'],
  ['HEAD', `blobs/${BLOB}`, 'pull'],
  ['GET', 'tags/list', 'pull'],
  ['GET', `referrers/${BLOB}`, 'pull'],
  ['PUT', 'manifests/latest', 'push'],
  ['PUT', `manifests/${BLOB}?tag=a&tag=b`, 'push'],
  ['POST', 'blobs/uploads/', 'push'],
  ['POST', `blobs/uploads/?digest=${BLOB}`, 'push'],
  ['POST', `blobs/uploads/?mount=${BLOB}&from=bob/app`, 'push'],
  ['PATCH', 'blobs/uploads/session', 'push'],
  ['PUT', `blobs/uploads/session?digest=${BLOB}`, 'push'],
  ['GET', 'blobs/uploads/session', 'push'],
  ['DELETE', 'blobs/uploads/session', 'push'],
  ['DELETE', 'manifests/latest', 'delete'],
  ['DELETE', `manifests/${BLOB}`, 'delete'],
  ['DELETE', `blobs/${BLOB}`, 'delete'],
] as const;

const CASES = REPOSITORIES.flatMap((repository) => ROUTES.map((route) => [repository, route] as const));

/** The rule, as a person would state it. */
function allowed(caller: Caller, action: 'pull' | 'push' | 'delete', repository: string): boolean {
  const [organization] = repository.split('/');
  if (action === 'pull') {
    if (repository === 'bob/open') return true;
    if (organization === 'official') return caller !== 'anonymous';
    if (caller === 'platform') return true;
  }
  if (caller === 'alice' || caller === 'bob') return organization === caller;
  if (caller === 'aliceReader') return organization === 'alice' && action === 'pull';
  if (caller === 'aliceApp') return repository === 'alice/app' && action !== 'delete';
  return false;
}

const refusal = (caller: Caller): readonly [number, string] =>
  caller === 'anonymous' ? [401, 'UNAUTHORIZED'] : [403, 'DENIED'];

async function fill(): Promise<void> {
  for (const [repository, as] of PUSHED) await putImage(repository, 1, ['latest'], { as });
  const headers = { 'Content-Type': 'application/json' };
  await call('PATCH', '/api/organizations/bob/repositories/open', {
    as: 'bob',
    headers,
    body: '{"visibility":"public"}',
  });
}

describe.each(CALLERS)('%s', (caller) => {
  test.each(['Basic', 'an access token'])('with %s', async (how) => {
    await fill();
    const before = await snapshotWithoutUse();
    const user = caller === 'anonymous' ? undefined : caller;
    const tokens = new Map<string, Awaited<ReturnType<typeof tokenFor>>>();
    for (const [repository, [method, path, action]] of sampled(CASES)) {
      if (allowed(caller, action, repository) && action !== 'pull') continue;
      if (how !== 'Basic' && !tokens.has(repository))
        tokens.set(repository, await tokenFor(user, `repository:${repository}:pull,push,delete`));
      const as = tokens.get(repository) ?? user;
      const response = await call(method, `/v2/${repository}/${path}`, {
        ...(as === undefined ? {} : { as }),
        body: method === 'PUT' || method === 'PATCH' ? 'x' : null,
      });
      const where = `${method} ${repository}/${path}`;
      if (allowed(caller, action, repository)) {
        expect([where, [200, 404].includes(response.status)]).toEqual([where, true]);
        continue;
      }
      const [status, code] = refusal(caller);
      expect([where, response.status]).toEqual([where, status]);
      if (method !== 'HEAD') expect(await codeOf(response)).toBe(code);
      expect(response.headers.has('WWW-Authenticate')).toBe(status === 401);
    }
    expect(await snapshotWithoutUse()).toBe(before);
  });
});

describe('an access token', () => {
  test.each([
    ['GET', 'manifests/latest', 'push', 'pull'],
    ['PUT', 'manifests/latest', 'pull', 'pull,push'],
    ['DELETE', 'manifests/latest', 'pull', 'delete'],
  ])('%s %s with a token for %s only: 401 names the missing scope', async (method, path, has, needs) => {
    const as = await tokenFor('alice', `repository:alice/app:${has}`);
    const response = await call(method, `/v2/alice/app/${path}`, { as, body: method === 'PUT' ? '{}' : null });
    expect(response.status).toBe(401);
    const challenge = response.headers.get('WWW-Authenticate');
    expect(challenge).toContain(`scope="repository:alice/app:${needs}"`);
    expect(challenge).toContain('error="insufficient_scope"');
  });

  test('for pulling and pushing may also delete, if the credential may', async () => {
    await putImage('alice/app', 1, ['latest']);
    const as = await tokenFor('alice', 'repository:alice/app:pull,push');
    expect((await call('DELETE', '/v2/alice/app/manifests/latest', { as })).status).toBe(202);
    const limited = await tokenFor('aliceApp', 'repository:alice/app:pull,push,delete');
    expect((await call('DELETE', '/v2/alice/app/manifests/latest', { as: limited })).status).toBe(403);
  });

  test('is refused by the management API, which requires the credential itself', async () => {
    expect(
      (await call('GET', '/api/organizations/alice', { as: await tokenFor('alice', 'repository:alice/app:*') })).status,
    ).toBe(401);
  });
});

test('a pull creates nothing', async () => {
  const before = await snapshotWithoutUse();
  for (const path of ['manifests/latest', `blobs/${BLOB}`, 'tags/list', `referrers/${BLOB}`])
    await call('GET', `/v2/alice/new/${path}`, { as: 'alice' });
  expect(await snapshotWithoutUse()).toBe(before);
});

test('a refusal says what the credential may not do, in the same words whether the repository exists or not', async () => {
  await putImage('bob/app', 1, ['latest'], { as: 'bob' });
  for (const repository of ['bob/app', 'bob/typo']) {
    const pull = await call('GET', `/v2/${repository}/manifests/latest`, { as: 'alice' });
    expect((await errorsOf(pull))[0]?.message).toBe(`this credential may not pull from ${repository}`);
    const push = await call('POST', `/v2/${repository}/blobs/uploads/`, { as: 'alice' });
    expect((await errorsOf(push))[0]?.message).toBe(`this credential may not push to ${repository}`);
  }
});
