/** Runtimes: images of the organization `official`. Every organization's images reuse their kernel. */
import { beforeEach, describe, expect, test } from 'vitest';
import { type Application, applicationOf, bytesOfPieces } from '../../support/application.ts';
import { addUsers, USERS } from '../../support/client.ts';
import { bytesOf } from '../../support/fixture.ts';
import type { Login } from '../../support/kraft.ts';
import { type HostName, ThreeHosts } from '../../support/three-hosts.ts';
import { Unikraft } from '../../support/unikraft.ts';
import type { Wire } from '../../support/wire.ts';

const RUNTIME = 'official/python';
const KERNEL = bytesOf(1, 50_000);

let hosts: ThreeHosts;
let runtime: Application;

beforeEach(async () => {
  await addUsers();
  hosts = await ThreeHosts.open();
  runtime = await applicationOf({ kernel: { bytes: KERNEL }, rootfs: bytesOf(2, 1000) });
});

/**
 * Returns what the client sends: to central the user and secret of its token, to nodes the organization and the whole
 * token.
 */
function loginAt(host: HostName, organization: 'alice' | 'bob' | 'official'): Login {
  const user = `robot$${organization}.users.kraftcloud`;
  const secret = USERS[organization].password;
  return host === 'central' ? { user, secret } : { user: organization, secret: btoa(`${user}:${secret}`) };
}

async function pushRuntime(host: HostName): Promise<void> {
  await new Unikraft(hosts.wireTo(host), loginAt(host, 'official')).push(RUNTIME, 'latest', runtime);
}

interface Built {
  readonly wire: Wire;
  readonly application: Application;
  /** The statuses of the answers to its mounts. */
  readonly mounts: readonly number[];
}

/** Builds an application of the organization on the runtime's kernel, and pushes it. */
async function build(host: HostName, organization: 'alice' | 'bob', from = RUNTIME): Promise<Built> {
  const application = await applicationOf({ kernel: { bytes: KERNEL, from }, rootfs: bytesOf(3, 2000) });
  const wire = hosts.wireTo(host);
  const mounts = await new Unikraft(wire, loginAt(host, organization)).push(
    `${organization}/app`,
    'latest',
    application,
  );
  return { wire, application, mounts };
}

async function expectPulled(host: HostName, organization: 'alice' | 'bob', { layers }: Application): Promise<void> {
  const client = new Unikraft(hosts.wireTo(host), loginAt(host, organization));
  const got = await client.pull(`${organization}/app`, 'latest');
  for (const { digest, bytes } of layers) expect(got.get(digest)).toEqual(bytes);
}

function bytesSent(wire: Wire): number {
  return wire.takeExchanges().reduce((sum, { bytes }) => sum + bytes, 0);
}

function allBut(
  { config, layers, manifest, index }: Application,
  kernel: 'without the kernel' | 'with the kernel',
): number {
  const sent = kernel === 'with the kernel' ? layers : layers.slice(1);
  return bytesOfPieces([...sent, config, manifest, index]);
}

describe('an organization builds on an official runtime', () => {
  const organization = 'bob';

  test.each([
    ['central', 'central'],
    ['central', 'node1'],
    ['node1', 'node1'],
  ] as const)('that is at %s: its kernel is mounted at %s, and not sent', async (holder, host) => {
    await pushRuntime(holder);
    const { wire, application, mounts } = await build(host, organization);
    expect(mounts).toEqual([201]);
    expect(bytesSent(wire)).toBe(allBut(application, 'without the kernel'));
    await expectPulled(host, organization, application);
    await hosts.drain();
    for (const other of ['central', 'node1', 'node2'] as const) await expectPulled(other, organization, application);
  });

  test('that was pushed at another node: its kernel is sent until central knows it', async () => {
    hosts.takeAway('queues');
    await pushRuntime('node1');
    const before = await build('node2', organization);
    expect(before.mounts).toEqual([202]);
    expect(bytesSent(before.wire)).toBe(allBut(before.application, 'with the kernel'));
    await expectPulled('node2', organization, before.application);
  });

  test('that only another node holds, once it is announced: its kernel is mounted', async () => {
    await pushRuntime('node1');
    await hosts.announce();
    const { wire, application, mounts } = await build('node2', organization);
    expect(mounts).toEqual([201]);
    expect(bytesSent(wire)).toBe(allBut(application, 'without the kernel'));
    await expectPulled('node2', organization, application);
    await hosts.drain();
    hosts.takeAway('node1 D1', 'node1 R2');
    for (const other of ['central', 'node2'] as const) await expectPulled(other, organization, application);
  });
});

test.each(['central', 'node1'] as const)(
  "another organization's kernel is not mounted at %s: it is sent",
  async (host) => {
    const owner = new Unikraft(hosts.wireTo('central'), loginAt('central', 'bob'));
    await owner.push('bob/runtime', 'latest', runtime);
    const { wire, application, mounts } = await build(host, 'alice', 'bob/runtime');
    expect(mounts).toEqual([202]);
    expect(bytesSent(wire)).toBe(allBut(application, 'with the kernel'));
  },
);

test('an anonymous caller cannot read a runtime', async () => {
  await pushRuntime('central');
  for (const host of ['central', 'node1'] as const) {
    const path = `/v2/${RUNTIME}/blobs/${runtime.layers[0]?.digest}`;
    expect((await hosts.fetch(new Request(`${hosts.wireTo(host).origin}${path}`))).status).toBe(401);
  }
});
