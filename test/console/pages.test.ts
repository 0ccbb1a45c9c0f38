/** The console's pages: what they show and do, and what they hide. */
import { beforeEach, describe, expect, test } from 'vitest';
import { addUsers, call, callApi } from '../support/client.ts';
import { ThreeHosts } from '../support/three-hosts.ts';
import { ORIGIN, Reader } from './support.ts';

const APP = 'alice/app';

let hosts: ThreeHosts;

beforeEach(async () => {
  await addUsers();
  hosts = await ThreeHosts.open();
});

async function put(tag: string, manifest: object, type: string): Promise<void> {
  const answer = await call('PUT', `/v2/${APP}/manifests/${tag}`, {
    as: 'alice',
    body: JSON.stringify(manifest),
    headers: { 'Content-Type': type },
  });
  expect(answer.status).toBe(201);
}

const SECURITY = {
  'content-security-policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
  'referrer-policy': 'same-origin',
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
};

test.each(['/sign-in', '/nowhere', '/assets/style.css'])('%s has the headers that protect a reader', async (path) => {
  const answer = await call('GET', path, { host: ORIGIN });
  expect(Object.fromEntries(answer.headers)).toMatchObject(SECURITY);
});

test('no cache keeps what a session reads', async () => {
  const reader = await Reader.signedIn('alice');
  expect((await reader.send('GET', '/images')).headers.get('Cache-Control')).toBe('no-store');
});

test.each(['/assets/htmx.js', '/sign-in', '/images'])("no registry's host serves the console's %s", async (path) => {
  expect((await call('GET', path)).status).toBe(404);
});

test.each(['/v2/', '/token', '/api/organizations', '/metrics', '/healthz'])(
  "the console's host serves no %s",
  async (path) => {
    const reader = await Reader.signedIn('admin');
    expect((await reader.send('GET', path)).status).toBe(404);
  },
);

test('a browser that opens a registry is told what it is, and where the console is', async () => {
  const answer = await call('GET', '/', { headers: { Accept: 'text/html,*/*;q=0.8' } });
  const page = await answer.text();
  expect(page).toContain('docker login registry.localhost:8787');
  expect(page).toContain(`<a href="${ORIGIN}/">`);
  expect(answer.headers.get('Content-Security-Policy')).toContain("default-src 'none'");
});

test("the console's name is the console on the ports of registries, too", async () => {
  const answer = await call('GET', 'http://console.localhost:8787/sign-in', {});
  expect([answer.status, await answer.text()]).toEqual([200, expect.stringContaining('<title>Sign in')]);
});

test('every name of this machine redirects to the one that shares no cookies with a registry', async () => {
  const answer = await call('GET', 'http://localhost:8790/images', {});
  expect([answer.status, answer.headers.get('Location')]).toEqual([307, `${ORIGIN}/images`]);
});

