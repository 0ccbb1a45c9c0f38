/** Callers of the management API: the bootstrap secret, and every kind of credential at every operation. */
import { env } from 'cloudflare:workers';
import { beforeEach, describe, expect, test } from 'vitest';
import { addUsers, basic, call, callApi, type UserName } from '../../support/client.ts';
import { putImage } from '../../support/content.ts';
import { workerWith } from '../../support/worker-with.ts';

beforeEach(addUsers);

const bootstrap = { authorization: `Bearer ${env.BOOTSTRAP_SECRET}` };

describe('with only the bootstrap secret', () => {
  test('an administrator creates an organization and its first credential, which can push', async () => {
    expect((await callApi('POST', 'organizations', bootstrap, { name: 'carol' })).status).toBe(201);
    const created = await callApi('POST', 'organizations/carol/credentials', bootstrap, {
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
    const listed = await (await callApi('GET', 'organizations/carol/credentials', bootstrap)).text();
    expect(listed).toContain('laptop');
    expect(listed).not.toContain(credential.secret);
    const { results } = await env.DB_CENTRAL.prepare("SELECT * FROM credentials WHERE organization = 'carol'").all();
    expect(JSON.stringify(results)).not.toContain(credential.secret);
    expect(results).toMatchObject([{ last_used_at: expect.any(Number) as number }]);
  });

  test('an administrator creates platform and administrator credentials', async () => {
    for (const kind of ['platform', 'administrator']) {
      const { secret } = await (
        await callApi('POST', 'credentials', bootstrap, { name: `the-${kind}`, kind })
      ).json<{ secret: string }>();
      const as = { authorization: basic({ name: `the-${kind}`, password: secret }) };
      expect((await callApi('GET', 'organizations', as)).status).toBe(kind === 'administrator' ? 200 : 403);
      expect((await call('GET', '/v2/alice/app/manifests/x', { as })).status).toBe(
        kind === 'administrator' ? 403 : 404,
      );
    }
    const { credentials } = await (
      await callApi('GET', 'credentials', bootstrap)
    ).json<{ credentials: { name: string; organization: null }[] }>();
    expect(credentials.map(({ name, organization }) => [name, organization])).toEqual([
      ['admin', null],
      ['platform', null],
      ['the-administrator', null],
      ['the-platform', null],
    ]);
    expect((await callApi('DELETE', 'credentials/the-platform', bootstrap)).status).toBe(204);
    expect((await callApi('DELETE', 'credentials/the-platform', bootstrap)).status).toBe(404);
  });

  test.each([
    ['dots', 'a.bootstrap.secret.with.dots'],
    ['the form of a whole token', btoa('operator:chosen-by-hand')],
    ['the form of an access token', 'eyJoZWFkZXI.Y2xhaW1z.c2lnbmF0dXJl'],
  ])('the bootstrap secret may have %s', async (_form, secret) => {
    const fetcher = workerWith({ BOOTSTRAP_SECRET: secret });
    const as = { authorization: `Bearer ${secret}` };
    const { status } = await call('GET', '/api/organizations', { as, fetcher });
    expect(status).toBe(200);
  });

  test('a wrong secret is 401', async () => {
    expect((await callApi('GET', 'organizations', { authorization: 'Bearer wrong' })).status).toBe(401);
    expect((await callApi('GET', 'organizations', undefined)).status).toBe(401);
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
      const { status } = await callApi(method, path, caller, BODIES[`${method} ${path}`]);
      const allowed = caller === 'admin' || (scope === 'alice' && caller === 'alice');
      if (caller === undefined) expect(status).toBe(401);
      else if (allowed) expect([200, 201, 204, 404, 409]).toContain(status);
      else expect(status).toBe(403);
    },
  );
});
