/** Commands of `kraft` other than push and pull, as it sends them to central and to a node. */
import { beforeEach, describe, expect, test } from 'vitest';
import { type Application, applicationOf, bytesOfPieces } from '../../support/application.ts';
import { addUsers, USERS } from '../../support/client.ts';
import { bytesOf } from '../../support/fixture.ts';
import { Kraft } from '../../support/kraft.ts';
import { ThreeHosts } from '../../support/three-hosts.ts';
import { expectStatus, type Reply } from '../../support/wire.ts';

let hosts: ThreeHosts;
let application: Application;

beforeEach(async () => {
  await addUsers();
  hosts = await ThreeHosts.open();
  application = await applicationOf({ kernel: { bytes: bytesOf(1, 500) }, rootfs: bytesOf(2, 300) });
});

const textOf = ({ bytes }: Reply): string => new TextDecoder().decode(bytes);

describe.each(['central', 'node1'] as const)('at %s', (host) => {
  const open = (user: 'alice' | 'bob' = 'alice'): Kraft =>
    new Kraft(hosts.wireTo(host), { user: `robot$${user}.users.kraftcloud`, secret: USERS[user].password });

  test('kraft cloud quotas reads the usage, and that there is no limit', async () => {
    await open().push('alice/app', 'latest', application);
    await hosts.announce();
    const summary = expectStatus(await open().summary('alice'), 200);
    const used = bytesOfPieces([...application.layers, application.config, application.manifest, application.index]);
    expect(JSON.parse(textOf(summary))).toEqual({ quota: { hard: { storage: -1 }, used: { storage: used } } });
    expectStatus(await open('bob').summary('alice'), 403);
  });

  test('kraft pkg ls --update finds the index of each repository', async () => {
    await open().push('alice/app', 'latest', application);
    await open().push('alice/team/app', 'latest', application);
    await open().push('alice/untold', 'v1', application);
    await open('bob').push('bob/app', 'latest', application);
    await hosts.announce();
    expect(await open().listRemote()).toEqual(
      ['alice/app', 'alice/team/app'].map((name) => `${name}@${application.index.digest}`),
    );
  });

  test('kraft cloud image rm removes a repository, and then gets NOT_FOUND, which it treats as a warning', async () => {
    await open().push('alice/app', 'latest', application);
    await hosts.announce();
    expectStatus(await open('bob').removeRepository('alice', 'app'), 403);
    expectStatus(await open().removeRepository('alice', 'app'), 200);
    expect(textOf(expectStatus(await open().removeRepository('alice', 'app'), 404))).toContain('NOT_FOUND');
    expect(await open().listRemote()).toEqual([]);
  });
});
