/** Nodes follow what central says about mirrors. */
import { env } from 'cloudflare:workers';
import { beforeEach, expect, test } from 'vitest';
import { changeLogStateOf, takeSnapshot } from '../../src/replication/apply-changes.ts';
import { Database } from '../../src/stores/database.ts';
import type { OrganizationName } from '../../src/oci/reference.ts';
import { ControlData } from '../../src/stores/organizations/control-data.ts';
import { allMirrors, removeMirror, setMirror } from '../../src/stores/organizations/mirrors.ts';
import { mirror } from '../support/mirrors.ts';
import { ThreeHosts } from '../support/three-hosts.ts';

const HUB = 'dockerhub' as OrganizationName;
const FULL = mirror(HUB, {
  loginHost: 'login.example.com',
  credential: { user: 'berth', secret: 'upstream-secret' },
  repositories: ['library/*'],
  stale: Infinity,
  isPublic: true,
  changedAt: 7,
});

const central = new Database(env.DB_CENTRAL);
const node = new Database(env.DB_NODE1!);
const control = new ControlData(central);

let hosts: ThreeHosts;

beforeEach(async () => {
  hosts = await ThreeHosts.open();
  await control.addOrganization(HUB, 1, 0);
  await hosts.drain();
});

test('a mirror reaches the nodes with its credential, and so does its change', async () => {
  await setMirror(central, FULL);
  await hosts.drain();
  expect(await allMirrors(node)).toEqual([FULL]);
  await setMirror(central, mirror(HUB, { changedAt: 8 }));
  await hosts.drain();
  expect(await allMirrors(node)).toEqual([mirror(HUB, { changedAt: 8 })]);
});

test('a node forgets a mirror that was removed, and the credential with it', async () => {
  await setMirror(central, FULL);
  await hosts.drain();
  await removeMirror(central, HUB, 8);
  await hosts.drain();
  expect(await allMirrors(node)).toEqual([]);
});

test('a removed organization takes its mirror along at the nodes', async () => {
  await setMirror(central, FULL);
  await hosts.drain();
  await control.removeOrganization(HUB, 8);
  await hosts.drain();
  expect(await allMirrors(node)).toEqual([]);
});

test('a node that missed the removal of an organization does not give its mirror to the next one', async () => {
  await setMirror(central, FULL);
  await hosts.drain();
  await control.removeOrganization(HUB, 8);
  await control.addOrganization(HUB, 10, 9);
  await hosts.drain();
  expect(await allMirrors(node)).toEqual([]);
});

test('a node keeps the mirror of an organization that a clock ahead has created, whatever else changes', async () => {
  const later = 'later' as OrganizationName;
  await control.addOrganization(later, 100, 99);
  await setMirror(central, mirror(later, { changedAt: 50 }));
  await hosts.drain();
  await control.setQuota(later, 1000, 51);
  await hosts.drain();
  expect(await allMirrors(node)).toEqual([mirror(later, { changedAt: 50 })]);
});

test('a new node starts with the mirrors that there are', async () => {
  await setMirror(central, FULL);
  await env.DB_NODE1!.batch(
    ['change_log_positions', 'organizations'].map((table) => env.DB_NODE1!.prepare(`DELETE FROM ${table}`)),
  );
  await setMirror(node, mirror('stale'));
  await takeSnapshot(central, { name: 'node1', database: node }, 9);
  expect(await changeLogStateOf(node, 'node1')).toBeDefined();
  expect(await allMirrors(node)).toEqual([FULL]);
});
