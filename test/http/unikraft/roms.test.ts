/** ROM images: one raw layer of their own media type, and no kernel. */
import { beforeEach, describe, expect, test } from 'vitest';
import { type Application, applicationOf, ROM } from '../../support/application.ts';
import { addUsers, USERS } from '../../support/client.ts';
import { bytesOf } from '../../support/fixture.ts';
import { Kraft } from '../../support/kraft.ts';
import { ThreeHosts } from '../../support/three-hosts.ts';
import { Unikraft } from '../../support/unikraft.ts';
import type { Wire } from '../../support/wire.ts';

const LOGIN = { user: 'alice', secret: USERS.alice.password };
const CLIENTS = [
  ['kraft', (wire: Wire) => new Kraft(wire, LOGIN)],
  ['unikraft', (wire: Wire) => new Unikraft(wire, LOGIN)],
] as const;

let hosts: ThreeHosts;
let rom: Application;

beforeEach(async () => {
  await addUsers();
  hosts = await ThreeHosts.open();
  rom = await applicationOf({ rom: bytesOf(7, 10_001) });
});

describe.each(CLIENTS)('%s', (_name, open) => {
  test.each(['central', 'node1'] as const)('pushes a ROM at %s, and pulls it everywhere', async (host) => {
    expect(rom.layers.map(({ mediaType }) => mediaType)).toEqual([ROM]);
    await open(hosts.wireTo(host)).push('alice/rom', 'latest', rom);
    await hosts.announce();
    for (const other of ['central', 'node1', 'node2'] as const) {
      const got = await open(hosts.wireTo(other)).pull('alice/rom', 'latest');
      for (const { digest, bytes } of [...rom.layers, rom.config, rom.manifest, rom.index])
        expect(got.get(digest)).toEqual(bytes);
    }
  });
});
