import { expect, test } from 'vitest';
import { type Fixture, granted, pushSmallImage, REPOSITORY } from '../support/fixture.ts';
import { openHosts } from '../support/hosts.ts';

test('a new node that already has a manifest applies its deletion, even one from before it first read the change log', async () => {
  const hosts = await openHosts();
  const image = await pushSmallImage({ registry: hosts.central.registry } as unknown as Fixture, 1, ['latest']);
  const reference = { kind: 'digest', digest: image.digest } as const;
  await hosts.node1.registry.getManifest(granted(), reference);
  await hosts.settled();
  await hosts.central.registry.deleteManifest(REPOSITORY, image.digest);
  await hosts.drain();
  await expect(hosts.node1.registry.getManifest(granted(), reference)).rejects.toMatchObject({ status: 404 });
});
