import { beforeEach, describe, expect, test } from 'vitest';
import { addUsers } from '../support/client.ts';
import { bytesOf } from '../support/fixture.ts';
import { HOSTS_AND_NODES } from './hosts.ts';

beforeEach(addUsers);

describe.each(HOSTS_AND_NODES)('a deleted blob does not come back at $name', (host) => {
  const content = bytesOf(1, 100);
  const ways = [
    ['a push', () => host.putBlob('bob/app', content, 'bob')],
    ['a push to the same organization', () => host.putBlob('alice/other', content)],
    ['an upload that is opened', () => host.open('alice/app')],
  ] as const;

  test.each(ways)('by %s', async (_way, bring) => {
    const digest = await host.putBlob('alice/app', content);
    expect((await host.call('DELETE', `/v2/alice/app/blobs/${digest}`, { as: 'alice' })).status).toBe(202);
    await bring();
    for (const as of ['alice', 'platform'] as const) {
      for (const method of ['GET', 'HEAD']) {
        expect((await host.call(method, `/v2/alice/app/blobs/${digest}`, { as })).status).toBe(404);
      }
    }
    expect((await host.call('DELETE', `/v2/alice/app/blobs/${digest}`, { as: 'alice' })).status).toBe(404);
  });

  test('a deleted image does not come back when its manifest is pushed elsewhere, nor do its tags when it is pushed here', async () => {
    const image = await host.putImage('alice/app', 1, ['latest', 'v1']);
    expect((await host.call('DELETE', `/v2/alice/app/manifests/${image.digest}`, { as: 'alice' })).status).toBe(202);
    await host.putImage('alice/other', 1, ['latest']);
    await host.putImage('bob/app', 1, ['latest'], 'bob');
    for (const reference of ['latest', 'v1', image.digest]) {
      expect(await host.read(`/v2/alice/app/manifests/${reference}`, 'alice')).toBe(404);
    }
    await host.putManifest('alice/app', 'v2', image);
    expect(await host.read('/v2/alice/app/manifests/v2', 'alice')).toBe(200);
    for (const tag of ['latest', 'v1']) expect(await host.read(`/v2/alice/app/manifests/${tag}`, 'alice')).toBe(404);
  });

  test('a removed repository does not come back when its name is used again', async () => {
    const image = await host.putImage('alice/app', 1, ['latest']);
    const extra = await host.putBlob('alice/app', content);
    expect((await host.call('DELETE', '/api/organizations/alice/repositories/app', { as: 'alice' })).status).toBe(204);
    await host.putImage('alice/app', 70, ['new']);
    for (const path of [
      'manifests/latest',
      `manifests/${image.digest}`,
      `blobs/${extra}`,
      `blobs/${image.manifest.requiredBlobs[0]}`,
    ]) {
      expect([path, await host.read(`/v2/alice/app/${path}`, 'alice')]).toEqual([path, 404]);
    }
  });
});
