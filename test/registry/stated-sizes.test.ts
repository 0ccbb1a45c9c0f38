import { beforeEach, describe, expect, test } from 'vitest';
import type { Digest } from '../../src/oci/digest.ts';
import type { RepositoryName } from '../../src/oci/reference.ts';
import { addUsers } from '../support/client.ts';
import { ThreeHosts } from '../support/three-hosts.ts';
import {
  bytesOf,
  contentDigest,
  descriptorOf,
  documentOf,
  type Fixture,
  imageOf,
  indexOf,
  openFixture,
  pushBlob,
  pushImage,
  pushSmallImage,
  snapshot,
} from '../support/fixture.ts';

let fixture: Fixture;
beforeEach(async () => {
  fixture = await openFixture();
});

function refusal(digest: Digest, stated: number, actual: number) {
  const message =
    `the manifest says that ${digest} has ${stated} bytes, but it has ${actual}: ` +
    'build the manifest from the content that was pushed';
  return { kind: 'MANIFEST_INVALID', entries: [{ message, detail: { digest, stated, actual } }] };
}

describe('a descriptor with the wrong size is refused', () => {
  const OTHER = 'application/vnd.example.artifact.v1+json';

  test('for a config, a layer, a foreign layer that is present, and a blob of another document', async () => {
    const [config, layer] = [await pushBlob(fixture, bytesOf(1, 10)), await pushBlob(fixture, bytesOf(2, 20))];
    const wrong = { ...descriptorOf(layer, 'application/vnd.oci.image.layer.v1.tar'), size: 21 };
    const foreign = { ...wrong, mediaType: 'application/vnd.oci.image.layer.nondistributable.v1.tar' };
    const before = await snapshot();
    const manifests = [
      await imageOf(config, [], { layers: [wrong] }),
      await imageOf(config, [], { layers: [foreign] }),
      await documentOf(OTHER, { blobs: [wrong] }),
      await indexOf([], { manifests: [wrong] }),
    ];
    for (const image of manifests)
      await expect(pushImage(fixture, image, ['a'])).rejects.toMatchObject(refusal(layer, 21, 20));
    const wrongConfig = await imageOf(config, [layer], {
      config: { ...descriptorOf(config, 'application/x'), size: 0 },
    });
    await expect(pushImage(fixture, wrongConfig)).rejects.toMatchObject(refusal(config, 0, 10));
    expect(await snapshot()).toBe(before);
  });

  test('for a child and a subject', async () => {
    const image = await pushSmallImage(fixture, 1, ['latest']);
    const size = image.bytes.byteLength;
    const wrong = { ...descriptorOf(image.digest, image.manifest.mediaType), size: size + 1 };
    for (const field of [{ manifests: [wrong] }, { subject: wrong }]) {
      await expect(pushImage(fixture, await indexOf([], field))).rejects.toMatchObject(
        refusal(image.digest, size + 1, size),
      );
    }
    await pushImage(fixture, await indexOf([image.digest], { subject: { ...wrong, size } }), ['index']);
  });

  test('with one entry for each', async () => {
    const [config, layer] = [await pushBlob(fixture, bytesOf(1, 10)), await pushBlob(fixture, bytesOf(2, 20))];
    const wrong = (digest: Digest) => ({ ...descriptorOf(digest, 'application/x'), size: 1 });
    const image = await imageOf(config, [], { config: wrong(config), layers: [wrong(layer)] });
    await expect(pushImage(fixture, image)).rejects.toMatchObject({
      entries: [{ detail: { digest: config } }, { detail: { digest: layer } }],
    });
  });
});

describe('a wrong or missing size is accepted', () => {
  const bob = 'bob/app' as RepositoryName;

  test('for something absent, for a deleted manifest, and in a document that states none', async () => {
    const image = await pushSmallImage(fixture, 1, []);
    await fixture.registry.deleteManifest('alice/app' as RepositoryName, image.digest);
    const wrong = { ...descriptorOf(image.digest, image.manifest.mediaType), size: 1 };
    await pushImage(
      fixture,
      await indexOf([], { manifests: [wrong, descriptorOf(await contentDigest(bytesOf(9, 9)), 'a/b')] }),
    );
    const blob = await pushBlob(fixture, bytesOf(2, 20));
    await pushImage(
      fixture,
      await documentOf('application/vnd.example+json', { blobs: [{ digest: blob }, { digest: blob, size: '1' }] }),
    );
  });

  test('for a blob that only another repository holds, so that its size is not revealed', async () => {
    const blob = await pushBlob(fixture, bytesOf(5, 50), bob);
    await pushImage(fixture, await indexOf([], { manifests: [{ ...descriptorOf(blob, 'a/b'), size: 1 }] }));
    await pushImage(fixture, await indexOf([], { manifests: [{ ...descriptorOf(blob, 'a/b'), size: 2 }] }));
  });
});

test('a node refuses a wrong size of a blob that only central holds', async () => {
  await addUsers();
  const hosts = await ThreeHosts.open();
  const config = await contentDigest(bytesOf(1, 10));
  await hosts.putBlob('central', 'alice/app', bytesOf(1, 10));
  const wrong = await imageOf(config, [], { config: { ...descriptorOf(config, 'application/x'), size: 11 } });
  const answer = await hosts.putManifest('node1', 'alice/app', 'latest', wrong);
  expect([answer.status, answer.code]).toEqual([400, 'MANIFEST_INVALID']);
  expect((await hosts.putManifest('node1', 'alice/app', 'latest', await imageOf(config, []))).status).toBe(201);
});
