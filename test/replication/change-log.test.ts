/** Entries of the change log that replace earlier ones: it does not grow with deletions of the same thing. */
import { env } from 'cloudflare:workers';
import { beforeEach, expect, test } from 'vitest';
import { addUsers } from '../support/client.ts';
import { bytesOf, contentDigest, type Image } from '../support/fixture.ts';
import { ThreeHosts } from '../support/three-hosts.ts';

const APP = 'alice/app';
const NODES = ['node1', 'node2'] as const;

let hosts: ThreeHosts;

beforeEach(async () => {
  await addUsers();
  hosts = await ThreeHosts.open();
});

interface Entry {
  readonly position: number;
  readonly kind: string;
}

const deletions = async (): Promise<Entry[]> => {
  const kinds = "'tag', 'manifest', 'link'";
  const rows = env.DB_CENTRAL.prepare(
    `SELECT position, kind FROM change_log WHERE kind IN (${kinds}) ORDER BY position`,
  );
  return (await rows.all<Entry>()).results;
};
const remove = async (what: string): Promise<void> => {
  expect((await hosts.call('central', 'DELETE', `/v2/${APP}/${what}`)).status).toBe(202);
};
const push = (): Promise<Image> => hosts.push('central', APP, 1, 'latest');
const statuses = (reference: string): Promise<number[]> =>
  Promise.all(NODES.map(async (node) => (await hosts.call(node, 'GET', `/v2/${APP}/manifests/${reference}`)).status));

/** Returns what nodes answer from their own stores alone: 503 for an image that they do not have. */
async function statusesAlone(): Promise<number[]> {
  hosts.takeAway('central D1', 'central R2');
  const found = await statuses('latest');
  hosts.giveBack();
  return found;
}

test.each(['tag', 'manifest', 'link'])(
  'a %s that is pushed and deleted again and again has one entry',
  async (kind) => {
    let last = 0;
    for (let i = 0; i < 3; i++) {
      const { digest } = await push();
      if (kind === 'tag') await remove('manifests/latest');
      else await remove(`manifests/${digest}`);
      if (kind === 'link') await remove(`blobs/${await contentDigest(bytesOf(1, 30))}`);
      const entries = (await deletions()).filter((entry) => entry.kind === kind);
      expect(entries).toHaveLength(1);
      expect(entries[0]!.position).toBeGreaterThan(last);
      last = entries[0]!.position;
    }
  },
);

test('another tag, manifest or repository has an entry of its own', async () => {
  const { digest } = await push();
  expect((await hosts.putManifest('central', APP, 'other', await push())).status).toBe(201);
  for (const what of ['latest', 'other', digest]) await remove(`manifests/${what}`);
  await hosts.push('central', 'alice/other', 1, 'latest');
  expect((await hosts.call('central', 'DELETE', '/v2/alice/other/manifests/latest')).status).toBe(202);
  expect((await deletions()).map(({ kind }) => kind)).toEqual(['tag', 'tag', 'manifest', 'tag']);
});

test('a node that has passed an entry, and one that has not, both apply the entry that replaces it', async () => {
  const { digest } = await push();
  await hosts.drain();
  await remove(`manifests/${digest}`);
  hosts.takeAway('node2 D1');
  await hosts.announce();
  hosts.giveBack();
  await push();
  expect(await statuses('latest')).toEqual([200, 200]);
  // The nodes keep what they read.
  expect(await statusesAlone()).toEqual([200, 200]);
  await remove(`manifests/${digest}`);
  await hosts.announce();
  expect(await statusesAlone()).toEqual([503, 503]);
});
