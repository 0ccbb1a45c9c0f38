/** The bytes that clients send when they push a changed application again. */
import { beforeEach, describe, expect, test } from 'vitest';
import { type Application, applicationOf, bytesOfPieces, type Piece } from '../../support/application.ts';
import { addUsers, USERS } from '../../support/client.ts';
import { bytesOf } from '../../support/fixture.ts';
import { Kraft } from '../../support/kraft.ts';
import { type HostName, ThreeHosts } from '../../support/three-hosts.ts';
import { Unikraft } from '../../support/unikraft.ts';
import type { Wire } from '../../support/wire.ts';

const KERNEL = bytesOf(1, 90_000);
const REPOSITORY = 'alice/app';
const LOGIN = { user: 'alice', secret: USERS.alice.password };

/** One of the two command lines that push. */
interface Way {
  readonly name: string;
  readonly open: (wire: Wire) => { push(repository: string, tag: string, application: Application): Promise<unknown> };
  /** The pieces that the client sends of an image that is already there. */
  readonly again: (application: Application) => readonly Piece[];
}

const WAYS: readonly Way[] = [
  { name: 'kraft', open: (wire) => new Kraft(wire, LOGIN), again: () => [] },
  // The client also pushes the manifest to the tag. Its check of the tag finds the index, so it sends both again.
  { name: 'unikraft', open: (wire) => new Unikraft(wire, LOGIN), again: ({ manifest, index }) => [manifest, index] },
];

let hosts: ThreeHosts;
let first: Application;
let changed: Application;

beforeEach(async () => {
  await addUsers();
  hosts = await ThreeHosts.open();
  first = await applicationOf({ kernel: { bytes: KERNEL }, rootfs: bytesOf(2, 30_000) });
  changed = await applicationOf({ kernel: { bytes: KERNEL }, rootfs: bytesOf(3, 31_000) });
});

function everything({ layers, config, manifest, index }: Application): Piece[] {
  return [...layers, config, manifest, index];
}

/** Returns everything but the kernel. */
function withoutKernel(application: Application): Piece[] {
  return everything(application).slice(1);
}

function bytesSent(wire: Wire): number {
  return wire.takeExchanges().reduce((sum, { bytes }) => sum + bytes, 0);
}

/** Asserts that the host serves the whole image, byte for byte. */
async function expectPulled(host: HostName, application: Application): Promise<void> {
  const got = await new Unikraft(hosts.wireTo(host), LOGIN).pull(REPOSITORY, 'latest');
  expect([...got.keys()].toSorted()).toEqual(
    everything(application)
      .map(({ digest }) => digest)
      .toSorted(),
  );
  for (const { digest, bytes } of everything(application)) expect(got.get(digest)).toEqual(bytes);
}

describe.each(WAYS)('$name', ({ open, again }) => {
  test.each(['central', 'node1'] as const)('at %s, a second push sends all but the kernel', async (host) => {
    const wire = hosts.wireTo(host);
    const client = open(wire);
    await client.push(REPOSITORY, 'latest', first);
    expect(bytesSent(wire)).toBe(bytesOfPieces(everything(first)));
    await client.push(REPOSITORY, 'latest', changed);
    expect(bytesSent(wire)).toBe(bytesOfPieces(withoutKernel(changed)));
    await expectPulled(host, changed);
  });

  test.each([
    ['only central holds', 'central'],
    ['another node pushed, and central knows of', 'node2'],
  ] as const)('at a node, a kernel that %s is not sent', async (_what, holder) => {
    await open(hosts.wireTo(holder)).push(REPOSITORY, 'latest', first);
    await hosts.announce();
    const wire = hosts.wireTo('node1');
    await open(wire).push(REPOSITORY, 'latest', changed);
    expect(bytesSent(wire)).toBe(bytesOfPieces(withoutKernel(changed)));
    await expectPulled('node1', changed);
    await hosts.drain();
    for (const host of ['central', 'node1', 'node2'] as const) await expectPulled(host, changed);
  });

  test.each(['central', 'node1'] as const)('at %s, pushing the same again sends no blob', async (host) => {
    const wire = hosts.wireTo(host);
    const client = open(wire);
    await client.push(REPOSITORY, 'latest', first);
    wire.takeExchanges();
    await client.push(REPOSITORY, 'latest', first);
    expect(bytesSent(wire)).toBe(bytesOfPieces(again(first)));
    await expectPulled(host, first);
  });
});

test('unikraft puts the manifest to the tag before the index: the tag ends on the index, and both can be pulled', async () => {
  const wire = hosts.wireTo('central');
  await new Unikraft(wire, LOGIN).push(REPOSITORY, 'latest', first);
  const puts = wire.takeExchanges().filter(({ method, path }) => method === 'PUT' && path.includes('/manifests/'));
  const path = `/v2/${REPOSITORY}/manifests/latest`;
  expect(puts).toEqual([
    { method: 'PUT', path, status: 201, bytes: first.manifest.bytes.byteLength },
    { method: 'PUT', path, status: 201, bytes: first.index.bytes.byteLength },
  ]);
  await expectPulled('central', first);
  const child = await hosts.call('central', 'GET', `/v2/${REPOSITORY}/manifests/${first.manifest.digest}`);
  expect(child.bytes).toEqual(first.manifest.bytes);
});

test('unikraft reads a node’s image at central with ?ns=', async () => {
  await new Unikraft(hosts.wireTo('node1'), LOGIN).push(REPOSITORY, 'latest', first);
  await hosts.announce();
  const got = await new Unikraft(hosts.wireTo('central'), LOGIN).pull(
    REPOSITORY,
    'latest',
    '?ns=index.node1.localhost',
  );
  expect(got.size).toBe(everything(first).length);
});
