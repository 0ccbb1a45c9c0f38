/** Changes that an organization's admin makes in the console. */
import { beforeEach, expect, test } from 'vitest';
import { DAY } from '../../src/durations.ts';
import { addUsers, callApi } from '../support/client.ts';
import { ThreeHosts } from '../support/three-hosts.ts';
import { Reader } from './support.ts';

const APP = 'alice/app';

let hosts: ThreeHosts;

beforeEach(async () => {
  await addUsers();
  hosts = await ThreeHosts.open();
  await hosts.push('central', APP, 1, 'latest');
});

test('the list of repositories makes one public, and leads to its removal', async () => {
  const reader = await Reader.signedIn('alice');
  const visibility = async (): Promise<unknown> =>
    (await callApi('GET', 'organizations/alice/repositories/app', 'alice')).json();
  await reader.submit('/images', `/images/${APP}/-/visibility`);
  expect(await visibility()).toMatchObject({ visibility: 'public' });
  await reader.submit('/images', `/images/${APP}/-/visibility`);
  expect(await visibility()).toMatchObject({ visibility: 'private' });
  expect(await reader.text('/images')).toContain(`href="/images/${APP}/-/delete"`);
});

test('the list of repositories has no actions for those who do not administer them', async () => {
  await callApi('PATCH', 'organizations/alice/repositories/app', 'alice', { visibility: 'public' });
  for (const [user, secret] of [
    ['alice', 'reader-secret'],
    ['alice', 'app-only-secret'],
    ['bob', 'bob-secret'],
  ] as const) {
    const page = await (await Reader.signedIn(user, secret)).text('/images');
    expect(page).toContain(`href="/images/${APP}"`);
    expect(page).not.toContain('/-/');
  }
});

test('deleting a tag says what goes, and until when it can be put back', async () => {
  const reader = await Reader.signedIn('alice');
  const before = Date.now();
  const page = await reader.text(`/images/${APP}:latest/delete`);
  const [, until = ''] = /put back until <time datetime="([^"]+)"/.exec(page) ?? [];
  expect(Date.parse(until)).toBeGreaterThanOrEqual(before + 365 * DAY);
  expect(Date.parse(until)).toBeLessThanOrEqual(Date.now() + 365 * DAY);
  expect(page).toContain('deletes the tag alone');
  const [, digest = ''] = /title="(sha256:\w+)"/.exec(await reader.text(`/images/${APP}`)) ?? [];
  const whole = await reader.text(`/images/${APP}@${digest}/delete`);
  expect(whole).toContain('Only a push brings them back');
  expect(whole).not.toContain('put back until');
});

test('a new credential comes with the commands that log in to each registry', async () => {
  const reader = await Reader.signedIn('alice');
  const path = '/organizations/alice';
  const page = await (await reader.submit(path, `${path}/credentials`, { name: 'ci', rights: 'push' })).text();
  for (const port of [8787, 8788, 8789])
    for (const command of ['docker login', 'podman login', 'berth login', 'helm registry login', 'oras login'])
      expect(page).toContain(`${command} localhost:${port} -u alice`);
});
