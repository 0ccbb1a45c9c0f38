/** The reference of the API: what it shows, and the operations that a reader tries there. */
import { beforeEach, describe, expect, test } from 'vitest';
import { addUsers, call, callApi } from '../support/client.ts';
import { ThreeHosts } from '../support/three-hosts.ts';
import { Reader } from './support.ts';

const APP = 'alice/app';

let hosts: ThreeHosts;

beforeEach(async () => {
  await addUsers();
  hosts = await ThreeHosts.open();
});

describe('the reference', () => {
  test('shows every operation with its fields, and those of the items of lists', async () => {
    const page = await (await Reader.signedIn('alice')).text('/reference');
    const { paths } = await (await call('GET', '/api/openapi.json')).json<{ paths: object }>();
    const operations = Object.values(paths).flatMap((methods: object) => Object.keys(methods));
    expect(page.split('<details').length - 1).toBe(operations.length);
    expect(page).not.toContain('It has no fields');
    expect(page.length).toBeLessThan(256 * 1024);
    for (const field of ['tags[].states[].store', 'change_log[].behind', 'expires_at'])
      expect(page).toContain(`<code>${field}</code>`);
  });

  test('is at most 30 KB as Cloudflare sends it, compressed', async () => {
    const page = new Blob([await (await Reader.signedIn('alice')).text('/reference')]);
    const sent = new Response(page.stream().pipeThrough(new CompressionStream('gzip')));
    expect((await sent.arrayBuffer()).byteLength).toBeLessThan(30_000);
  });

  test('tries a read with the rights of its reader', async () => {
    await hosts.push('central', APP, 1, 'latest');
    const reader = await Reader.signedIn('alice');
    const path = encodeURIComponent('/api/organizations/{organization}/repositories/{repository}/images');
    const page = await reader.text(`/reference/try?path=${path}&organization=alice&repository=app&n=1&last=`);
    expect(page).toContain('<h1>GET /api/organizations/alice/repositories/app/images?n=1</h1>');
    expect(page).toContain('&quot;name&quot;: &quot;latest&quot;');
  });

  const CHANGE = '/reference/change';
  const formFor = (method: string, path: string): string =>
    `${CHANGE}?${new URLSearchParams({ method, path }).toString()}`;
  const CREATE = formFor('post', '/api/organizations/{organization}/repositories');
  const body = JSON.stringify({ name: 'tried', visibility: 'public' });

  test('sends a change once it is confirmed', async () => {
    const reader = await Reader.signedIn('alice');
    expect(await reader.text('/reference')).toContain(`href="${CREATE.replace('&', '&amp;')}"`);
    expect(await reader.text(CREATE)).toContain('&quot;name&quot;:');
    const fields = { 'parameter-organization': 'alice', body };
    const asked = await reader.submit(CREATE, CHANGE, fields);
    const page = await asked.text();
    expect(page).toContain('<h1>POST /api/organizations/alice/repositories</h1>');
    expect(page).toContain('Send the request');
    const repository = 'organizations/alice/repositories/tried';
    expect((await callApi('GET', repository, 'alice')).status).toBe(404);
    const answer = await reader.submit(CREATE, CHANGE, { ...fields, confirmed: 'yes' });
    expect([answer.status, await answer.text()]).toEqual([200, expect.stringContaining('alice/tried')]);
    expect(await (await callApi('GET', repository, 'alice')).json()).toMatchObject({ visibility: 'public' });
  });

  test('sends a change without a body, and shows an answer without one', async () => {
    await hosts.push('central', APP, 1, 'latest');
    const reader = await Reader.signedIn('alice');
    const form = formFor('delete', '/api/organizations/{organization}/repositories/{repository}');
    const fields = { 'parameter-organization': 'alice', 'parameter-repository': 'app', confirmed: 'yes' };
    expect(await (await reader.submit(form, CHANGE, fields)).text()).toContain('The answer has no body');
    expect((await call('GET', `/v2/${APP}/manifests/latest`, { as: 'alice' })).status).toBe(404);
  });

  test('sends no change that another site asks for, or that its reader may not make', async () => {
    const reader = await Reader.signedIn('bob');
    const fields = { 'parameter-organization': 'alice', body, confirmed: 'yes' };
    const refused = await reader.submit(CREATE, CHANGE, fields);
    expect([refused.status, await refused.text()]).toEqual([403, expect.stringContaining('role="alert"')]);
    const alice = await Reader.signedIn('alice');
    const form = { ...fields, method: 'post', path: '/api/organizations/{organization}/repositories' };
    expect((await alice.send('POST', CHANGE, { form })).status).toBe(403);
    expect((await alice.send('POST', CHANGE, { form, headers: { Origin: 'https://evil.example' } })).status).toBe(403);
    expect((await callApi('GET', 'organizations/alice/repositories/tried', 'alice')).status).toBe(404);
  });

  test.each([
    ['a body that is not JSON', { body: '{' }, 400],
    ['a method that changes nothing', { method: 'get' }, 404],
    ['a path that the API does not have', { path: '/v2/' }, 404],
    ['a parameter that leads elsewhere', { 'parameter-organization': '../../v2' }, 400],
    ['a parameter that leads to another operation', { 'parameter-organization': '..' }, 404],
  ])('refuses %s', async (_, fields, status) => {
    const reader = await Reader.signedIn('alice');
    const whole = { 'parameter-organization': 'alice', body, confirmed: 'yes', ...fields };
    expect((await reader.submit(CREATE, CHANGE, whole as never)).status).toBe(status);
  });

  test.each([
    ['/api/audit', 403],
    ['/v2/', 404],
    ['/api/organizations/{organization}/quota', 404],
    ['https://evil.example/', 404],
  ])('refuses a path that its reader may not read, or that is not a read: %s', async (path, status) => {
    const reader = await Reader.signedIn('alice');
    expect((await reader.send('GET', `/reference/try?path=${encodeURIComponent(path)}`)).status).toBe(status);
  });

  test('reads only the path that it names', async () => {
    const reader = await Reader.signedIn('admin');
    const path = encodeURIComponent('/api/organizations/{organization}/credentials');
    expect((await reader.send('GET', `/reference/try?path=${path}&organization=..`)).status).toBe(404);
  });
});