describe('an administrator', () => {
  test.each([
    ['/', 'node1'],
    ['/organizations', 'alice'],
    ['/organizations/alice', 'Credentials'],
    ['/replication', 'node2'],
    ['/replication/node1', 'No job is parked'],
    ['/storage', 'central'],
    ['/audit', 'Nothing has been changed yet'],
    ['/audit.csv', '"at","action"'],
    ['/audit.json', '[]'],
    ['/images', 'Name starts with'],
  ])('opens %s', async (path, text) => {
    const reader = await Reader.signedIn('admin');
    expect(await reader.text(path)).toContain(text);
  });

  test('creates an organization, and sets its quota', async () => {
    const reader = await Reader.signedIn('admin');
    const created = await reader.submit('/organizations', '/organizations', { name: 'acme' });
    expect(created.headers.get('Location')).toBe('/organizations/acme');
    await reader.submit('/organizations/acme', '/organizations/acme/quota', { gigabytes: '1.5' });
    expect(await (await callApi('GET', 'organizations/acme', 'admin')).json()).toMatchObject({ quota: 1.5e9 });
    await reader.submit('/organizations/acme', '/organizations/acme/quota', { gigabytes: '' });
    expect(await (await callApi('GET', 'organizations/acme', 'admin')).json()).toMatchObject({ quota: null });
  });

  test.each(['1,5', 'none', '-1', '1e400', '1e300', 'NaN'])('is refused a quota of %s GB', async (gigabytes) => {
    const reader = await Reader.signedIn('admin');
    expect((await callApi('PUT', 'organizations/alice/quota', 'admin', { bytes: 5e9 })).ok).toBe(true);
    const answer = await reader.submit('/organizations/alice', '/organizations/alice/quota', { gigabytes });
    expect(answer.status).toBe(400);
    expect(await answer.text()).toContain('gigabytes must be a number');
    expect(await (await callApi('GET', 'organizations/alice', 'admin')).json()).toMatchObject({ quota: 5e9 });
  });

  test('manages private repositories and images without seeing their contents', async () => {
    const { digest } = await hosts.push('central', APP, 1, 'latest');
    const reader = await Reader.signedIn('admin');
    expect(await reader.text('/organizations/alice')).toContain('href="/organizations/alice/repositories"');
    expect(await reader.text('/organizations/alice/repositories')).toContain(`href="/images/${APP}"`);
    const repository = await reader.text(`/images/${APP}`);
    for (const text of ['contents are not shown', 'Make public', `/images/${APP}/-/delete`])
      expect(repository).toContain(text);
    expect(repository).not.toContain(digest);
    await reader.submit(`/images/${APP}:latest`, `/images/${APP}:latest/pin`, { node: 'node1', method: 'PUT' });
    const image = await reader.text(`/images/${APP}:latest`);
    for (const text of ['contents are not shown', 'Let node1 evict it']) expect(image).toContain(text);
    expect(image).not.toContain(digest);
  });

  test('sees the latest pushes of all repositories on the overview', async () => {
    await hosts.push('central', APP, 1, 'latest');
    const overview = await (await Reader.signedIn('admin')).text('/');
    expect(overview).toContain(`href="/images/${APP}:latest">${APP}:latest</a></td><td>central</td>`);
  });

  test('pauses a queue, and resumes it', async () => {
    const reader = await Reader.signedIn('admin');
    await reader.submit('/replication/node1', '/replication/node1/paused');
    expect(await reader.text('/replication/node1')).toContain('>paused<');
    await reader.submit('/replication/node1', '/replication/node1/paused');
    expect(await reader.text('/replication/node1')).not.toContain('>paused<');
  });

  test.each(['retry', 'announce-all'])('has the queue of a node %s', async (action) => {
    const reader = await Reader.signedIn('admin');
    const answer = await reader.submit('/replication/node1', `/replication/node1/${action}`);
    expect([answer.status, answer.headers.get('Location')]).toEqual([303, '/replication/node1']);
    const { entries } = await (await callApi('GET', 'audit', 'admin')).json<{ entries: { action: string }[] }>();
    expect(entries[0]?.action).toBe({ retry: 'retry jobs', 'announce-all': 'announce all' }[action]);
  });
});

