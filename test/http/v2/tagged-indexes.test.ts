/** Deleting manifests that a tagged index lists, at central and at a node. */
import { beforeEach, describe, expect, test } from 'vitest';
import { addUsers } from '../../support/client.ts';
import { type Image, indexOf } from '../../support/fixture.ts';
import { type HostName, ThreeHosts } from '../../support/three-hosts.ts';

let hosts: ThreeHosts;
beforeEach(async () => {
  await addUsers();
  hosts = await ThreeHosts.open();
});

const REPOSITORY = 'alice/app';

async function putIndex(host: HostName, reference: string, ...children: readonly Image[]): Promise<Image> {
  const index = await indexOf(children.map(({ digest }) => digest));
  await hosts.putManifest(host, REPOSITORY, reference === '' ? index.digest : reference, index);
  return index;
}

function remove(host: HostName, reference: string) {
  return hosts.call(host, 'DELETE', `/v2/${REPOSITORY}/manifests/${reference}`);
}

describe.each(['central', 'node1'] as const)('at %s', (host) => {
  test('a manifest that a tagged index lists cannot be deleted by its digest, and the error names the index and its tags', async () => {
    const child = await hosts.push(host, REPOSITORY, 1, 'arm64');
    const index = await putIndex(host, 'latest', child);
    await hosts.putManifest(host, REPOSITORY, 'v1', index);
    const refused = await remove(host, child.digest);
    expect([refused.status, refused.code]).toEqual([405, 'UNSUPPORTED']);
    const { errors } = JSON.parse(new TextDecoder().decode(refused.bytes)) as {
      errors: [{ message: string; detail: object }];
    };
    expect(errors[0].detail).toMatchObject({ digest: child.digest, index: index.digest, tags: ['latest', 'v1'] });
    expect(errors[0].message).toContain(
      `the index ${index.digest} lists this manifest and is tagged latest, v1 in ${REPOSITORY}`,
    );
    expect((await hosts.call(host, 'GET', `/v2/${REPOSITORY}/manifests/arm64`)).status).toBe(200);
  });

  test('its own tag can be deleted, and the manifest too once no tag is above it', async () => {
    const child = await hosts.push(host, REPOSITORY, 1, 'arm64');
    await putIndex(host, 'latest', child);
    expect((await remove(host, 'arm64')).status).toBe(202);
    expect((await remove(host, child.digest)).status).toBe(405);
    expect((await remove(host, 'latest')).status).toBe(202);
    expect((await remove(host, child.digest)).status).toBe(202);
  });

  test('the tagged index can be deleted by its digest, and then the manifests that it lists', async () => {
    const child = await hosts.push(host, REPOSITORY, 1, 'arm64');
    const index = await putIndex(host, 'latest', child);
    expect((await remove(host, index.digest)).status).toBe(202);
    expect((await remove(host, child.digest)).status).toBe(202);
  });

  test('a tag protects at any depth below it, unless a deleted index is in between', async () => {
    const child = await hosts.push(host, REPOSITORY, 1, 'arm64');
    const [inner, other] = [await putIndex(host, '', child), await putIndex(host, '')];
    const outer = await putIndex(host, '', inner, other);
    const top = await putIndex(host, 'top', outer);
    expect((await remove(host, child.digest)).status).toBe(405);
    expect((await remove(host, inner.digest)).status).toBe(405);
    expect((await remove(host, top.digest)).status).toBe(202);
    await hosts.putManifest(host, REPOSITORY, 'outer', outer);
    expect((await remove(host, child.digest)).status).toBe(405);
    expect((await remove(host, outer.digest)).status).toBe(202);
    expect((await remove(host, child.digest)).status).toBe(202);
  });

  test('deleting a listed manifest that is absent is 404', async () => {
    const absent = await indexOf([], { annotations: { a: 'b' } });
    await putIndex(host, 'latest', absent);
    expect((await remove(host, absent.digest)).status).toBe(404);
  });

  test('an untagged index does not protect its manifests, and a referrer does not protect its subject', async () => {
    const child = await hosts.push(host, REPOSITORY, 1, 'arm64');
    await putIndex(host, '', child);
    const subject = { mediaType: child.manifest.mediaType, digest: child.digest, size: child.bytes.byteLength };
    await hosts.putManifest(host, REPOSITORY, 'signature', await indexOf([], { subject }));
    expect((await remove(host, child.digest)).status).toBe(202);
  });

  test('deleting the whole repository ignores this protection', async () => {
    const child = await hosts.push(host, REPOSITORY, 1, 'arm64');
    await putIndex(host, 'latest', child);
    const answer = await hosts.call(host, 'DELETE', '/api/v2.0/projects/alice/repositories/app');
    expect(answer.status).toBe(200);
    expect((await hosts.call(host, 'GET', `/v2/${REPOSITORY}/manifests/latest`)).status).toBe(404);
  });
});

test('a node refuses because of a tag that only central has, until that tag is deleted', async () => {
  const child = await hosts.push('central', REPOSITORY, 1, 'arm64');
  await putIndex('central', 'latest', child);
  expect((await remove('node1', child.digest)).status).toBe(405);
  expect((await remove('node1', 'latest')).status).toBe(202);
  expect((await remove('node1', child.digest)).status).toBe(202);
});

test('a node refuses because of a tag that it has not announced yet', async () => {
  hosts.takeAway('queues');
  const child = await hosts.push('node1', REPOSITORY, 1, 'arm64');
  const index = await putIndex('node1', 'latest', child);
  expect((await remove('node1', child.digest)).status).toBe(405);
  expect((await remove('node1', index.digest)).status).toBe(202);
  expect((await remove('node1', child.digest)).status).toBe(202);
});
