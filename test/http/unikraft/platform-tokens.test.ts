/** The command lines with a token that the platform knows: Berth asks the platform about it. */
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { applicationOf } from '../../support/application.ts';
import { addUsers } from '../../support/client.ts';
import { bytesOf } from '../../support/fixture.ts';
import { Kraft, type Login } from '../../support/kraft.ts';
import { applyAtNode1, naming, openWithPlatform, platformToken } from '../../support/platform.ts';
import { keepQueuesStill } from '../../support/still-queues.ts';
import { ORIGINS } from '../../support/three-hosts.ts';
import { Unikraft } from '../../support/unikraft.ts';
import { expectStatus, type Send, Wire } from '../../support/wire.ts';

const ROBOT = 'robot$alice.users.kraftcloud';
const SECRET = 'a-secret-that-berth-has-never-seen';
const TOKEN = platformToken(ROBOT, SECRET);

beforeEach(async () => {
  keepQueuesStill();
  await addUsers();
  await applyAtNode1();
});
afterEach(() => {
  vi.restoreAllMocks();
});

describe.each(['central', 'node1'] as const)('at %s', (host) => {
  test.each<[name: string, form: string, open: (wire: Wire, login: Login) => Kraft | Unikraft, login: Login]>([
    [
      'kraft',
      'the user and secret of its token',
      (wire, login) => new Kraft(wire, login),
      { user: ROBOT, secret: SECRET },
    ],
    [
      'unikraft',
      'the user and secret of its token',
      (wire, login) => new Unikraft(wire, login),
      { user: ROBOT, secret: SECRET },
    ],
    ['unikraft', 'the whole token', (wire, login) => new Unikraft(wire, login), { user: 'alice', secret: TOKEN.whole }],
  ])('%s pushes, pulls and removes with %s', async (_name, _form, open, login) => {
    const registry = openWithPlatform((given) => (given === TOKEN.whole ? naming('alice') : undefined));
    const send: Send = async (url, { method, headers: sent, body = null }) => {
      const { Authorization: authorization, ...headers } = sent;
      const as = authorization === undefined ? {} : { as: { authorization } };
      const response = await registry.call(host, method, url, { headers, body, ...as });
      return {
        status: response.status,
        headers: response.headers,
        bytes: new Uint8Array(await response.arrayBuffer()),
      };
    };
    const wire = new Wire(ORIGINS[host], send);
    const client = open(wire, login);
    const application = await applicationOf({ kernel: { bytes: bytesOf(1, 5000) }, rootfs: bytesOf(2, 3000) });
    await client.push('alice/app', 'latest', application);
    const got = await client.pull('alice/app', 'latest');
    for (const { digest, bytes } of application.layers) expect(got.get(digest)).toEqual(bytes);
    await expect(client.push('bob/app', 'latest', application)).rejects.toThrow(/40[13] instead of/);
    const removed =
      client instanceof Kraft ? client.removeImage('alice/app', 'latest') : client.delete('alice/app', 'latest');
    expectStatus(await removed, 202);
    expect(new Set(registry.asked)).toEqual(new Set([TOKEN.whole]));
  });
});