describe("an organization's admin", () => {
  test('creates a repository before its first push', async () => {
    const reader = await Reader.signedIn('alice');
    const answer = await reader.submit('/images', '/images', { name: 'team/new', visibility: 'public' });
    expect([answer.status, answer.headers.get('Location')]).toEqual([303, '/images/alice/team/new']);
    expect(await reader.text('/images/alice/team/new')).toContain('public');
    const refused = await reader.submit('/images', '/images', { name: 'Bad Name', visibility: 'private' });
    expect([refused.status, await refused.text()]).toEqual([400, expect.stringContaining('name')]);
  });

  test('creates a credential, whose secret is shown once, and removes it', async () => {
    const reader = await Reader.signedIn('alice');
    const path = '/organizations/alice';
    const answer = await reader.submit(path, `${path}/credentials`, { name: 'ci', rights: 'push' });
    const [, secret = ''] = /<pre[^>]*>(berth_[^<]+)<\/pre>/.exec(await answer.text()) ?? [];
    expect((await new Reader().signIn('alice', secret)).status).toBe(303);
    expect(await reader.text(path)).not.toContain(secret);
    await reader.submit(path, `${path}/credentials/ci/remove`);
    expect(await reader.text(path)).not.toContain(`${path}/credentials/ci/remove`);
  });

  test('reads why a change was refused', async () => {
    const reader = await Reader.signedIn('alice');
    const answer = await reader.submit('/organizations/alice', '/organizations/alice/credentials', {
      name: 'Bad Name',
    });
    expect(answer.status).toBe(400);
    expect(await answer.text()).toContain('role="alert"');
  });

  test.each(['soon', '-1', '1e15'])('is refused a credential that ends after %s days', async (days) => {
    const reader = await Reader.signedIn('alice');
    const path = '/organizations/alice';
    const answer = await reader.submit(path, `${path}/credentials`, { name: 'ci', rights: 'pull', days });
    expect(answer.status).toBe(400);
    expect(await answer.text()).toContain('days must be a number');
  });

  test.each(['/organizations', '/organizations/bob', '/replication', '/storage'])('may not open %s', async (path) => {
    const reader = await Reader.signedIn('alice');
    expect((await reader.send('GET', path)).status).toBe(403);
    expect(await reader.text('/images')).not.toContain(`href="${path}"`);
  });
});

describe('an image', () => {
  test('is shown with its layers, its state and its locations', async () => {
    const image = await hosts.push('central', APP, 1, 'latest');
    const reader = await Reader.signedIn('alice');
    expect(await reader.text('/images')).toContain('href="/images/alice/app"');
    expect(await reader.text(`/images/${APP}`)).toContain('href="/images/alice/app:latest"');
    const page = await reader.text(`/images/${APP}:latest`);
    for (const text of [image.digest, 'settled', 'central', 'docker pull localhost:8787/alice/app:latest'])
      expect(page).toContain(text);
    expect(await reader.text(`/images/${APP}@${image.digest}`)).toContain(image.digest);
  });

  test('is put back from the history of its tag', async () => {
    const first = await hosts.push('central', APP, 1, 'latest');
    const second = await hosts.push('central', APP, 2, 'latest');
    const reader = await Reader.signedIn('alice');
    const history = await reader.text(`/images/${APP}:latest/history`);
    expect(history).toContain(first.digest);
    await reader.submit(`/images/${APP}:latest/history`, `/images/${APP}:latest/restore`);
    const shown = await reader.text(`/images/${APP}:latest`);
    expect(shown).toContain(first.digest);
    expect(shown).not.toContain(second.digest);
  });

  test('is deleted by its tag, once that is confirmed', async () => {
    await hosts.push('central', APP, 1, 'latest');
    const reader = await Reader.signedIn('alice');
    expect(await reader.text(`/images/${APP}:latest`)).toContain(`<a href="/images/${APP}:latest/delete">`);
    const answer = await reader.submit(`/images/${APP}:latest/delete`, `/images/${APP}:latest/delete`);
    expect(answer.headers.get('Location')).toBe(`/images/${APP}`);
    expect((await reader.send('GET', `/images/${APP}:latest`)).status).toBe(404);
  });

  test('has no button for what its reader may not do', async () => {
    await hosts.push('central', APP, 1, 'latest');
    const reader = await Reader.signedIn('alice', 'reader-secret');
    const page = await reader.text(`/images/${APP}:latest`);
    expect(page).not.toContain('/delete"');
    expect(page).not.toContain('/prefetch"');
  });

  test('has no button outside of the patterns of its reader', async () => {
    await hosts.push('central', 'alice/other', 1, 'latest');
    expect(
      (await callApi('PATCH', 'organizations/alice/repositories/other', 'alice', { visibility: 'public' })).ok,
    ).toBe(true);
    const created = await callApi('POST', 'organizations/alice/credentials', 'alice', {
      name: 'narrow',
      rights: ['pull', 'push', 'delete', 'admin'],
      repositories: [APP],
    });
    const { secret } = await created.json<{ secret: string }>();
    const reader = await Reader.signedIn('alice', secret);
    const pages = [await reader.text('/images/alice/other:latest'), await reader.text('/images/alice/other')];
    for (const action of ['/delete"', '/prefetch"', '/retag"', '/visibility"'])
      expect(pages.join('')).not.toContain(action);
  });

  test('gets another tag', async () => {
    const { digest } = await hosts.push('central', APP, 1, 'latest');
    const reader = await Reader.signedIn('alice');
    const answer = await reader.submit(`/images/${APP}:latest`, `/images/${APP}:latest/retag`, { tag: 'stable' });
    expect([answer.status, answer.headers.get('Location')]).toEqual([303, `/images/${APP}:stable`]);
    const head = await call('HEAD', `/v2/${APP}/manifests/stable`, { as: 'alice' });
    expect(head.headers.get('Docker-Content-Digest')).toBe(digest);
    for (const tag of ['../x', '']) {
      const refused = await reader.submit(`/images/${APP}:latest`, `/images/${APP}:latest/retag`, { tag });
      expect([tag, refused.status]).toEqual([tag, 400]);
    }
  });

  test('of another organization is refused', async () => {
    await hosts.push('central', APP, 1, 'latest');
    const reader = await Reader.signedIn('bob');
    expect((await reader.send('GET', `/images/${APP}:latest`)).status).toBe(403);
    expect(await reader.text('/images')).not.toContain(APP);
  });

  test('shows what its owner wrote as text, never as markup', async () => {
    const evil = '"><script>alert(1)</script><img src=x onerror=alert(1)>';
    const { bytes } = await hosts.push('central', APP, 1, 'good');
    const manifest = { ...(JSON.parse(new TextDecoder().decode(bytes)) as object), annotations: { [evil]: evil } };
    await put('evil', manifest, 'application/vnd.oci.image.manifest.v1+json');
    const page = await (await Reader.signedIn('alice')).text(`/images/${APP}:evil`);
    expect(page).not.toContain('<script>');
    expect(page).not.toContain('<img');
    expect(page).toContain('&lt;script&gt;');
  });
});

