/** Versions of `kraft` of 2023 and 2024 push to a node, then list everything in a loop until their image is there. */
import { beforeEach, expect, test } from 'vitest';
import { type Application, applicationOf } from '../../support/application.ts';
import { addUsers, USERS } from '../../support/client.ts';
import { bytesOf } from '../../support/fixture.ts';
import { Kraft } from '../../support/kraft.ts';
import { type HostName, ThreeHosts } from '../../support/three-hosts.ts';

let hosts: ThreeHosts;
let application: Application;

beforeEach(async () => {
  await addUsers();
  hosts = await ThreeHosts.open();
  application = await applicationOf({ kernel: { bytes: bytesOf(1, 500) }, rootfs: bytesOf(2, 300) });
});

const at = (host: HostName, user: 'alice' | 'bob' = 'alice'): Kraft =>
  new Kraft(hosts.wireTo(host), { user, secret: USERS[user].password });

test.each([
  ['central', 'central'],
  ['central', 'node1'],
  ['node1', 'node1'],
] as const)('an image that was pushed to %s is in the first list at %s', async (pushed, asked) => {
  hosts.takeAway('queues');
  await at(pushed).push('alice/app', 'latest', application);
  expect(await at(asked).isListed('alice/app', application.index)).toBe(true);
  expect(await at(asked, 'bob').isListed('alice/app', application.index)).toBe(false);
});

test('an image that was pushed to another node is listed once it is announced', async () => {
  await at('node2').push('alice/app', 'latest', application);
  await hosts.announce();
  expect(await at('node1').isListed('alice/app', application.index)).toBe(true);
});

test('while central is away, an image that was pushed to the node is listed there', async () => {
  hosts.takeAway('central D1');
  await at('node1').push('alice/app', 'latest', application);
  expect(await at('node1').isListed('alice/app', application.index)).toBe(true);
});
