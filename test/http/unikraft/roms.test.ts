/** ROM images: one raw layer of their own media type, and no kernel. */
import { env } from 'cloudflare:workers';
import { beforeEach, describe, expect, test } from 'vitest';
import { type Application, applicationOf, bytesOfPieces, ROM } from '../../support/application.ts';
import { addUsers, USERS } from '../../support/client.ts';
import { bytesOf } from '../../support/fixture.ts';
import { Kraft } from '../../support/kraft.ts';
import { type NodeImage, wholeOf } from '../../support/platform-images.ts';
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

  test.each(['node1', 'central'] as const)(
    'a ROM that was pushed at %s is listed as one at the node that has it',
    async (host) => {
      await open(hosts.wireTo(host)).push('alice/rom', 'latest', rom);
      await hosts.announce();
      await open(hosts.wireTo('node1')).pull('alice/rom', 'latest');
      await hosts.drain();
      const { bytes } = await hosts.call('node1', 'GET', '/v1/image-store', { as: wholeOf('alice') });
      const { data } = JSON.parse(new TextDecoder().decode(bytes)) as { data: { images: NodeImage[] } };
      expect(data.images.map((image) => [image.url, image.tags, image.initrd_or_rom, image.size_in_bytes])).toEqual([
        [
          `registry.localhost:8788/alice/rom@${rom.index.digest}`,
          ['latest'],
          true,
          bytesOfPieces([...rom.layers, rom.config]),
        ],
      ]);
      const kinds = await env.DB_NODE1!.prepare('SELECT DISTINCT image_kind FROM manifests').all();
      expect(kinds.results).toEqual([{ image_kind: 'rom' }]);
    },
  );
});