describe('a repository', () => {
  test('shows how far its tags have come at each store', async () => {
    hosts.queueOf('node1').state.setPaused(true);
    await hosts.push('node1', APP, 1, 'early');
    await hosts.push('central', APP, 1, 'latest');
    const page = await (await Reader.signedIn('alice')).text(`/images/${APP}`);
    const cells = [...page.matchAll(/<td data-column="(\w+)"><span class="state[^>]*><span[^>]*>.<\/span> (\w+)</g)];
    expect(cells.map(([, store, state]) => `${store} ${state}`)).toEqual([
      'central absent',
      'node1 pending',
      'node2 absent',
      'central settled',
      'node1 absent',
      'node2 absent',
    ]);
  });

  test('links what central has, and names what it lacks', async () => {
    await hosts.push('central', APP, 1, 'latest');
    await hosts.push('central', APP, 5, 'moved');
    hosts.queueOf('node1').state.setPaused(true);
    const [early, moved] = [await hosts.push('node1', APP, 3, 'early'), await hosts.push('node1', APP, 7, 'moved')];
    const reader = await Reader.signedIn('alice');
    const page = await reader.text(`/images/${APP}`);
    const links = [...page.matchAll(/href="(\/images\/alice\/app[:@][^"]*)"/g)].map(([, path = '']) => path);
    expect(links.filter((path) => path.includes(':'))).toEqual(
      expect.arrayContaining([`/images/${APP}:latest`, `/images/${APP}:moved`]),
    );
    expect(links).toHaveLength(3);
    for (const path of links) await reader.text(path);
    for (const text of ['early', early.digest, moved.digest]) expect(page).toContain(text);
  });

  test('shows manifests without a tag on a page of their own', async () => {
    const tagged = await hosts.push('central', APP, 1, 'latest');
    const untagged = await hosts.push('central', APP, 5, 'brief');
    expect((await call('DELETE', `/v2/${APP}/manifests/brief`, { as: 'alice' })).status).toBe(202);
    const reader = await Reader.signedIn('alice');
    expect(await reader.text(`/images/${APP}`)).toContain(`href="/images/${APP}/-/untagged"`);
    const page = await reader.text(`/images/${APP}/-/untagged`);
    expect(page).toContain(untagged.digest);
    expect(page).not.toContain(tagged.digest);
  });
});

describe('a manifest', () => {
  const OTHER = 'application/vnd.example.thing.v1+json';
  const entry = (i: number) => ({ mediaType: OTHER, size: 2, digest: `sha256:${String(i).padStart(64, '0')}` });

  async function shown(manifest: object): Promise<string> {
    await put('odd', manifest, OTHER);
    return (await Reader.signedIn('alice')).text('/images/alice/app:odd');
  }

  test.each([
    [64 * 1024, 'x'.repeat(64 * 1024)],
    [1024 ** 2, 'crane manifest localhost:8787/alice/app:odd'],
  ])('of more than %i bytes has a page of its own', async (bytes, text) => {
    const page = await shown({ mediaType: OTHER, annotations: { a: 'x'.repeat(bytes) } });
    expect(page.length).toBeLessThan(64 * 1024);
    const contents = '/images/alice/app:odd/contents';
    expect(page).toContain(`href="${contents}"`);
    expect(await (await Reader.signedIn('alice')).text(contents)).toContain(text);
  });

  test('that nests deeply does not make a page many times its size', async () => {
    let nested: unknown = Array.from({ length: 30_000 }, () => 1);
    for (let depth = 0; depth < 60; depth++) nested = [nested];
    expect((await shown({ mediaType: OTHER, nested })).length).toBeLessThan(512 * 1024);
  });

  test('with many entries is shown with the first 100', async () => {
    const page = await shown({ mediaType: OTHER, manifests: Array.from({ length: 130 }, (_, i) => entry(i)) });
    expect(page.split('<tr><td>any').length - 1).toBe(100);
    expect(page).toContain('and 30 more');
  });

  test.each([
    ['an object for layers', { layers: {} }],
    ['a text for manifests', { manifests: 'x' }],
    ['null for a layer', { layers: [null] }],
    ['a layer of other types', { layers: [{ digest: 1, size: '2', mediaType: {} }] }],
    ['a text for a platform', { manifests: [{ ...entry(1), platform: 'linux' }] }],
    ['numbers for a platform and a type', { manifests: [{ ...entry(1), mediaType: 1, platform: { os: 1 } }] }],
    ['a text for the config', { config: 'x', annotations: [null] }],
  ])('of another media type, with %s, is shown all the same', async (_, fields) => {
    expect(await shown({ mediaType: OTHER, ...fields })).toContain('Manifest</h2>');
  });
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
  ])('refuses what its reader may not read, and what is not a read: %s', async (path, status) => {
    const reader = await Reader.signedIn('alice');
    expect((await reader.send('GET', `/reference/try?path=${encodeURIComponent(path)}`)).status).toBe(status);
  });

  test('reads only the path that it names', async () => {
    const reader = await Reader.signedIn('admin');
    const path = encodeURIComponent('/api/organizations/{organization}/credentials');
    expect((await reader.send('GET', `/reference/try?path=${path}&organization=..`)).status).toBe(404);
  });
});

test('the audit log names the address of a refused login, not an actor', async () => {
  // An isolate records the first refusal from an address at once, and later ones together.
  const headers = { 'CF-Connecting-IP': '192.0.2.77' };
  await new Reader().send('POST', '/sign-in', { form: { user: 'alice', secret: 'wrong', to: '/' }, headers });
  const page = await (await Reader.signedIn('admin')).text('/');
  expect(page).toContain('refuse login');
  expect(page).not.toContain('>maintenance<');
});

test('a spreadsheet runs nothing from an exported audit log', async () => {
  const reader = await Reader.signedIn('admin');
  await reader.signIn('=cmd|/c calc', 'wrong');
  const csv = await (await Reader.signedIn('admin')).text('/audit.csv');
  expect(csv).not.toMatch(/"[=+@-]/);
});
