import { beforeEach, describe, expect, test } from 'vitest';
import { addUsers } from '../support/client.ts';
import { first } from '../support/fixture.ts';
import { HOSTS_AND_NODES } from './hosts.ts';

beforeEach(addUsers);

describe.each(HOSTS_AND_NODES)('a pull creates nothing at $name', (host) => {
  test.each(['alice', 'aliceReader', 'bob', 'platform', 'admin', 'official', undefined] as const)(
    'by %s',
    async (user) => {
      const image = await host.putImage('bob/app', 1, ['latest'], 'bob');
      const blob = first(image.manifest.requiredBlobs);
      const names = ['alice/new', 'alice/team/new', 'bob/new', 'official/new', 'nobody/new'];
      const token = await host.tokenFor(user, ...names.map((name) => `repository:${name}:pull,push,delete`));
      const before = await host.snapshotWithoutUse();
      for (const as of [user, token]) {
        for (const name of names) {
          for (const path of [
            'manifests/latest',
            `manifests/${image.digest}`,
            `blobs/${blob}`,
            'tags/list',
            `referrers/${image.digest}`,
          ]) {
            for (const method of ['GET', 'HEAD']) {
              const { status } = await host.call(method, `/v2/${name}/${path}`, as === undefined ? {} : { as });
              const empty = path.startsWith('referrers') ? [200] : [];
              expect([401, 403, 404, ...empty]).toContain(status);
            }
          }
        }
      }
      expect(await host.snapshotWithoutUse()).toBe(before);
    },
  );
});
