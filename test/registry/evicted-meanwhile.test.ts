/** A node may evict an image between finding its manifest and reading its document: central still has both. */
import { env } from 'cloudflare:workers';
import { beforeEach, expect, test } from 'vitest';
import type { Tag } from '../../src/oci/reference.ts';
import { at } from '../support/objects.ts';
import { granted, imageOf, pushBlob, bytesOf, pushImage } from '../support/fixture.ts';
import { type Hosts, openHosts } from '../support/hosts.ts';
import { withoutTriggers } from '../support/without-triggers.ts';

let hosts: Hosts;
beforeEach(async () => {
  hosts = await openHosts();
});

test('a large manifest that leaves the node while its reader waits for room is served from central', async () => {
  const { node1 } = hosts;
  const config = await pushBlob(at(node1), bytesOf(1, 100));
  const image = await imageOf(config, [], { annotations: { a: 'x'.repeat(100_000) } });
  await pushImage(at(node1), image, ['latest']);
  await hosts.drain();
  // An eviction leaves this: no row, no document, no tag.
  const evict = () =>
    withoutTriggers(env.DB_NODE1!, async () => {
      const tables = ['manifest_contents', 'manifest_references', 'tags', 'manifests'];
      await env.DB_NODE1!.batch(tables.map((table) => env.DB_NODE1!.prepare(`DELETE FROM ${table}`)));
    });
  let rooms = 0;
  const { text } = await node1.registry.getManifest(granted(), { kind: 'tag', tag: 'latest' as Tag }, async () => {
    rooms++;
    await evict();
  });
  expect(new TextEncoder().encode(text)).toEqual(image.bytes);
  expect(rooms).toBe(1);
});
