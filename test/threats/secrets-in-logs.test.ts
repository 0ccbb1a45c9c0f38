import { env } from 'cloudflare:workers';
import { beforeEach, describe, expect, test } from 'vitest';
import { addUsers, basic, HOST, USERS } from '../support/client.ts';
import { secrets, takePrinted } from '../support/console.ts';
import { Secrets } from '../support/secrets.ts';
import { workerWith } from '../support/worker-with.ts';
import { HOSTS_AND_NODES } from './hosts.ts';

describe('the search for secrets finds a planted one', () => {
  const secret = 'a secret of "this" test/+';
  const random = crypto.getRandomValues(new Uint8Array(32)).toBase64({ alphabet: 'base64url', omitPadding: true });

  test.each([
    ['as it is', secret],
    ['in JSON', JSON.stringify({ password: secret })],
    ['in a URL', encodeURIComponent(secret)],
    ['in base64', btoa(secret)],
    ['in hexadecimal', new TextEncoder().encode(secret).toHex()],
    ['in the middle of a line', `{"path":"/x?y=${secret}&z"}`],
  ])('%s', (_form, line) => {
    const known = new Secrets();
    known.add('a password', secret);
    expect(known.find(`{"a":1}\n${line}\n{"b":2}`)).toEqual([`a password in: ${line}`]);
    expect(new Secrets().find(line)).toEqual([]);
  });

  test.each([
    ['a token', `eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.${random}`],
    ['a header', 'Basic YWxpY2U6YWxpY2Utc2VjcmV0'],
    ['a generated secret', `berth_${random}`],
    ['a reference', `/v2/alice/app/blobs/uploads/01234567-89ab-4cde-8f01-23456789abcd.0.1.sha256.${random}`],
    ['a signature', `A1a${random.slice(3)}`],
  ])('%s that was not registered', (_what, text) => {
    expect(new Secrets().find(`{"requestId":"1","path":"${text}"}`)).not.toEqual([]);
  });

  test('and nothing in a clean log line', () => {
    const line = `{"requestId":"${crypto.randomUUID()}","path":"/v2/alice/app/blobs/sha256:${'0a'.repeat(32)}","status":200,"subject":"id"}`;
    expect(new Secrets().find(line)).toEqual([]);
  });
});

describe.each(HOSTS_AND_NODES)('no secret is logged at $name', (host) => {
  test('the output of a test is searched for the secrets that it used', async () => {
    await addUsers();
    const { authorization } = await host.tokenFor('alice', 'repository:alice/app:pull,push');
    const location = await host.open('alice/app', { authorization });
    const planted = [
      authorization.slice(-43),
      USERS.alice.password,
      env.BOOTSTRAP_SECRET,
      env.SIGNING_KEY,
      location.slice(-43),
    ];
    expect(secrets.find(takePrinted())).toEqual([]);
    for (const text of planted) {
      console.log(`leaked: ${text}`);
      expect([text, secrets.find(takePrinted()).length > 0]).toEqual([text, true]);
    }
    console.error('leaked:', { cause: authorization });
    expect(secrets.find(takePrinted())).not.toEqual([]);
  });

  test('errors that are logged with their cause contain no secret', async () => {
    await addUsers();
    const { authorization } = await host.tokenFor('alice', 'repository:alice/app:pull,push');
    const failing = {
      prepare: () => ({
        bind: () => ({ all: () => Promise.reject(new Error('D1_ERROR: no such table: x: SQLITE_ERROR')) }),
      }),
    };
    for (const header of [authorization, basic(USERS.bob)]) {
      const request = new Request(`${host.origin}/v2/alice/app/manifests/latest?token=${authorization.slice(7)}`, {
        headers: { Authorization: header },
      });
      const { status } = await workerWith({ DB_CENTRAL: failing, DB_NODE1: failing })(request);
      expect(status).toBeGreaterThanOrEqual(500);
    }
    const printed = takePrinted();
    expect(printed).toContain('D1_ERROR');
    expect(secrets.find(printed)).toEqual([]);
  });
});

describe('an empty registry', () => {
  beforeEach(async () => {
    expect((await env.DB_CENTRAL.prepare('SELECT 1 FROM credentials').all()).results).toEqual([]);
  });

  async function statusWith(bindings: object, path: string, authorization: string): Promise<number> {
    const headers = {
      Authorization: authorization,
      'CF-Connecting-IP': `2001:db8::${Math.trunc(address++).toString(16)}`,
    };
    return (await workerWith(bindings)(new Request(`${HOST}${path}`, { headers }))).status;
  }
  let address = 1;

  test('has no user with a well-known name and password', async () => {
    for (const name of [
      'admin',
      'root',
      'administrator',
      'berth',
      'registry',
      'alice',
      'platform',
      'bootstrap',
      'official',
    ]) {
      for (const password of [
        '',
        name,
        'admin',
        'password',
        'changeme',
        'Harbor12345',
        '12345678',
        `${name}-dev`,
        'undefined',
        'null',
      ]) {
        const header = basic({ name, password });
        for (const path of ['/v2/', '/api/organizations'])
          expect([name, password, await statusWith({}, path, header)]).toEqual([name, password, 401]);
      }
    }
  });

  test('without a bootstrap secret accepts none', async () => {
    for (const secret of ['', 'undefined', 'null', 'bootstrap', env.BOOTSTRAP_SECRET, '[object Object]']) {
      const without = { BOOTSTRAP_SECRET: undefined };
      expect([secret, await statusWith(without, '/api/organizations', `Bearer ${secret}`)]).toEqual([secret, 401]);
    }
  });

  test.each([
    ['no signing key', { SIGNING_KEY: undefined }],
    ['an empty signing key', { SIGNING_KEY: '' }],
    ['a short signing key', { SIGNING_KEY: btoa('short') }],
    ['an empty bootstrap secret', { BOOTSTRAP_SECRET: '' }],
    ['a short bootstrap secret', { BOOTSTRAP_SECRET: 'changeme' }],
  ])('with %s serves nothing', async (_what, change) => {
    for (const path of ['/v2/', '/token', '/api/organizations', '/healthz']) {
      expect(await statusWith(change, path, `Bearer ${env.BOOTSTRAP_SECRET}`)).toBe(503);
    }
  });
});
