/**
 * Answers that are forbidden while a part is away: that something does not exist, or that bytes exist which no store
 * can serve. The one exception is a HEAD of a blob with a row in the host's own store: it does not ask R2
 * (`operation-counts.test.ts`), and so does not notice that R2 is away.
 */
import { beforeEach, describe, expect, test } from 'vitest';
import {
  announced,
  outboxEntries,
  pathsOf,
  REPOSITORY,
  requireSettledEverywhere,
  settled,
  wrongRefusal,
} from '../support/away.ts';
import { addUsers } from '../support/client.ts';
import { bytesOf, contentDigest, first, imageOf } from '../support/fixture.ts';
import { type HostName, type Part, ThreeHosts } from '../support/three-hosts.ts';

const CONFIG = bytesOf(900, 50);

let hosts: ThreeHosts;

beforeEach(async () => {
  await addUsers();
  hosts = await ThreeHosts.open();
});

describe('a wrong 404 is worse than a 503', () => {
  test("while central's D1 is away, a node never answers 404 for what it cannot know", async () => {
    const image = await settled(hosts, 1);
    const layer = first(image.manifest.requiredBlobs);
    hosts.takeAway('central D1');
    const paths = [
      ...pathsOf(image),
      ...pathsOf(image, 'never-pushed'),
      ...['tags/list', `referrers/${image.digest}`].map((path) => `/v2/${REPOSITORY}/${path}`),
      '/v2/alice/never-pushed/tags/list',
      '/v2/alice/never-pushed/manifests/latest',
      `/v2/alice/never-pushed/blobs/${layer}`,
      '/v2/_catalog',
      '/api/organizations/alice/repositories/app/images/latest',
    ];
    for (const path of paths) {
      const answer = await hosts.call('node2', 'GET', path);
      expect([path, wrongRefusal(answer)]).toEqual([path, undefined]);
    }
  });

  test('a HEAD is 404 to a caller who may push, so that it uploads, and 503 to one who may only pull', async () => {
    const image = await settled(hosts, 1);
    hosts.takeAway('central D1');
    for (const path of pathsOf(image)) {
      expect((await hosts.call('node2', 'HEAD', path)).status).toBe(404);
      expect((await hosts.call('node2', 'HEAD', path, { as: 'aliceReader' })).status).toBe(503);
    }
    const again = await hosts.push('node2', REPOSITORY, 1, 'latest');
    expect(again.digest).toBe(image.digest);
    await requireSettledEverywhere(hosts, image, { pushedAt: 'node2' });
  });

  test('a mount of a blob that only central may have becomes an upload, and a commit without a link is 503, not MANIFEST_BLOB_UNKNOWN', async () => {
    const kernel = bytesOf(9, 100);
    expect((await hosts.putBlob('central', REPOSITORY, kernel)).status).toBe(201);
    const [digest, config] = [await contentDigest(kernel), await contentDigest(CONFIG)];
    const image = await imageOf(config, [digest]);
    expect((await hosts.putBlob('node1', REPOSITORY, CONFIG)).status).toBe(201);
    hosts.takeAway('central D1');
    const mount = await hosts.call(
      'node1',
      'POST',
      `/v2/${REPOSITORY}/blobs/uploads/?mount=${digest}&from=alice/other`,
    );
    expect(mount.status).toBe(202);
    expect(wrongRefusal(await hosts.putManifest('node1', REPOSITORY, 'latest', image))).toBeUndefined();
    expect(await outboxEntries()).toBe(0);
    hosts.giveBack();
    expect((await hosts.putManifest('node1', REPOSITORY, 'latest', image)).status).toBe(201);
    await requireSettledEverywhere(hosts, image);
  });

  test('a commit with a missing blob is 503 while central is away, and names the blob once central answers', async () => {
    const image = await imageOf(await contentDigest(CONFIG), [await contentDigest(bytesOf(9, 100))]);
    hosts.takeAway('central D1');
    expect(wrongRefusal(await hosts.putManifest('node1', REPOSITORY, 'latest', image))).toBeUndefined();
    hosts.giveBack();
    const answer = await hosts.putManifest('node1', REPOSITORY, 'latest', image);
    expect([answer.status, answer.code]).toEqual([400, 'MANIFEST_BLOB_UNKNOWN']);
  });
});

describe('HEAD is never 200 for bytes in other stores, all of which are away:', () => {
  test.each<[string, Part[]]>([
    ['announced, and the node away', ['node1 D1', 'node1 R2']],
    ["announced, and the node's bucket away", ['node1 R2']],
  ])('%s', async (_what, parts) => {
    const image = await announced(hosts, 1);
    hosts.takeAway(...parts);
    for (const host of ['central', 'node2'] as const) {
      for (const digest of image.manifest.requiredBlobs) {
        for (const as of ['alice', 'aliceReader'] as const) {
          const path = `/v2/${REPOSITORY}/blobs/${digest}`;
          const head = await hosts.call(host, 'HEAD', path, { as });
          // A caller who may push is told to upload the blob.
          if (as === 'alice') expect([host, head.status]).toEqual([host, 404]);
          else expect([host, as, wrongRefusal(head)]).toEqual([host, as, undefined]);
          expect([host, as, wrongRefusal(await hosts.call(host, 'GET', path, { as }))]).toEqual([host, as, undefined]);
        }
      }
    }
    // A mount does not promise unreadable bytes either.
    const [digest] = image.manifest.requiredBlobs;
    const mount = await hosts.call(
      'node2',
      'POST',
      `/v2/alice/other/blobs/uploads/?mount=${digest}&from=${REPOSITORY}`,
    );
    expect(mount.status).toBe(202);
  });

  test("settled, and everything but the host's own store is away", async () => {
    const image = await settled(hosts, 1);
    hosts.takeAway('central R2', 'node1 R2');
    for (const digest of image.manifest.requiredBlobs) {
      const path = `/v2/${REPOSITORY}/blobs/${digest}`;
      expect((await hosts.call('node2', 'HEAD', path, { as: 'alice' })).status).toBe(404);
      expect(wrongRefusal(await hosts.call('node2', 'HEAD', path, { as: 'aliceReader' }))).toBeUndefined();
    }
  });
});

describe("HEAD of a blob uses the row of the host's own store", () => {
  test.each<[HostName, Part[]]>([
    ['central', ['central R2']],
    ['node1', ['node1 R2', 'central R2']],
  ])('at %s it is 200 without asking R2, although a GET is 503 while no location answers', async (host, parts) => {
    const image = await settled(hosts, 1);
    if (host === 'central') await hosts.evict('node1', image.manifest.requiredBlobs);
    hosts.takeAway(...parts);
    for (const digest of image.manifest.requiredBlobs) {
      for (const as of ['alice', 'aliceReader'] as const) {
        const path = `/v2/${REPOSITORY}/blobs/${digest}`;
        expect([as, (await hosts.call(host, 'HEAD', path, { as })).status]).toEqual([as, 200]);
        expect([as, wrongRefusal(await hosts.call(host, 'GET', path, { as }))]).toEqual([as, undefined]);
      }
    }
    await requireSettledEverywhere(hosts, image);
  });
});
